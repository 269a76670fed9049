"""Scores from 1 to 5 that experts gave single answers: append-only JSON Lines beside the votes.

A line of `runs/NAME/evaluation/ratings.jsonl`:

    {"model": "faq", "example": "9f2c…", "score": 4, "rater": "ana", "answer": "1c4e…", "time": "2026-01-31T14:25:01+00:00"}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError
from tunesmith.evaluate.votes import Say, append_lines, read_lines, require_text

SCORES: Mapping[int, str] = {
    5: "right, complete, to the point; could be sent as it is",
    4: "right, with a small flaw of wording or completeness",
    3: "partly right, or right but hard to use",
    2: "mostly wrong or beside the question, something of it useful",
    1: "wrong, empty or harmful",
}
"""The rubric."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rating:
    """A score that a person gave an answer."""

    model: str
    example: str
    score: int
    """A key of `SCORES`."""
    rater: str
    answer: str
    """`answer_key` of the answer."""
    time: str = ""
    """ISO 8601, with its zone."""


def append_ratings(file: Path, ratings: Iterable[Rating]) -> None:
    """Add lines to `file`; when this returns they are on the disk.

    Raises:
        DataError: `file` does not hold JSON Lines.
    """
    append_lines(file, (dataclasses.asdict(rating) for rating in ratings))


def read_ratings(file: Path, *, say: Say | None = None) -> list[Rating]:
    """The ratings of a file, in their order; none where there is no file. A torn last line is left out, and `say` told.

    Raises:
        DataError: a line cannot be read; it names file and line.
    """
    return [_rating(row, place) for place, row in read_lines(file, say)] if file.is_file() else []


def _rating(row: Mapping[str, Any], place: str) -> Rating:
    score = row.get("score")
    if not isinstance(score, int) or score not in SCORES:
        raise DataError(place, f"score is {score!r}", expected="a whole number from 1 to 5", remedy="correct the line, or take it out")
    texts = {name: require_text(row, name, place) for name in ("model", "example", "rater", "answer")}
    return Rating(score=score, time=str(row.get("time", "")), **texts)
