"""Frozen records that pass between rooms. Imports nothing of ours.

Row  ->  Example  ->  RenderedExample  ->  (packs, in the engine)  ->  Completion  ->  Score
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
ExampleKind = Literal["text", "conversation", "pair", "judged"]
"""Raw text; an answer to imitate; a preference pair; an answer judged by itself."""
FinishReason = Literal["end_of_turn", "stop_string", "max_new_tokens", "context_full"]

IGNORE_INDEX = -100
"""The label of a token whose loss does not count (torch.nn.functional.cross_entropy's default)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A raw record of a user's file."""

    values: Mapping[str, Any]
    """Column name to value, as the reader gave it."""
    source: str
    """Where it came from, e.g. `faq.csv:17` (1-based line) or `faq.json#3` (1-based item)."""
    group: str | None = None
    """What it must not be split apart from: a document, a thread, a user; None when it stands alone."""
    fault: tuple[str, str, str] | None = None
    """Of a record that could not be taken apart, whose `values` are then empty: the problem, what was found, what is expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A validated example: either a conversation ending in an assistant message, or raw text.

    Exactly one of `messages` and `text` is set. A conversation may carry a preference: `rejected` or `label`, never both.
    """

    id: str
    """Stable: a hash of the content, so it survives reordering and growth of the file."""
    source: str
    """The row it came from, as in `Row.source`."""
    group: str
    """Examples of one group never straddle splits. By default a hash of the normalised prompt."""
    messages: tuple[Message, ...] = ()
    text: str | None = None
    rejected: str | None = None
    """Of a preference pair: the worse answer to the same prompt; `messages` ends with the better one."""
    label: bool | None = None
    """Of an answer judged by itself: is it desirable."""
    unfinished: bool = False
    """Of raw text: a passage of a document that goes on after it, so no end-of-text token follows."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The prompt's parts under their column names (`instruction`, `input`), for templates that place them apart."""

    @property
    def kind(self) -> ExampleKind:
        """What it can teach."""
        if self.text is not None:
            return "text"
        if self.rejected is not None:
            return "pair"
        return "conversation" if self.label is None else "judged"

    def swapped(self) -> Example:
        """A preference pair the other way round: `messages` ends with the rejected answer. Swapped twice it is itself again."""
        if self.rejected is None:
            raise ValueError(f"{self.source} is no preference pair")
        answer = Message(role="assistant", content=self.rejected)
        return replace(self, messages=(*self.prompt_messages, answer), rejected=self.reference)

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
    window: int = 0
    """Of a raw text that was cut into windows: which one this is, from 0; `example` is the whole text."""
    num_windows: int = 1

    @property
    def num_supervised(self) -> int:
        return sum(self.supervised)

    @property
    def num_predicted(self) -> int:
        """Supervised tokens whose loss there is: nothing predicts the first token."""
        return sum(self.supervised[1:])


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLogprob:
    """How likely the model found a token, before temperature, penalties and cuts."""

    token: int
    logprob: float
    """Natural logarithm of the probability."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest tokens at this place with theirs, likeliest first; as many as were asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """What the model produced for one prompt, the prompt itself excluded."""

    text: str
    """Without the end-of-turn token; cut before a stop string."""
    token_ids: tuple[int, ...]
    """Includes the end-of-turn token when the model produced one, and the tokens of a stop string."""
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One for each of `token_ids`, when asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExampleLoss:
    """Loss of one example, kept as a sum so that any set of examples can be added up right."""

    total: float
    """Nats, summed over the supervised tokens."""
    num_supervised: int
