"""Paired statistics: is the tuned model's number different from the base's on the same examples, or is it chance?

Everything here works on two arrays with one entry an example: `differences` (tuned minus base) and `weights`; the
estimate is sum(differences) / sum(weights). With weights of 1 that is the mean paired difference of a score. For the
loss, differences are of summed nats and weights are supervised tokens, so the estimate is the difference of two corpus
losses, sum / sum, and not a mean of means.

    >>> d, w = np.array([0.2, 0.1, 0.3, -0.1, 0.2, 0.2, 0.0, 0.4, 0.1, 0.3]), np.ones(10)
    >>> estimate(d, w), interval(d, w, confidence=0.95, num_resamples=5000, seed=0)
    (0.17, Interval(low=0.05, high=0.27))

Deterministic: the order of the examples does not matter, and swapping the two models mirrors every result.

Which test is used when, and why:

- a mean of scores, or a corpus loss: `sign_flip_test`, the default. It asks about the very number reported, the sum of the
  differences, and assumes nothing of their shape;
- right or wrong: `mcnemar`, exact. The sign-flip test of zeros and ones is the same test;
- ratings from 1 to 5: `wilcoxon_test`, on the ranks of the differences. From 1 to 2 need not be as far as from 4 to 5, so a
  difference of means would rest on an assumption; how large the effect is then says `rank_biserial`, not Cohen's d;
- several metrics at once: `holm` over their p values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

POWER = 0.8
"""Chance of noticing a difference that is there, by convention (Cohen 1988)."""
SMALLEST_BOOTSTRAP = 10
"""Below this many examples resampling knows too little, and Student's t is used."""
NUM_SIGN_FLIPS = 9_999
"""Random sign assignments where they are too many to list (2^13 and more)."""
_MOST_JACKKNIFES = 200
_CHUNK = 1_000_000  # resampled entries held at once


