"""Numbers of a classification that only all its examples together have: confusion matrix, macro-F1, balanced accuracy.

    >>> table = label_table(records, "base", "tuned")
    >>> table.macro_f1("tuned")
    0.81

The figures are scikit-learn's, over the labels that occur among the references (`f1_score(…, average="macro", labels=…)`,
`balanced_accuracy_score`); the intervals are bootstrapped over examples, as these numbers are no means of examples.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate import statistics
from tunesmith.evaluate.confusion import Confusion
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.scorers.labels import label_key
from tunesmith.evaluate.statistics import Interval

SCORER = "label_accuracy"
Labels = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelAnswers:
    """Reference and answers of every example as numbers of labels.  # each (n,)"""

    labels: tuple[str, ...]
    truth: Labels
    base: Labels
    """The number of labels where the answer is none of them."""
    tuned: Labels

    @property
    def confusion(self) -> Confusion:
        size = len(self.labels)

        def table(predicted: Labels) -> tuple[tuple[int, ...], ...]:
            counts = np.bincount(self.truth * (size + 1) + predicted, minlength=size * (size + 1))
            return tuple(tuple(row) for row in counts.reshape(size, size + 1).tolist())

        return Confusion(labels=self.labels, base=table(self.base), tuned=table(self.tuned))


def label_answers(records: Sequence[EvaluationRecord], first: str, second: str) -> LabelAnswers | None:
    """Labels of the records that both models have a label score for; None where there are none."""
    used = [record for record in records if all(SCORER in record.answer(label).scores for label in (first, second))]
    if not used:
        return None
    written: dict[str, Counter[str]] = {}
    for record in used:
        written.setdefault(label_key(record.reference), Counter())[record.reference.strip()] += 1
    keys = sorted(written)
    places = {key: place for place, key in enumerate(keys)}

    def answered(label: str) -> Labels:
        return np.array([places.get(record.answer(label).label or "", len(keys)) for record in used], dtype=np.intp)

    return LabelAnswers(
        labels=tuple(min(written[key].items(), key=lambda pair: (-pair[1], pair[0]))[0] for key in keys),
        truth=np.array([places[label_key(record.reference)] for record in used], dtype=np.intp),
        base=answered(first),
        tuned=answered(second),
    )


def macro_f1(truth: Labels, predicted: Labels, num_labels: int) -> float:
    """Mean of the F1 of the labels that occur in `truth`; entries of `num_labels` are no label.  # both (n,)"""
    right, said, there = _counts(truth, predicted, num_labels)
    occurs = there > 0
    return float((2 * right[occurs] / (said + there)[occurs]).mean())


def balanced_accuracy(truth: Labels, predicted: Labels, num_labels: int) -> float:
    """Mean of the recall of the labels that occur in `truth`.  # both (n,)"""
    right, _, there = _counts(truth, predicted, num_labels)
    occurs = there > 0
    return float((right[occurs] / there[occurs]).mean())


def _counts(truth: Labels, predicted: Labels, num_labels: int) -> tuple[Labels, Labels, Labels]:
    """For every label: said rightly, said, there.  # each (L,)"""
    right = np.bincount(truth[truth == predicted], minlength=num_labels)
    return right, np.bincount(predicted, minlength=num_labels + 1)[:num_labels], np.bincount(truth, minlength=num_labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Of one corpus number between two models."""

    base: float
    tuned: float
    interval: Interval | None
    """Of tuned - base; None for too few examples."""
    p_value: float
    deviation: float | None
    """What a mean's standard deviation would be with an interval this wide; for examples needed."""


Figure = Callable[[Labels, Labels, int], float]


def compare_labels(answers: LabelAnswers, figure: Figure, *, confidence: float, num_resamples: int, seed: int) -> Difference:
    """`figure` of both models, the interval of the difference and the test of no difference."""
    size = len(answers.labels)
    base, tuned = (figure(answers.truth, predicted, size) for predicted in (answers.base, answers.tuned))
    mirrored = tuned < base
    lesser, greater = (answers.tuned, answers.base) if mirrored else (answers.base, answers.tuned)
    order = np.lexsort((greater, lesser, answers.truth))  # neither the examples' order nor the models' changes the result
    truth, lesser, greater = answers.truth[order], lesser[order], greater[order]

    def difference(chosen: Labels) -> float:
        return figure(truth[chosen], greater[chosen], size) - figure(truth[chosen], lesser[chosen], size)

    found = statistics.interval_of(difference, len(truth), confidence=confidence, num_resamples=num_resamples, seed=seed)
    return Difference(
        base=base,
        tuned=tuned,
        interval=Interval(-found.high, -found.low) if found and mirrored else found,
        p_value=_swap_test(truth, lesser, greater, figure, size, num_resamples=num_resamples, seed=seed),
        deviation=_deviation(found, len(truth), confidence),
    )


def _swap_test(truth: Labels, lesser: Labels, greater: Labels, figure: Figure, size: int, *, num_resamples: int, seed: int) -> float:
    """Two-sided p of the paired randomisation test: without a difference each example's answers could be swapped (Yeh 2000).

    Over `num_resamples` random swaps, the observed one counted in (Phipson and Smyth 2010).
    """
    observed = figure(truth, greater, size) - figure(truth, lesser, size) - 1e-12
    generator = np.random.default_rng(seed)
    reached = 0
    for _ in range(num_resamples):
        swapped = generator.integers(2, size=len(truth), dtype=np.int8).astype(bool)
        one, other = np.where(swapped, lesser, greater), np.where(swapped, greater, lesser)
        reached += abs(figure(truth, one, size) - figure(truth, other, size)) >= observed
    return (1 + reached) / (1 + num_resamples)


def _deviation(interval: Interval | None, count: int, confidence: float) -> float | None:
    from scipy.stats import norm

    if interval is None:
        return None
    return (interval.high - interval.low) / 2 / float(norm.ppf((1 + confidence) / 2)) * math.sqrt(count)
