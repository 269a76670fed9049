"""The table of all ways and the paragraph that says which to take.

The best way is chosen by the examples that then compare the others with it. Choosing is allowed for: p values are adjusted for all pairs
of ways (Holm), which holds whichever of the pairs are then looked at; and how far the best one's own mean is flattered is estimated by
choosing with one half of the examples and measuring with the other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from tunesmith.config import BaselineConfig
from tunesmith.errors import DataError
from tunesmith.evaluate.baselines.decision import Decision, best_of, decide
from tunesmith.evaluate.baselines.measured import Answered, WayResult
from tunesmith.evaluate.comparison import Comparison, compare_on, judge_together
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.scorers import Metric, Scorer
from tunesmith.evaluate.statistics import Floats
from tunesmith.types import Example

SCHEMA_VERSION = 1
NUM_HALVES = 400
"""Random halvings of the examples to see what choosing brings."""


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
    shared = _shared_scores(answered, metric)
    best = best_of({name: float(scores.mean()) for name, scores in shared.items()}, metric)
    comparisons = _against(best, held_out, answered, metric, config)
    return BaselineReport(
        model=model,
        run=run,
        num_examples=len(held_out),
        split=config.evaluation.split,
        metric=metric,
        results=tuple(results),
        comparisons=comparisons,
        decision=decide(
            results,
            metric,
            best,
            comparisons,
            requests=config.requests_a_month,
            flattery=flattery(shared, metric, seed=config.evaluation.seed),
        ),
        settings=config.model_dump(mode="json"),
    )


def _shared_scores(answered: Sequence[Answered], metric: Metric) -> dict[str, Floats]:
    """Of each way for the examples that all of them answered: one that failed on hard questions is not the better for it.  # each (n,)

    Raises:
        DataError: there is no such example.
    """
    scores = {
        one.way.name: {key: answer.scores[metric.name] for key, answer in one.answers.items() if metric.name in answer.scores}
        for one in answered
    }
    shared = sorted(set.intersection(*(set(one) for one in scores.values())))
    if not shared:
        raise DataError(
            "baseline", "no example was answered in every way", expected="one at least", remedy="see to the endpoint, or ask more"
        )
    return {name: np.array([one[key] for key in shared]) for name, one in scores.items()}


def flattery(scores: Mapping[str, Floats], metric: Metric, *, seed: int) -> float:
    """How much better the best way's mean looks than it is, because the same examples chose it; on the metric's scale, 0 or more.

    A random half of the examples chooses, and its mean of the chosen way less the other half's is what choosing by half as many brings,
    averaged over `NUM_HALVES` draws. Chance falls with the root of the number, hence the division by sqrt(2).

    Args:
        scores: of each way for the same examples, by its name.  # each (n,)
        metric: says which way is better.
        seed: of the draws.
    """
    table = np.stack(list(scores.values())) * (1 if metric.higher_is_better else -1)  # (ways, n)
    count = table.shape[1]
    if len(table) < 2 or count < 2:
        return 0.0
    generator, gains = np.random.default_rng(seed), []
    for _ in range(NUM_HALVES):
        order = generator.permutation(count)
        chosen, others = table[:, order[: count // 2]].mean(axis=1), table[:, order[count // 2 :]].mean(axis=1)
        best = int(chosen.argmax())
        gains.append(chosen[best] - others[best])
    return max(0.0, fmean(gains) / math.sqrt(2))


def _against(
    best: str, held_out: Sequence[Example], answered: Sequence[Answered], metric: Metric, config: BaselineConfig
) -> dict[str, Comparison]:
    """Each other way's comparison with the best, judged among those of all pairs: which one is the best was seen first."""
    names = [best, *(one.way.name for one in answered if one.way.name != best)]
    pairs = list(combinations(names, 2))
    compared = [_compare(held_out, answered, first, other, metric, config, num_comparisons=len(pairs)) for first, other in pairs]
    judged = zip(pairs, judge_together(compared, config.evaluation), strict=True)
    return {other: comparison for (first, other), comparison in judged if first == best}


def _compare(
    held_out: Sequence[Example],
    answered: Sequence[Answered],
    first: str,
    other: str,
    metric: Metric,
    config: BaselineConfig,
    *,
    num_comparisons: int,
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
            answers={name: answers[name][example.id] for name in (first, other)},
        )
        for example in held_out
        if example.id in answers[first] and example.id in answers[other]
    ]
    return compare_on(metric, records, config.evaluation, first, other, num_comparisons=num_comparisons)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
