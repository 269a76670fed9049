"""One metric, base against tuned: means, difference, interval, test, and what follows in one sentence.

    better: ROUGE-L 0.31 against 0.18, +0.13 [+0.10, +0.16], n = 140, p < 0.001
    cannot tell with n = 60: ROUGE-L +0.02 [-0.03, +0.07]; about 420 examples needed

"Better" and "worse" take two things: the interval excludes zero, and the test is significant after Holm's correction for
the number of metrics. "Cannot tell" is an answer, not a failure: it says how many examples would tell.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tunesmith.config import EvaluateConfig
from tunesmith.errors import DataError
from tunesmith.evaluate import statistics
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.scorers import LOSS, METRICS, Metric
from tunesmith.evaluate.statistics import Floats, Interval
from tunesmith.evaluate.wording import bracketed, decimals_for, p_text, roughly, signed

Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A metric of both models on the same examples. None: undefined for this few or this equal examples."""

    metric: Metric
    num_examples: int
    base: float
    tuned: float
    difference: float
    """tuned - base, in the metric's unit."""
    interval: Interval | None
    """Of the difference."""
    test: str
    """Which test gave p."""
    p_value: float
    p_adjusted: float
    """After Holm's correction over the metrics of the report."""
    effect_size: float | None
    """Cohen's d of the paired differences: difference / their standard deviation."""
    deviation: float | None
    """Standard deviation of the paired differences."""
    detectable_difference: float | None
    """Smallest true difference that this many examples would notice four times in five."""
    examples_needed: int | None
    """Examples that would notice a true difference of the observed size four times in five."""
    verdict: Verdict
    sentence: str
    """The verdict in words, with its evidence."""

    @property
    def decimals(self) -> int:
        return decimals_for(self.interval, self.metric.decimals)

    @property
    def gain(self) -> float:
        """The difference, positive where the tuned model is better."""
        return self.difference if self.metric.higher_is_better else -self.difference

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Comparison:
        interval = Interval(*values["interval"]) if values["interval"] else None
        return cls(**{**values, "metric": Metric(**values["metric"]), "interval": interval})


class Pairs(NamedTuple):
    """A metric's numbers, one entry an example.  # each (n,)"""

    base: Floats
    tuned: Floats
    weights: Floats


def compare_records(records: Sequence[EvaluationRecord], config: EvaluateConfig) -> tuple[Comparison, ...]:
    """Compare both models on every metric the records have, the loss first.

    Raises:
        DataError: no records, a number that is not finite, a score without a metric, or losses over different tokens.
    """
    if not records:
        raise DataError("evaluation", "there are no examples", expected="at least one", remedy="evaluate a split that has examples")
    pairs = {name: _pairs(name, records) for name in _metric_names(records)}
    alpha = (1 - config.confidence) / len(pairs)  # the first step of Holm's procedure; power is stated for it
    comparisons = [_compare(METRICS[name], pair, config, alpha) for name, pair in pairs.items()]
    adjusted = statistics.holm([comparison.p_value for comparison in comparisons])
    return tuple(_judged(comparison, p, config) for comparison, p in zip(comparisons, adjusted, strict=True))


def _metric_names(records: Sequence[EvaluationRecord]) -> list[str]:
    """The loss, and every score that some record has for both models."""
    scored = {name for record in records for name in record.base.scores.keys() & record.tuned.scores.keys()}
    if unknown := scored - METRICS.keys():
        known = ", ".join(METRICS)
        raise DataError("evaluation", f"unknown metrics {sorted(unknown)}", expected=f"some of {known}", remedy="evaluate the run again")
    return [name for name in METRICS if name == LOSS.name or name in scored]


