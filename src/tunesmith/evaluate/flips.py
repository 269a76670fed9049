"""Answers that changed sides: newly right and newly wrong.

Means hide this: "12 more right" can be 12 gained, or 40 gained and 28 lost. Every flip is listed by the id of its example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.config import EvaluateConfig
from tunesmith.evaluate.comparison import score_names
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import metric_of
from tunesmith.evaluate.statistics import mcnemar

COMPARES_WORDING = ("rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "edit_similarity")
"""Scores without a natural border between right and wrong; token F1, where it is there too, has one by convention."""

FlipKind = Literal["newly_right", "newly_wrong", "both_wrong", "both_right"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RightRule:
    """When a completion counts as right."""

    metric: str
    threshold: float
    """The least score that is right, on the metric's scale."""

    @classmethod
    def choose(cls, records: Sequence[EvaluationRecord], threshold: float, config: EvaluateConfig | None = None) -> RightRule:
        """By the deciding score: 1 where there is only 0 and 1, else at least `threshold` of its best."""
        names = score_names(records, config)
        deciding = names[0] if names else "token_f1"
        metric = metric_of("token_f1" if deciding in COMPARES_WORDING and "token_f1" in names else deciding)
        return cls(metric=metric.name, threshold=1.0 if metric.binary else threshold * metric.top)

    def is_right(self, answer: ModelAnswer) -> bool:
        """An answer that the metric does not apply to is not wrong."""
        return answer.scores.get(self.metric, self.threshold) >= self.threshold

    def applies(self, record: EvaluationRecord) -> bool:
        """Whether both models' answers have the score."""
        return self.metric in record.base.scores and self.metric in record.tuned.scores

    @property
    def words(self) -> str:
        """For people."""
        metric = metric_of(self.metric)
        return metric.title if metric.binary else f"{metric.title} at least {self.threshold:.{max(1, metric.decimals)}f}"


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


def find_flips(records: Sequence[EvaluationRecord], threshold: float, config: EvaluateConfig | None = None) -> Flips:
    """Sort the answered records that the rule applies to into the 2 x 2 table."""
    rule = RightRule.choose(records, threshold, config)
    answered = [record for record in records if rule.applies(record)]
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
