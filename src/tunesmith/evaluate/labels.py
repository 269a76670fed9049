"""Numbers of a classification that only all its examples together have: confusion matrix, macro-F1, balanced accuracy.

    >>> table = label_table(records, "base", "tuned")
    >>> table.macro_f1("tuned")
    0.81

The figures are scikit-learn's, over the labels that occur among the references (`f1_score(…, average="macro", labels=…)`,
`balanced_accuracy_score`). They are no means of examples, so their intervals have a section of their own, `difference_interval`, and
their test swaps the models' answers at random.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate import statistics
from tunesmith.evaluate.confusion import Confusion
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.scorers.labels import label_key
from tunesmith.evaluate.statistics import Floats, Interval

SCORER = "label_accuracy"
Labels = NDArray[np.intp]
PSEUDO = 0.125
"""Of an example, added in each of four ways to every label for the interval: half an example a label."""


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


class Counts(NamedTuple):
    """For every label: weight of the examples where it is said rightly, is said, is there.  # each (L,)"""

    right: Floats
    said: Floats
    there: Floats


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over the labels that occur, of `(1 + k) * right / (there + k * said)`: the F1 where k is 1, the recall where it is 0."""

    k: int

    def __call__(self, truth: Labels, predicted: Labels, num_labels: int) -> float:
        """The figure of one model's answers; entries of `num_labels` are no label.  # both (n,)"""
        counts = _counts(truth, predicted, num_labels, None)
        return float(self._ratios(counts)[counts.there > 0].mean())

    def of_table(self, table: Floats) -> Floats:
        """Every label's own figure from a confusion matrix with rows as references.  # (L, L) -> (L,)"""
        return self._ratios(Counts(np.diag(table), table.sum(axis=0), table.sum(axis=1)))

    def influences(self, truth: Labels, predicted: Labels, num_labels: int, weights: Floats) -> tuple[float, Floats]:
        """The figure of weighted examples, and how far each example moves it per share of the weight (its derivative).  # (n,)"""
        counts = _counts(truth, predicted, num_labels, weights)
        ratios, occurs = self._ratios(counts), counts.there > 0
        rates = np.append(np.where(occurs, 1 / np.maximum(self._whole(counts), 1e-300), 0.0), 0.0)  # 0 for what is no label  # (L + 1,)
        padded = np.append(ratios, 0.0)
        gained = ((1 + self.k) * (truth == predicted) - padded[truth]) * rates[truth] - self.k * padded[predicted] * rates[predicted]
        return float(ratios[occurs].mean()), gained * float(weights.sum()) / float(occurs.sum())

    def _whole(self, counts: Counts) -> Floats:
        return counts.there + self.k * counts.said

    def _ratios(self, counts: Counts) -> Floats:
        """0 for a label that is neither there nor said.  # (L,)"""
        return np.asarray((1 + self.k) * counts.right / np.maximum(self._whole(counts), 1e-300))


macro_f1 = Figure(1)
balanced_accuracy = Figure(0)


def _counts(truth: Labels, predicted: Labels, num_labels: int, weights: Floats | None) -> Counts:
    each = np.ones(len(truth)) if weights is None else weights

    def added_up(of: Labels, weighing: Floats) -> Floats:
        return np.asarray(np.bincount(of, weighing, minlength=num_labels + 1)[:num_labels], dtype=np.float64)

    is_right = truth == predicted
    return Counts(added_up(truth[is_right], each[is_right]), added_up(predicted, each), added_up(truth, each))


def difference_interval(
    figure: Figure, truth: Labels, first: Labels, second: Labels, num_labels: int, *, confidence: float
) -> Interval | None:
    """Confidence interval of `figure` of the second model's answers less that of the first one's, on the same examples.

    The delta method (Takahashi et al. 2022, "Confidence interval for micro-averaged F1 and macro-averaged F1 scores", Applied
    Intelligence 52) on the examples' paired influences, with Student's t. By itself it takes a label that a model had right three
    times of three for one that is always right, as the bootstrap does, and covers far too little. So to every label
    `PSEUDO` of an example is added in each of four ways: both models right, neither, the first alone, the second alone; the idea of
    Agresti and Caffo 2000 and of Bonett and Price 2012 for shares. The centre is midway between the difference with
    them and without: with them alone it leans to zero, without them it stays where chance put a rare label. How it
    covers is measured by `bench/coverage.py`; with one or two examples a label it can still be short of what it promises by a few
    per cent. The interval is of the labels that occur; of others the examples say nothing.

    Args:
        figure: `macro_f1` or `balanced_accuracy`.
        truth: label of every example.  # (n,)
        first: what the first model said; `num_labels` where it is no label.  # (n,)
        second: the second.  # (n,)
        num_labels: L.
        confidence: for instance 0.95.

    Returns:
        None below `statistics.SMALLEST_BOOTSTRAP` examples.
    """
    from scipy.stats import t

    if len(truth) < statistics.SMALLEST_BOOTSTRAP:
        return None
    there = np.unique(truth)
    nothing = np.full(len(there), num_labels)
    more_truth = np.concatenate([truth, np.tile(there, 4)])
    more_first = np.concatenate([first, there, nothing, there, nothing])
    more_second = np.concatenate([second, there, nothing, nothing, there])
    weights = np.concatenate([np.ones(len(truth)), np.full(4 * len(there), PSEUDO)])
    before, moved_first = figure.influences(more_truth, more_first, num_labels, weights)
    after, moved_second = figure.influences(more_truth, more_second, num_labels, weights)
    total = math.fsum(weights)
    error = math.sqrt(math.fsum(weights * (moved_second - moved_first) ** 2) / total / (total - 1))
    observed = figure(truth, second, num_labels) - figure(truth, first, num_labels)
    centre, half = (observed + after - before) / 2, float(t.ppf((1 + confidence) / 2, len(truth) - 1)) * error
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))


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


def compare_labels(answers: LabelAnswers, figure: Figure, *, confidence: float, num_resamples: int, seed: int) -> Difference:
    """`figure` of both models, the interval of the difference and the test of no difference."""
    size = len(answers.labels)
    base, tuned = (figure(answers.truth, predicted, size) for predicted in (answers.base, answers.tuned))
    mirrored = tuned < base
    lesser, greater = (answers.tuned, answers.base) if mirrored else (answers.base, answers.tuned)
    order = np.lexsort((greater, lesser, answers.truth))  # neither the examples' order nor the models' changes the result
    truth, lesser, greater = answers.truth[order], lesser[order], greater[order]

    found = difference_interval(figure, truth, lesser, greater, size, confidence=confidence)
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
