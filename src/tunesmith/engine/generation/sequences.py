"""What the parts of generation pass to each other: requests, sequences under way, new tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.sampling import Sampler
from tunesmith.engine.generation.text_stream import TextStream
from tunesmith.types import FinishReason, TokenLogprob


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One completion to be made."""

    prompt_ids: Sequence[int]
    """At least one token."""
    config: GenerateConfig
    """`batch_size` and `max_prompt_tokens` are not looked at."""
    stop_ids: frozenset[int]
    """The completion ends with the first of these."""
    adapter: str | None = None
    """Name of the adapter in the network that answers; None is the base itself, `adapter_switch.AS_IT_IS` whatever acts by itself."""
    parse: Callable[[Sequence[int]], str] | None = None
    """Turns token ids into text; needed for text and stop strings."""
    sample: int = 0
    """Completions under one seed draw differently for different numbers."""
    with_text: bool = False
    """New tokens carry the text that became certain with them."""


class NewToken(NamedTuple):
    """One decoding step of one sequence."""

    prompt: int
    """Which prompt: the key or id that names it."""
    token: int
    finish_reason: FinishReason | None
    """Set with the last token."""
    text: str = ""
    """With `with_text` or stop strings: what may be shown now, cut before a stop string."""
    logprob: TokenLogprob | None = None
    """When asked for."""


@dataclass(kw_only=True, slots=True, eq=False)
class Running:
    """A sequence that waits for its turn or is being decoded."""

    id: int
    request: Request
    sampler: Sampler
    text: TextStream | None
    num_new: int = 0
    last_token: int = -1
    """Not yet in the cache."""

    @property
    def prompt_ids(self) -> Sequence[int]:
        return self.request.prompt_ids

    @property
    def adapter(self) -> str | None:
        return self.request.adapter

    @property
    def num_tokens(self) -> int:
        """Of prompt and completion."""
        return len(self.request.prompt_ids) + self.num_new

    @property
    def most_tokens(self) -> int:
        """Of prompt and completion, should it come to its full length."""
        return len(self.request.prompt_ids) + self.request.config.max_new_tokens

    def take(self, token: int, logprob: TokenLogprob | None, *, context_length: int) -> NewToken:
        """Grow by a token, and say whether it was the last one."""
        self.num_new += 1
        self.last_token = token
        self.sampler.add(token)
        reason = self._finish_reason(token, context_length)
        text = ""
        if self.text is not None:
            text = "" if reason == "end_of_turn" else self.text.add(token)
            if reason is not None:
                text += self.text.end()
            if self.text.is_stopped:
                reason = "stop_string"
        return NewToken(self.id, token, reason, text, logprob)

    def _finish_reason(self, token: int, context_length: int) -> FinishReason | None:
        if token in self.request.stop_ids:
            return "end_of_turn"
        if self.num_new >= self.request.config.max_new_tokens:
            return "max_new_tokens"
        return "context_full" if self.num_tokens >= context_length else None


class Runner(Protocol):
    """Runs the network over sequences and keeps their keys and values."""

    def admit(self, waiting: Sequence[Running], running: Sequence[Running]) -> list[Running]:
        """Those of the waiting that enter now, all of one adapter."""
        ...

    def logits(self, entering: Sequence[Running], running: Sequence[Running]) -> Tensor:
        """(E + R, V) float32 for the next token of each: prompts of the entering, the last token of the running."""
        ...

    def release(self, gone: Running) -> None:
        """Forget a sequence."""
        ...
