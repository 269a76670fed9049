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
from tunesmith.evaluate import labels, power, statistics
from tunesmith.evaluate.labels import LabelAnswers, label_answers
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import BALANCED_ACCURACY, LOSS, MACRO_F1, METRICS, WEIGHTED, Metric, metric_of
from tunesmith.evaluate.statistics import Floats, Interval
from tunesmith.evaluate.wording import bracketed, decimals_for, p_text, roughly, signed

Verdict = Literal["better", "worse", "cannot tell"]

_LABEL_FIGURES = ((MACRO_F1, labels.macro_f1), (BALANCED_ACCURACY, labels.balanced_accuracy))
"""What label accuracy brings along."""


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


class Answered(NamedTuple):
    """A record, and its answers of the two models compared."""

    record: EvaluationRecord
    base: ModelAnswer
    tuned: ModelAnswer


class Reach(NamedTuple):
    """What so many examples can tell, and how many would do; None where that is undefined."""

    detectable_difference: float | None
    examples_needed: int | None


class Pairs(NamedTuple):
    """A metric's numbers, one entry an example.  # each (n,)"""

    base: Floats
    tuned: Floats
    weights: Floats


def compare_records(
    records: Sequence[EvaluationRecord],
    config: EvaluateConfig,
    first: str = "base",
    second: str = "tuned",
) -> tuple[Comparison, ...]:
    """Compare two models on every metric the records have for both, the loss first.

    Args:
        records: with answers of both.
        config: confidence, resamples, seed.
        first: label of the model to compare with, the comparisons' `base`.
        second: label of the model that is better or worse, the comparisons' `tuned`.

    Raises:
        RunError: a record has no answer of one of them.
        DataError: no records, a number that is not finite, a score without a metric, or losses over different tokens.
    """
    if not records:
        raise DataError("evaluation", "there are no examples", expected="at least one", remedy="evaluate a split that has examples")
    answered = [Answered(record, record.answer(first), record.answer(second)) for record in records]
    for one in answered:
        _check_tokens(one, first, second)
    pairs = {name: _pairs(name, answered) for name in _metric_names(answered, config)}
    label_figures = _LABEL_FIGURES if (of_labels := label_answers(records, first, second)) else ()
    alpha = (1 - config.confidence) / (len(pairs) + len(label_figures))  # the first step of Holm's procedure; power is stated for it
    comparisons = []
    for name, pair in pairs.items():
        comparisons.append(_compare(metric_of(name), pair, config, alpha))
        if name == labels.SCORER and of_labels:
            comparisons += [_compare_labels(metric, figure, of_labels, config, alpha) for metric, figure in label_figures]
    return judge_together(comparisons, config)


def compare_on(
    metric: Metric, records: Sequence[EvaluationRecord], config: EvaluateConfig, first: str, second: str, *, num_comparisons: int
) -> Comparison:
    """Compare two models on one score, not judged yet: hand it, with the others it is looked at with, to `judge_together`.

    Raises:
        RunError: a record has no answer of one of them.
        DataError: no record has the score of both.
    """
    pairs = _pairs(metric.name, [Answered(record, record.answer(first), record.answer(second)) for record in records])
    return _compare(metric, pairs, config, (1 - config.confidence) / num_comparisons)


def judge_together(comparisons: Sequence[Comparison], config: EvaluateConfig) -> tuple[Comparison, ...]:
    """The verdicts of comparisons that are looked at together, by p values adjusted for their number."""
    adjusted = statistics.holm([comparison.p_value for comparison in comparisons])
    return tuple(_judged(comparison, p, config) for comparison, p in zip(comparisons, adjusted, strict=True))


def _metric_names(answered: Sequence[Answered], config: EvaluateConfig) -> list[str]:
    """The loss, and every score that some record has for both models, in the order of `score_names`."""
    names = score_names([one.record for one in answered], config)
    known = [name for name in names if any(name in one.base.scores and name in one.tuned.scores for one in answered)]
    unknown = [name for name in known if not _is_known(name)]
    if unknown:
        expected = f"some of {', '.join(METRICS)}"
        raise DataError("evaluation", f"unknown metrics {unknown}", expected=expected, remedy="evaluate the run again")
    return [LOSS.name, *known]