def _pairs(name: str, records: Sequence[EvaluationRecord]) -> Pairs:
    """Loss from every record, a score from the records that have it."""
    if name == LOSS.name:
        used = list(records)
        for record in used:
            _check_tokens(record)
        rows = [(record.base.loss_total, record.tuned.loss_total, record.base.num_supervised) for record in used]
    else:
        used = [record for record in records if name in record.base.scores and name in record.tuned.scores]
        rows = [(record.base.scores[name], record.tuned.scores[name], 1) for record in used]
    columns = np.array(rows, dtype=np.float64)  # (n, 3)
    finite = np.isfinite(columns).all(axis=1)
    if not finite.all():
        first = used[int(np.argmin(finite))]
        found = f"{METRICS[name].title} of example {first.id} is not a finite number"
        raise DataError(first.source, found, expected="finite numbers", remedy="check the model for broken weights")
    return Pairs(*columns.T)


def _check_tokens(record: EvaluationRecord) -> None:
    base, tuned = record.base.num_supervised, record.tuned.num_supervised
    if base != tuned or base < 1:
        found = f"{base} supervised tokens for the base model and {tuned} for the tuned one"
        remedy = "evaluate both with the same template and tokenizer"
        raise DataError(record.source, found, expected="the same number, at least 1", remedy=remedy)


def _compare(metric: Metric, pairs: Pairs, config: EvaluateConfig, alpha: float) -> Comparison:
    differences, weights = pairs.tuned - pairs.base, pairs.weights
    count, total = len(differences), math.fsum(weights)
    difference = statistics.estimate(differences, weights)
    deviation = statistics.paired_deviation(differences, weights)
    spread = statistics.binary_deviation(differences) if metric.binary else deviation
    return Comparison(
        metric=metric,
        num_examples=count,
        base=math.fsum(pairs.base) / total,
        tuned=math.fsum(pairs.tuned) / total,
        difference=difference,
        interval=_interval(metric, differences, weights, config),
        test="exact McNemar" if metric.binary else "sign flips",
        p_value=_p_value(metric, differences, config.seed),
        p_adjusted=1.0,
        effect_size=difference / deviation if deviation else None,
        deviation=deviation,
        detectable_difference=statistics.detectable_difference(spread, count, alpha=alpha) if spread else None,
        examples_needed=statistics.examples_needed(spread, difference, alpha=alpha) if spread else None,
        verdict="cannot tell",
        sentence="",
    )


def _interval(metric: Metric, differences: Floats, weights: Floats, config: EvaluateConfig) -> Interval | None:
    if metric.binary:
        return statistics.binary_interval(differences, confidence=config.confidence)
    return statistics.interval(differences, weights, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed)


def _p_value(metric: Metric, differences: Floats, seed: int) -> float:
    if metric.binary:
        return statistics.mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
    return statistics.sign_flip_test(differences, seed=seed)


def _judged(comparison: Comparison, p_adjusted: float, config: EvaluateConfig) -> Comparison:
    excludes_zero = comparison.interval is not None and comparison.interval.excludes_zero
    verdict: Verdict = "cannot tell"
    if excludes_zero and p_adjusted < 1 - config.confidence:
        verdict = "better" if comparison.gain > 0 else "worse"
    judged = dataclasses.replace(comparison, p_adjusted=p_adjusted, verdict=verdict)
    return dataclasses.replace(judged, sentence=_sentence(judged))


def _sentence(comparison: Comparison) -> str:
    digits, title = comparison.decimals, comparison.metric.title
    difference = signed(comparison.difference, digits)
    if comparison.interval:
        difference += f" {bracketed(comparison.interval, digits)}"
    if comparison.verdict == "cannot tell":
        return f"cannot tell with n = {comparison.num_examples:,}: {title} {difference}; {_what_would_tell(comparison)}"
    figures = f"{title} {comparison.tuned:.{digits}f} against {comparison.base:.{digits}f}, {difference}"
    return f"{comparison.verdict}: {figures}, n = {comparison.num_examples:,}, {p_text(comparison.p_adjusted)}"


def _what_would_tell(comparison: Comparison) -> str:
    needed = comparison.examples_needed
    if needed is None:
        return "no difference seen" if comparison.difference == 0 else "more examples needed"
    if needed > comparison.num_examples:
        return f"about {roughly(needed)} examples needed"
    return "a few more examples needed"  # enough on paper; the test is not convinced
