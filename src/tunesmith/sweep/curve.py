"""Learning curves: what a metric does as the data grow, and what twice the data would bring.

    value(n) = limit + gain * n ** -exponent

the power law that losses follow over orders of magnitude (Hestness et al. 2017, arXiv:1712.00409, section 2; Rosenfeld et al. 2020,
arXiv:1909.12673). For a given exponent the rest is linear, so the exponent is looked for on a grid:
there is one best fit, always the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_SIZES = 4
"""Three numbers are fitted; with fewer points than this they would fit anything."""
EXPONENTS: Floats = np.geomspace(0.02, 2.0, 100)
NUM_RESAMPLES = 2_000


class Forecast(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A fitted power law, and what it says of twice the data."""

    limit: float
    """Where it ends with endless data; far outside the sizes measured, so to be read with care."""
    gain: float
    exponent: float
    largest: int
    """Examples of the largest set measured."""
    at_largest: float
    """The fitted value there."""
    doubled: Forecast
    """At twice as many."""
    doubled_gain: Forecast
    """`doubled` less `at_largest`."""

    def at(self, num_examples: float) -> float:
        return float(self.limit + self.gain * num_examples**-self.exponent)


def fit_curve(sizes: Floats, numerators: Floats, weights: Floats, *, confidence: float = 0.95, seed: int = 0) -> Curve | None:
    """Fit the metric, and bootstrap the held-out examples for the intervals.

    Args:
        sizes: training examples.  # (K,), rising
        numerators: what each held-out example adds to the metric.  # (K, n)
        weights: what it is divided by: supervised tokens for the loss, 1 for scores.  # (n,)
        confidence: of the intervals. They know the chance in the choice of held-out examples; the chance in the training is known to
            the extent that values of several seeds were averaged.
        seed: of the bootstrap.

    Returns:
        None for fewer than `FEWEST_SIZES` sizes.
    """
    if len(sizes) < FEWEST_SIZES:
        return None
    count = numerators.shape[1]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=NUM_RESAMPLES)  # (R, n)
    counts = np.vstack([np.ones((1, count)), drawn])  # the first row is the sample itself
    values = (counts @ numerators.T) / (counts @ weights)[:, None]  # (1 + R, K)
    limit, gain, exponent = _fit(sizes, values)
    largest = float(sizes[-1])
    at_largest = limit + gain * largest**-exponent
    doubled = limit + gain * (2 * largest) ** -exponent
    return Curve(
        limit=float(limit[0]),
        gain=float(gain[0]),
        exponent=float(exponent[0]),
        largest=int(largest),
        at_largest=float(at_largest[0]),
        doubled=_forecast(doubled, confidence),
        doubled_gain=_forecast(doubled - at_largest, confidence),
    )


def _fit(sizes: Floats, values: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares of every row of `values`.  # (R, K) -> three times (R,)"""
    best = np.full(len(values), np.inf)
    limit, gain, exponent = np.zeros_like(best), np.zeros_like(best), np.zeros_like(best)
    for candidate in EXPONENTS:
        design = np.stack([np.ones_like(sizes), sizes**-candidate], axis=1)  # (K, 2)
        solved = values @ np.linalg.pinv(design).T  # (R, 2)
        errors = ((values - solved @ design.T) ** 2).sum(axis=1)
        is_better = errors < best
        best[is_better] = errors[is_better]
        limit[is_better], gain[is_better] = solved[is_better].T
        exponent[is_better] = candidate
    return limit, gain, exponent


def _forecast(values: Floats, confidence: float) -> Forecast:
    low, high = np.quantile(values[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Forecast(float(values[0]), float(low), float(high))
