"""Answers that changed sides: newly right and newly wrong.

Means hide this: "12 more right" can be 12 gained, or 40 gained and 28 lost. Every flip is listed by the id of its example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.statistics import mcnemar
from tunesmith.evaluate.words import num_words

MOST_LABEL_WORDS = 3
"""A data set whose median reference has at most this many words has labels for answers, and nearly right is wrong."""

FlipKind = Literal["newly_right", "newly_wrong", "both_wrong", "both_right"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RightRule:
    """When a completion counts as right."""

    metric: Literal["exact_match", "token_f1"]
    threshold: float
    """The least score that is right."""

    @classmethod
    def choose(cls, records: Sequence[EvaluationRecord], threshold: float) -> RightRule:
        """Exact match where references are labels, else token F1 of at least `threshold`."""
        lengths = [num_words(record.reference) for record in records]
        if lengths and median(lengths) <= MOST_LABEL_WORDS:
            return cls(metric="exact_match", threshold=1.0)
        return cls(metric="token_f1", threshold=threshold)

    def is_right(self, answer: ModelAnswer) -> bool:
        return answer.scores[self.metric] >= self.threshold

    @property
    def words(self) -> str:
        """For people."""
        if self.metric == "exact_match":
            return f"exact match, as half of the references have at most {MOST_LABEL_WORDS} words"
        return f"token F1 at least {self.threshold:.2f}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Flips:
    """The 2 x 2 table of right and wrong, base against tuned, as ids of examples in the order evaluated."""

    rule: RightRule
    newly_right: tuple[str, ...]
    """The base was wrong, the tuned model is right."""
    newly_wrong: tuple[str, ...]
    both_right: tuple[str, ...]
    both_wrong: tuple[str, ...]
    p_value: float
    """Exact McNemar."""

    @property
    def num_examples(self) -> int:
        return len(self.newly_right) + len(self.newly_wrong) + len(self.both_right) + len(self.both_wrong)

    @property
    def num_right_base(self) -> int:
        return len(self.both_right) + len(self.newly_wrong)

    @property
    def num_right_tuned(self) -> int:
        return len(self.both_right) + len(self.newly_right)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Flips:
        ids = {name: tuple(values[name]) for name in ("newly_right", "newly_wrong", "both_right", "both_wrong")}
        return cls(**{**values, **ids, "rule": RightRule(**values["rule"])})


def find_flips(records: Sequence[EvaluationRecord], threshold: float) -> Flips:
    """Sort the answered records into the 2 x 2 table."""
    answered = [record for record in records if record.is_answered]
    rule = RightRule.choose(answered, threshold)
    ids: dict[FlipKind, list[str]] = {"newly_right": [], "newly_wrong": [], "both_right": [], "both_wrong": []}
    for record in answered:
        ids[flip_kind(record, rule)].append(record.id)
    table = {kind: tuple(found) for kind, found in ids.items()}
    return Flips(
        rule=rule,
        newly_right=table["newly_right"],
        newly_wrong=table["newly_wrong"],
        both_right=table["both_right"],
        both_wrong=table["both_wrong"],
        p_value=mcnemar(len(table["newly_right"]), len(table["newly_wrong"])),
    )


def flip_kind(record: EvaluationRecord, rule: RightRule) -> FlipKind:
    """Which cell of the 2 x 2 table an answered record belongs to."""
    base, tuned = rule.is_right(record.base), rule.is_right(record.tuned)
    if base == tuned:
        return "both_right" if tuned else "both_wrong"
    return "newly_right" if tuned else "newly_wrong"