def _is_known(name: str) -> bool:
    try:
        metric_of(name)
    except KeyError:
        return False
    return True


def score_names(records: Sequence[EvaluationRecord], config: EvaluateConfig | None = None) -> list[str]:
    """Names of the records' scores, the deciding one first: in the order of the settings' scorers, else as they stand in the records.

    The order of the records does not matter.
    """
    orders = {tuple(answer.scores) for record in records for answer in record.answers.values()}
    written = dict.fromkeys(name for order in sorted(orders, key=lambda order: (-len(order), order)) for name in order)
    first = [WEIGHTED.name, *((config.scorers if config else None) or ())]
    return [*(name for name in first if name in written), *(name for name in written if name not in first)]


def _pairs(name: str, answered: Sequence[Answered]) -> Pairs:
    """Loss from every record, a score from the records that have it."""
    if name == LOSS.name:
        used = list(answered)
        rows = [(one.base.loss_total, one.tuned.loss_total, one.base.num_supervised) for one in used]
    else:
        used = [one for one in answered if name in one.base.scores and name in one.tuned.scores]
        rows = [(one.base.scores[name], one.tuned.scores[name], 1) for one in used]
    if not rows:
        found = f"no example has {metric_of(name).title} of both models"
        raise DataError("evaluation", found, expected="a score that applies to some", remedy="choose another scorer")
    columns = np.array(rows, dtype=np.float64)  # (n, 3)
    finite = np.isfinite(columns).all(axis=1)
    if not finite.all():
        record = used[int(np.argmin(finite))].record
        found = f"{metric_of(name).title} of example {record.id} is not a finite number"
        raise DataError(record.source, found, expected="finite numbers", remedy="check the model for broken weights")
    return Pairs(*columns.T)


def _check_tokens(one: Answered, first: str, second: str) -> None:
    base, tuned = one.base.num_supervised, one.tuned.num_supervised
    if base != tuned or base < 1:
        found = f"{base} supervised tokens for the model {first} and {tuned} for {second}"
        remedy = "evaluate both with the same template and tokenizer"
        raise DataError(one.record.source, found, expected="the same number, at least 1", remedy=remedy)


def _compare(metric: Metric, pairs: Pairs, config: EvaluateConfig, alpha: float) -> Comparison:
    differences, weights = pairs.tuned - pairs.base, pairs.weights
    count, total = len(differences), math.fsum(weights)
    difference = statistics.estimate(differences, weights)
    deviation = statistics.paired_deviation(differences, weights)
    reach = _reach_of_changes(differences, alpha) if metric.binary else _reach_of_mean(deviation, difference, count, alpha)
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
        **reach._asdict(),
        verdict="cannot tell",
        sentence="",
    )


def _reach_of_mean(deviation: float | None, difference: float, count: int, alpha: float) -> Reach:
    if not deviation:
        return Reach(None, None)
    detectable = statistics.detectable_difference(deviation, count, alpha=alpha)
    return Reach(detectable, statistics.examples_needed(deviation, difference, alpha=alpha))


def _reach_of_changes(differences: Floats, alpha: float) -> Reach:
    """Of the exact McNemar test, with one example gained and one lost more, as in the interval: nothing seen is no proof of nothing."""
    total = len(differences) + 2
    gained, lost = (int((differences > 0).sum()) + 1) / total, (int((differences < 0).sum()) + 1) / total
    detectable = power.mcnemar_detectable_difference(len(differences), changed=gained + lost, alpha=alpha)
    return Reach(detectable, power.mcnemar_examples_needed(gained=gained, lost=lost, alpha=alpha))


def _compare_labels(metric: Metric, figure: labels.Figure, answers: LabelAnswers, config: EvaluateConfig, alpha: float) -> Comparison:
    found = labels.compare_labels(answers, figure, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed)
    count, difference = len(answers.truth), found.tuned - found.base
    return Comparison(
        metric=metric,
        num_examples=count,
        base=found.base,
        tuned=found.tuned,
        difference=difference,
        interval=found.interval,
        test="random swaps",
        p_value=found.p_value,
        p_adjusted=1.0,
        effect_size=None,
        deviation=None,
        **_reach_of_mean(found.deviation, difference, count, alpha)._asdict(),
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
