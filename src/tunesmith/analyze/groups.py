"""What an error group is: a small question about one answer, answered with an explanation or None.

    >>> too_long(asked, answer, context)
    '211 words where the reference has 24, 8.8 times as many (limit 2)'

An answer may be in several groups. One that equals its reference can only be in those about how it ended and its format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tunesmith.analyze.knowledge import Knowledge
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers.redirections import Redirection
from tunesmith.types import Example

Severity = Literal["catastrophic", "major", "minor"]
SEVERITIES: tuple[Severity, ...] = ("catastrophic", "major", "minor")
"""Worst first: nobody can use the answer; it misleads or is wrong; it is a blemish."""

Similarity = Callable[[str, str], float | None]
"""Two texts of the evaluation -> cosine of their embeddings; None where there is no sentence model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupContext:
    """What the groups know beside the answer."""

    config: AnalyzeConfig
    redirections: tuple[Redirection, ...]
    spelling: Spelling
    right_rule: RightRule
    knowledge: Knowledge
    similarity: Similarity = lambda one, other: None


Question = Callable[[EvaluationRecord, ModelAnswer, GroupContext], str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorGroup:
    """Failures sharing a cause."""

    name: str
    title: str
    explain: Question
    """(record, one of its answers, context) -> why the answer is in the group, or None."""
    remedy: str
    """What to change in the data or the settings."""
    severity: Severity = "major"
    """Unless the user sets another one."""
    fault: Callable[[Example, GroupContext], str | None] | None = None
    """(training example, context) -> why its answer teaches this failure, or None. None: an answer alone cannot show it."""
    spoils_row: bool = False
    """Training answers with the fault are of no use as they are: the proposal is to drop them, else to edit them."""
