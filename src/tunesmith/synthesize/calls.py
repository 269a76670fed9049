"""What passes between a recipe and a teacher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunesmith.types import Message


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to a teacher."""

    key: str
    """Names it within the work: `documents docs/guide.md:12`; the same in every run of the same work."""
    messages: tuple[Message, ...]
    context: Any = None
    """What the recipe wants back with the reply, e.g. the passage."""

    def fingerprint(self, teacher: str) -> str:
        """Equal for equal requests to the same teacher."""
        request = [teacher, self.key, [[message.role, message.content] for message in self.messages]]
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


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An example that a teacher proposes."""

    prompt: str
    completion: str
    origin: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: recipe, call, teacher, and what the recipe adds (the passage it rests on, the prompt it varies)."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """`instruction` and `input`, where a recipe keeps them apart."""


def record_of(candidate: Candidate) -> dict[str, Any]:
    """A row that `tunesmith prepare` reads without options."""
    if candidate.fields:
        return {**candidate.fields, "output": candidate.completion, "origin": dict(candidate.origin)}
    return {"question": candidate.prompt, "answer": candidate.completion, "origin": dict(candidate.origin)}


class UnreadableReplyError(Exception):
    """Raised by a recipe for a reply that is not what was asked for; counted, never kept."""
