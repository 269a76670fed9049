"""The table of all ways and the paragraph that says which to take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tunesmith.config import BaselineConfig
from tunesmith.errors import DataError
from tunesmith.evaluate.baselines.decision import Decision, best_of, decide
from tunesmith.evaluate.baselines.measured import Answered, WayResult
from tunesmith.evaluate.comparison import Comparison, compare_on, judge_together
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.scorers import Metric, Scorer
from tunesmith.types import Example

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineReport:
    """Everything that was measured."""

    schema_version: int = SCHEMA_VERSION
    model: str
    """The base model."""
    run: str | None
    """The tuned one's run."""
    num_examples: int
    split: str
    metric: Metric
    """What quality is measured by."""
    results: tuple[WayResult, ...]
    comparisons: Mapping[str, Comparison]
    """Each way's, against the best, by its name."""
    decision: Decision
    settings: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The document `baseline.json`; endless capacities of endpoints are null."""
        values: dict[str, Any] = _finite(dataclasses.asdict(self))
        return values


def build_baseline_report(
    model: str,
    run: str | None,
    held_out: Sequence[Example],
    answered: Sequence[Answered],
    results: Sequence[WayResult],
    scorers: Sequence[Scorer],
    config: BaselineConfig,
) -> BaselineReport:
    """Compare every way with the best one and decide.

    Raises:
        DataError: no scorer fits the examples.
    """
    scored = [scorer.metric for scorer in scorers if all(scorer.name in result.scores for result in results)]
    if not scored:
        raise DataError("baseline", "no scorer applies to the answers of every way", expected="a score", remedy="name one with --scorer")
    metric = scored[0]
    best = best_of(_shared_means(answered, metric), metric)
    others = [one.way.name for one in answered if one.way.name != best]
    compared = [_compare(held_out, answered, best, other, metric, config) for other in others]
    comparisons = dict(zip(others, judge_together(compared, config.evaluation), strict=True))
    return BaselineReport(
        model=model,
        run=run,
        num_examples=len(held_out),
        split=config.evaluation.split,
        metric=metric,
        results=tuple(results),
        comparisons=comparisons,
        decision=decide(results, metric, best, comparisons, requests=config.requests_a_month),
        settings=config.model_dump(mode="json"),
    )


def _shared_means(answered: Sequence[Answered], metric: Metric) -> dict[str, float]:
    """Of each way over the examples that all of them answered: one that failed on hard questions is not the better for it.

    Raises:
        DataError: there is no such example.
    """
    scores = {
        one.way.name: {key: answer.scores[metric.name] for key, answer in one.answers.items() if metric.name in answer.scores}
        for one in answered
    }
    shared = set.intersection(*(set(one) for one in scores.values()))
    if not shared:
        raise DataError(
            "baseline", "no example was answered in every way", expected="one at least", remedy="see to the endpoint, or ask more"
        )
    return {name: fmean(one[key] for key in sorted(shared)) for name, one in scores.items()}


def _compare(
    held_out: Sequence[Example], answered: Sequence[Answered], best: str, other: str, metric: Metric, config: BaselineConfig
) -> Comparison:
    """On the examples that both answered."""
    answers = {one.way.name: one.answers for one in answered}
    records = [
        EvaluationRecord(
            id=example.id,
            source=example.source,
            prompt=example.prompt,
            reference=example.reference,
            messages=example.prompt_messages,
            answers={name: answers[name][example.id] for name in (best, other)},
        )
        for example in held_out
        if example.id in answers[best] and example.id in answers[other]
    ]
    return compare_on(metric, records, config.evaluation, best, other, num_comparisons=len(answered) - 1)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
