"""Power of the exact McNemar test: what so many right-or-wrong answers would notice, and how many would be needed.

    >>> mcnemar_power(100, gained=0.20, lost=0.05, alpha=0.05)   # 20 % newly right, 5 % newly wrong
    0.84

Which of the examples change is chance as well, and the exact test keeps below its alpha because counts are whole numbers. The
normal approximation for means (`statistics.examples_needed`) knows neither, and promises too much for small samples: these are
sums over the binomial distributions themselves.
"""

from __future__ import annotations

import math

import numpy as np

from tunesmith.evaluate.statistics import POWER

LARGEST_EXACT = 3_000
"""Beyond so many examples the normal approximation of the same test (Connor 1987) differs by little."""


def mcnemar_power(count: int, *, gained: float, lost: float, alpha: float) -> float:
    """Chance that the test is significant at `alpha`, two-sided.

    Args:
        count: examples.
        gained: true share of examples that become right, 0 to 1.
        lost: true share of examples that become wrong; the two together at most 1.
        alpha: after any correction for several metrics.
    """
    if gained + lost == 0:
        return 0.0
    if count > LARGEST_EXACT:
        return _normal_power(count, gained, lost, alpha)
    from scipy.stats import binom

    changed = np.arange(1, count + 1)  # how many examples change, (count,)
    most = np.asarray(binom.ppf(alpha / 2, changed, 0.5))  # the largest smaller side that is still significant, or one too many
    most = most - (2 * binom.cdf(most, changed, 0.5) >= alpha)  # as `statistics.mcnemar`, p < alpha
    share = gained / (gained + lost)
    rejected = binom.cdf(most, changed, share) + binom.cdf(most, changed, 1 - share)
    return float((binom.pmf(changed, count, gained + lost) * rejected).sum())


def _normal_power(count: int, gained: float, lost: float, alpha: float) -> float:
    """Connor 1987, "Sample Size for Testing Differences in Proportions for the Paired-Sample Design", Biometrics 43."""
    from scipy.stats import norm

    changed, difference = gained + lost, abs(gained - lost)
    spread = math.sqrt(changed - difference**2)
    if spread == 0:
        return 1.0
    return float(norm.cdf((difference * math.sqrt(count) - norm.ppf(1 - alpha / 2) * math.sqrt(changed)) / spread))


def mcnemar_examples_needed(*, gained: float, lost: float, alpha: float, most: int = 1_000_000) -> int | None:
    """Fewest examples with power `POWER`; None where both shares are equal, or where `most` are not enough.

    Power has small teeth over the count, whole numbers again: from the count given on it stays near `POWER` or above.
    """
    if math.isclose(gained, lost, abs_tol=1e-12):
        return None
    low, high = 1, 2
    while mcnemar_power(high, gained=gained, lost=lost, alpha=alpha) < POWER:
        low, high = high, 2 * high
        if high > most:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = mcnemar_power(middle, gained=gained, lost=lost, alpha=alpha) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def mcnemar_detectable_difference(count: int, *, changed: float, alpha: float) -> float | None:
    """Smallest true difference of the shares right that `count` examples would notice with probability `POWER`.

    Args:
        count: examples.
        changed: share of examples that change sides; a difference larger than that takes more of them.
        alpha: after any correction for several metrics.

    Returns:
        None where not even a change of every example would be noticed.
    """

    def power(difference: float) -> float:
        total = max(changed, difference)
        return mcnemar_power(count, gained=(total + difference) / 2, lost=(total - difference) / 2, alpha=alpha)

    if power(1.0) < POWER:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
