"""What a recipe makes of replies: proposed examples, and the rows that are written of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
