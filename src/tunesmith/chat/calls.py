"""What passes between who asks and the model that answers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from tunesmith.types import Message


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to a chat model."""

    key: str
    """Names it within the work: `documents docs/guide.md:12`; the same in every run of the same work."""
    messages: tuple[Message, ...]
    context: Any = field(default=None, compare=False)
    """What the asker wants back with the reply, e.g. the passage."""
    sample: int = 0
    """Above 0, another sample of what was asked before: the seed moves on, and a greedy model is sampled for once."""

    def fingerprint(self, model: str) -> str:
        """Equal for equal requests to the same model, of the same sample."""
        request: list[Any] = [model, self.key, [[message.role, message.content] for message in self.messages]]
        if self.sample:
            request.append(self.sample)
        return hashlib.sha256(json.dumps(request, ensure_ascii=False).encode()).hexdigest()[:24]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of a call, or of many."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    is_estimated: bool = False
    """The endpoint did not say; a token is counted for every four bytes."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            is_estimated=self.is_estimated or other.is_estimated,
        )

    @property
    def total(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a call: a text, or why there is none."""

    text: str | None
    error: str | None = None
    usage: Usage = Usage()