class Interval(NamedTuple):
    """Both ends, in the metric's unit."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def estimate(differences: Floats, weights: Floats) -> float:
    """The difference: sum over sum."""
    return math.fsum(differences) / math.fsum(weights)


def contributions(differences: Floats, weights: Floats) -> Floats:
    """What each example adds to the estimate, centred on it: mean = estimate, standard deviation = the paired one.

    For weights of 1 these are the differences. For a ratio they are its linearisation, estimate + (d - estimate * w) / mean(w)
    (Cochran, Sampling Techniques, 1977, section 6.3), which gives its standard error.
    """
    ratio = estimate(differences, weights)
    return ratio + (differences - ratio * weights) / float(weights.mean())


def paired_deviation(differences: Floats, weights: Floats) -> float | None:
    """Standard deviation of the contributions (n - 1); None for a single example."""
    if len(differences) < 2:
        return None
    deviation = float(contributions(differences, weights).std(ddof=1))
    scale = float(np.abs(differences).max() / weights.mean())
    return deviation if deviation > 1e-12 * scale else 0.0  # rounding of equal differences is not spread


def interval(differences: Floats, weights: Floats, *, confidence: float, num_resamples: int, seed: int) -> Interval | None:
    """Confidence interval of the estimate; None for a single example.

    Bootstrap over examples, with two corrections. The plain percentile interval is too narrow by sqrt((n - 1) / n) and for
    using a normal's quantile in place of Student's; slightly more extreme percentiles correct both (Hesterberg 2015, "What
    Teachers Should Know About the Bootstrap", section 5.3). And it leans to the wrong side where the values are skewed; BCa
    (Efron 1987, "Better Bootstrap Confidence Intervals") corrects that, and is used for scores. For a ratio of sums it is left
    out: long examples weigh so much that its skewness is mostly noise, and it covered a little less in trials.
    `bench/coverage.py` measures what is used. Below `SMALLEST_BOOTSTRAP` examples: Student's t.
    """
    if len(differences) < 2:
        return None
    if len(differences) < SMALLEST_BOOTSTRAP:
        return _student_interval(differences, weights, confidence)
    mirrored = estimate(differences, weights) < 0
    order = np.lexsort((weights, -differences if mirrored else differences))
    oriented, weights = (-differences[order] if mirrored else differences[order]), weights[order]
    resampled = _resampled_estimates(oriented, weights, num_resamples, seed)
    is_mean = bool((weights == weights[0]).all())
    influences = contributions(oriented, weights) - estimate(oriented, weights) if is_mean else None
    low, high = _bootstrap_ends(resampled, estimate(oriented, weights), influences, len(differences), confidence)
    return Interval(-high, -low) if mirrored else Interval(low, high)


def interval_of(statistic: Callable[[Indices], float], count: int, *, confidence: float, num_resamples: int, seed: int) -> Interval | None:
    """Confidence interval of any number computed from examples together: kappa, a correlation, corpus BLEU.

        def kappa(chosen):  # indices of examples, with repetitions  # (count,)
            return cohen_kappa_score(ours[chosen], theirs[chosen])
        interval_of(kappa, len(ours), confidence=0.95, num_resamples=2000, seed=0)

    Numbers that rest on rare classes, as macro-F1, are covered too seldom by it; for those see `labels.difference_interval`.

    The bootstrap of `interval`, with BCa's acceleration from a jackknife over at most `_MOST_JACKKNIFES` groups of examples. For
    two models on the same examples let `statistic` return the difference: both are then resampled together, as pairs.

    Args:
        statistic: called with an array of example indices, `num_resamples` times and a few hundred more; NaN where it is not
            defined for them (a class without examples). Deterministic, and indifferent to their order.
        count: examples there are.
        confidence: for instance 0.95.
        num_resamples: 1,000 to 5,000.
        seed: of the resamples. The order of the examples matters a little, as any other seed would.

    Returns:
        None below `SMALLEST_BOOTSTRAP` examples, where the number is not defined for all of them, or where it is not defined for
        more than a tenth of the resamples: those left would not stand for all.
    """
    if count < SMALLEST_BOOTSTRAP or math.isnan(observed := statistic(np.arange(count))):
        return None
    generator = np.random.default_rng(seed)
    resampled = np.array([statistic(generator.integers(count, size=count)) for _ in range(num_resamples)])
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < 0.9 * num_resamples:
        return None
    return Interval(*_bootstrap_ends(defined, observed, _influences(statistic, count, generator), count, confidence))


def _influences(statistic: Callable[[Indices], float], count: int, generator: np.random.Generator) -> Floats:
    """How far each group of examples moves the statistic, by leaving it out.  # (groups,), fewer where it is then undefined"""
    groups = np.array_split(generator.permutation(count), min(count, _MOST_JACKKNIFES))
    left_out = np.array([statistic(np.delete(np.arange(count), group)) for group in groups])
    defined = left_out[~np.isnan(left_out)]
    return np.asarray(defined.mean() - defined) if len(defined) else defined


def _bootstrap_ends(resampled: Floats, observed: float, influences: Floats | None, count: int, confidence: float) -> tuple[float, float]:
    """Percentiles of the resampled estimates: expanded, and moved for bias and skewness where influences are given (BCa)."""
    from scipy.stats import norm

    tail = _expanded_tail(count, confidence)
    ends = [tail, 1 - tail]
    if influences is not None and (spread := float((influences**2).sum())) > 0:
        near = 1e-9 * float(resampled.std())  # the same sum in another order differs by rounding
        below = float((resampled < observed - near).mean() + 0.5 * (np.abs(resampled - observed) <= near).mean())
        bias = float(norm.ppf(min(max(below, 0.1), 0.9)))  # beyond, the statistic is no longer near its own resamples
        acceleration = float((influences**3).sum()) / (6 * spread**1.5)
        moved = [bias + float(norm.ppf(end)) for end in ends]
        ends = [float(norm.cdf(bias + z / max(1 - acceleration * z, 0.1))) for z in moved]
    low, high = np.quantile(resampled, ends)
    return float(low), float(high)


def _student_interval(differences: Floats, weights: Floats, confidence: float) -> Interval:
    from scipy.stats import t

    count = len(differences)
    deviation = paired_deviation(differences, weights) or 0.0
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * deviation / math.sqrt(count)
    centre = estimate(differences, weights)
    return Interval(centre - half, centre + half)


def _expanded_tail(count: int, confidence: float) -> float:
    """Share of resamples beyond each end, a little under (1 - confidence) / 2."""
    from scipy.stats import norm, t

    return float(norm.cdf(-math.sqrt(count / (count - 1)) * t.ppf((1 + confidence) / 2, count - 1)))


def _resampled_estimates(differences: Floats, weights: Floats, num_resamples: int, seed: int) -> Floats:
    """Estimates of `num_resamples` samples of examples drawn with replacement.  # (num_resamples,)"""
    generator = np.random.default_rng(seed)
    count = len(differences)
    parts = []
    for start in range(0, num_resamples, rows := max(1, _CHUNK // count)):
        drawn = generator.integers(count, size=(min(rows, num_resamples - start), count))
        parts.append(differences[drawn].sum(axis=1) / weights[drawn].sum(axis=1))
    return np.concatenate(parts)


def binary_interval(differences: Floats, *, confidence: float) -> Interval:
    """Confidence interval of the difference between two paired shares; `differences` are -1, 0 and 1.

    Wald's interval after adding one example gained and one lost (Bonett and Price 2012, "Adjusted Wald Confidence Interval
    for a Difference of Binomial Proportions Based on Paired Data"). Unlike the bootstrap it has a width when no example
    changed: nothing seen in 20 examples is not proof of nothing.
    """
    from scipy.stats import norm

    centre, deviation = _adjusted_shares(differences)
    half = float(norm.ppf((1 + confidence) / 2)) * deviation / math.sqrt(len(differences) + 2)
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))


def binary_deviation(differences: Floats) -> float:
    """Standard deviation belonging to `binary_interval`; never 0."""
    return _adjusted_shares(differences)[1]


def _adjusted_shares(differences: Floats) -> tuple[float, float]:
    total = len(differences) + 2
    gained = (float((differences > 0).sum()) + 1) / total
    lost = (float((differences < 0).sum()) + 1) / total
    return gained - lost, math.sqrt(gained + lost - (gained - lost) ** 2)


def mcnemar(num_gained: int, num_lost: int) -> float:
    """Two-sided p of the exact McNemar test on the examples that changed (McNemar 1947; the binomial form)."""
    from scipy.stats import binomtest

    changed = num_gained + num_lost
    return float(binomtest(num_gained, changed, 0.5).pvalue) if changed else 1.0


def sign_flip_test(differences: Floats, *, seed: int) -> float:
    """Two-sided p of the paired randomisation test on the sum of the differences.

    If tuning changed nothing, each difference could as well have the other sign (Fisher 1935; recommended for language
    tasks by Dror et al. 2018, "The Hitchhiker's Guide to Testing Statistical Significance in NLP"). Exact over all signs
    for up to 13 non-zero differences, else over `NUM_SIGN_FLIPS` random ones, the observed one counted in (Phipson and
    Smyth 2010), so that p is never below 1 / 10,000. Zero differences change no sum and need no special handling.
    """
    sizes = np.sort(np.abs(differences[differences != 0]))
    observed = abs(math.fsum(differences)) - 1e-9 * float(sizes.sum())  # sums in another order differ by rounding
    if 2 ** len(sizes) <= NUM_SIGN_FLIPS:
        return float(np.mean(np.abs(_all_signs(len(sizes)) @ sizes) >= observed))
    generator = np.random.default_rng(seed)
    reached = 0
    for start in range(0, NUM_SIGN_FLIPS, rows := max(1, _CHUNK // len(sizes))):
        heads = generator.integers(2, size=(min(rows, NUM_SIGN_FLIPS - start), len(sizes)), dtype=np.int8)
        reached += int((np.abs((2.0 * heads - 1.0) @ sizes) >= observed).sum())
    return (1 + reached) / (1 + NUM_SIGN_FLIPS)


def _all_signs(count: int) -> Floats:
    """Every assignment of signs.  # (2^count, count)"""
    heads = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return np.where(heads == 1, 1.0, -1.0)


def wilcoxon_test(differences: Floats) -> float:
    """Two-sided p of the Wilcoxon signed-rank test (Wilcoxon 1945), for ordinal ratings; zero differences are left out.

    scipy's: exact for up to 13 non-zero differences, and for up to 50 where no two are of the same size; else the normal
    approximation with its correction for ties.
    """
    from scipy.stats import wilcoxon

    changed = differences[differences != 0]
    return float(wilcoxon(changed).pvalue) if len(changed) else 1.0


def rank_biserial(differences: Floats) -> float | None:
    """Matched-pairs rank-biserial correlation, the effect size of `wilcoxon_test`: from -1 to 1, 0 for no effect.

    (sum of the ranks of gains - sum of the ranks of losses) / sum of all ranks, ranks of the sizes of non-zero differences (Kerby
    2014, "The Simple Difference Formula"). None where nothing differs.
    """
    from scipy.stats import rankdata

    changed = differences[differences != 0]
    ranks = rankdata(np.abs(changed))
    return float((np.sign(changed) * ranks).sum() / ranks.sum()) if len(changed) else None


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for having looked at several metrics (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def detectable_difference(deviation: float, count: int, *, alpha: float) -> float:
    """Smallest true difference noticed with probability `POWER` by `count` examples.

    (z(1 - alpha/2) + z(POWER)) * deviation / sqrt(count): the normal approximation for a paired comparison (Miller 2024,
    "Adding Error Bars to Evals", section 5, arXiv:2411.00640).
    """
    return _distance(alpha) * deviation / math.sqrt(count)


def examples_needed(deviation: float, difference: float, *, alpha: float) -> int | None:
    """Examples that would notice a true difference this large with probability `POWER`; None if there is none to notice.

    `detectable_difference` solved for the count.
    """
    if abs(difference) <= 1e-9 * deviation or deviation == 0:  # nothing but rounding of a sum
        return None
    return math.ceil((_distance(alpha) * deviation / abs(difference)) ** 2)


def _distance(alpha: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(1 - alpha / 2) + norm.ppf(POWER))
