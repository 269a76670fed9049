"""Frozen records that pass between rooms. Imports nothing of ours.

Row  ->  Example  ->  RenderedExample  ->  (packs, in the engine)  ->  Completion  ->  Score
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["end_of_turn", "max_new_tokens", "context_full"]

IGNORE_INDEX = -100
"""The label of a token whose loss does not count (torch.nn.functional.cross_entropy's default)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A raw record of a user's file."""

    values: Mapping[str, Any]
    """Column name to value, as the reader gave it."""
    source: str
    """Where it came from, e.g. `faq.csv:17` (1-based line) or `faq.json#3` (1-based item)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A validated example: either a conversation ending in an assistant message, or raw text.

    Exactly one of `messages` and `text` is set.
    """

    id: str
    """Stable: a hash of the content, so it survives reordering and growth of the file."""
    source: str
    """The row it came from, as in `Row.source`."""
    group: str
    """Examples of one group never straddle splits. By default a hash of the normalised prompt."""
    messages: tuple[Message, ...] = ()
    text: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """The prompt's parts under their column names (`instruction`, `input`), for templates that place them apart."""

    @property
    def prompt(self) -> str:
        """The last user message; empty for raw text."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def reference(self) -> str:
        """The right answer: the last assistant message; the text itself for raw text."""
        return self.messages[-1].content if self.messages else (self.text or "")

    @property
    def prompt_messages(self) -> tuple[Message, ...]:
        """Everything before the last assistant message."""
        return self.messages[:-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderedExample:
    """An example as the model sees it.

    `len(token_ids) == len(supervised)`; `supervised[i]` is True where the loss of predicting `token_ids[i]` counts.
    """

    example: Example
    token_ids: tuple[int, ...]
    supervised: tuple[bool, ...]
    num_cut_tokens: int = 0
    """Tokens of the prompt left out so that it fits `max_length`."""

    @property
    def num_supervised(self) -> int:
        return sum(self.supervised)


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What the model produced for one prompt, the prompt itself excluded."""

    text: str
    token_ids: tuple[int, ...]
    """Includes the end-of-turn token when the model produced one."""
    finish_reason: FinishReason


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleLoss:
    """Loss of one example, kept as a sum so that any set of examples can be added up right."""

    total: float
    """Nats, summed over the supervised tokens."""
    num_supervised: int
