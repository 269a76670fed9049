"""One model against another on the same documents of a benchmark: was something forgotten?

    worse: HellaSwag acc_norm 0.410 against 0.430, -0.020 [-0.029, -0.011], n = 1,000, p < 0.001
    cannot tell with n = 200: ARC-Easy acc 0.250 against 0.250, 0.000 [-0.027, +0.027]; a loss beyond 0.028 is ruled out

The same statistics as in an evaluation (`evaluate.statistics`): right or wrong by the exact McNemar test and the interval of Bonett
and Price, anything else by sign flips and resampling; p is corrected for the number of benchmarks (Holm).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tunesmith.config import BenchmarkConfig
from tunesmith.evaluate import statistics
from tunesmith.evaluate.benchmarks.catalog import FOUR
from tunesmith.evaluate.benchmarks.scores import Outcome, is_binary, paired, shown
from tunesmith.evaluate.statistics import Floats, Interval
from tunesmith.evaluate.wording import bracketed, decimals_for, p_text, signed

Verdict = Literal["better", "worse", "cannot tell"]
AVERAGE = "average of four"
DECIMALS = 3
"""Benchmarks are quoted to a tenth of a point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskComparison:
    """One benchmark's deciding metric, `model` against `against`."""

    benchmark: str
    title: str
    metric: str
    model: str
    against: str
    num_documents: int
    value: float
    other: float
    difference: float
    """value - other."""
    interval: Interval | None
    """Of the difference."""
    deviation: float
    """Standard error of the difference."""
    test: str
    p_value: float
    p_adjusted: float
    higher_is_better: bool
    verdict: Verdict
    sentence: str

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TaskComparison:
        return cls(**{**values, "interval": Interval(*values["interval"]) if values["interval"] else None})


def compare_models(
    model: str, against: str, outcomes: Mapping[str, Mapping[str, Outcome]], config: BenchmarkConfig
) -> tuple[TaskComparison, ...]:
    """Compare two models on every benchmark whose deciding metric is a mean over documents.

    Args:
        outcomes: by benchmark, then by model.
    """
    found = []
    for of_benchmark in outcomes.values():
        one, other = of_benchmark[model], of_benchmark[against]
        if one.metrics and (columns := paired(one, other, one.metrics[0])):
            found.append(_compare(one, columns, model, against, config))
    adjusted = statistics.holm([comparison.p_value for comparison in found])
    return tuple(_judged(comparison, p, config) for comparison, p in zip(found, adjusted, strict=True))


def _compare(outcome: Outcome, columns: tuple[Floats, Floats], model: str, against: str, config: BenchmarkConfig) -> TaskComparison:
    values, others = columns
    differences, ones, count = values - others, np.ones(len(values)), len(values)
    binary = is_binary(np.concatenate(columns))
    if binary:
        found: Interval | None = statistics.binary_interval(differences, confidence=config.confidence)
        p_value = statistics.mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
        deviation = statistics.binary_deviation(differences) / math.sqrt(count + 2)
    else:
        found = statistics.interval(differences, ones, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed)
        p_value = statistics.sign_flip_test(differences, seed=config.seed)
        deviation = (statistics.paired_deviation(differences, ones) or 0.0) / math.sqrt(count)
    return TaskComparison(
        benchmark=outcome.benchmark.name,
        title=outcome.benchmark.title,
        metric=shown(outcome.metrics[0]),
        model=model,
        against=against,
        num_documents=count,
        value=float(values.mean()),
        other=float(others.mean()),
        difference=statistics.estimate(differences, ones),
        interval=found,
        deviation=deviation,
        test="exact McNemar" if binary else "sign flips",
        p_value=p_value,
        p_adjusted=1.0,
        higher_is_better=outcome.higher_is_better(outcome.metrics[0]),
        verdict="cannot tell",
        sentence="",
    )


def compare_average(comparisons: Sequence[TaskComparison], config: BenchmarkConfig) -> TaskComparison | None:
    """The average of the four benchmarks; None unless all four were compared.

    Its interval takes the four differences as independent (they are of different documents): the standard error is the root of
    the sum of squares, over four.
    """
    from scipy.stats import norm

    four = {comparison.benchmark: comparison for comparison in comparisons if comparison.benchmark in FOUR}
    if len(four) < len(FOUR):
        return None
    parts = list(four.values())
    difference = math.fsum(part.difference for part in parts) / len(parts)
    error = math.sqrt(math.fsum(part.deviation**2 for part in parts)) / len(parts)
    half = float(norm.ppf((1 + config.confidence) / 2)) * error
    p_value = float(2 * norm.sf(abs(difference) / error)) if error else 1.0
    average = dataclasses.replace(
        parts[0],
        benchmark=AVERAGE,
        title=AVERAGE,
        metric="",
        num_documents=sum(part.num_documents for part in parts),
        value=math.fsum(part.value for part in parts) / len(parts),
        other=math.fsum(part.other for part in parts) / len(parts),
        difference=difference,
        interval=Interval(difference - half, difference + half),
        deviation=error,
        test="normal",
        p_value=p_value,
    )
    return _judged(average, p_value, config)


def _judged(comparison: TaskComparison, p_adjusted: float, config: BenchmarkConfig) -> TaskComparison:
    excludes_zero = comparison.interval is not None and comparison.interval.excludes_zero
    verdict: Verdict = "cannot tell"
    if excludes_zero and p_adjusted < 1 - config.confidence:
        verdict = "better" if (comparison.difference > 0) == comparison.higher_is_better else "worse"
    judged = dataclasses.replace(comparison, p_adjusted=p_adjusted, verdict=verdict)
    return dataclasses.replace(judged, sentence=_sentence(judged))


def _sentence(one: TaskComparison) -> str:
    digits = decimals_for(one.interval, DECIMALS)
    difference = signed(one.difference, digits) + (f" {bracketed(one.interval, digits)}" if one.interval else "")
    figures = f"{f'{one.title} {one.metric}'.strip()} {one.value:.{digits}f} against {one.other:.{digits}f}, {difference}"
    if one.verdict == "cannot tell":
        return f"cannot tell with n = {one.num_documents:,}: {figures}{_ruled_out(one, digits)}"
    return f"{one.verdict}: {figures}, n = {one.num_documents:,}, {p_text(one.p_adjusted)}"


def _ruled_out(one: TaskComparison, digits: int) -> str:
    """How much may have been forgotten all the same."""
    if one.interval is None:
        return ""
    most = -one.interval.low if one.higher_is_better else one.interval.high
    upwards = math.ceil(most * 10**digits) / 10**digits
    return f"; a loss beyond {upwards:.{digits}f} is ruled out" if most > 0 else ""
