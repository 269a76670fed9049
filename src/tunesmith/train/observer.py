"""What a training run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tunesmith.render.renderer import Renderer
from tunesmith.types import RenderedExample


class Observer(Protocol):
    """Watches one run; the command line draws, a script may ignore."""

    def say(self, text: str) -> None:
        """A sentence for the person."""

    def show_example(self, rendered: RenderedExample, renderer: Renderer) -> None:
        """One training example as the model sees it, before step 1."""

    def started(self, num_steps: int, first_step: int) -> None:
        """The loop begins."""

    def stepped(self, metrics: dict[str, Any]) -> None:
        """A step is done; `metrics` is its line of `metrics.jsonl`."""

    def validated(self, metrics: dict[str, Any]) -> None:
        """A validation is done."""

    def finished(self) -> None:
        """The loop ended, for whatever reason."""


class Silent:
    """Watches without a word."""

    def say(self, text: str) -> None: ...

    def show_example(self, rendered: RenderedExample, renderer: Renderer) -> None: ...

    def started(self, num_steps: int, first_step: int) -> None: ...

    def stepped(self, metrics: dict[str, Any]) -> None: ...

    def validated(self, metrics: dict[str, Any]) -> None: ...

    def finished(self) -> None: ...


class Recording(Silent):
    """Keeps what it was told; for tests and notebooks."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.steps: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self.examples: list[RenderedExample] = []

    def say(self, text: str) -> None:
        self.sentences.append(text)

    def show_example(self, rendered: RenderedExample, renderer: Renderer) -> None:
        self.examples.append(rendered)

    def stepped(self, metrics: dict[str, Any]) -> None:
        self.steps.append(metrics)

    def validated(self, metrics: dict[str, Any]) -> None:
        self.validations.append(metrics)


def names_of(examples: Sequence[RenderedExample]) -> str:
    """Sources of a few examples, for an error."""
    return ", ".join(example.example.source for example in examples[:8]) + (", …" if len(examples) > 8 else "")
