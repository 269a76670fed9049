"""Learning curves: what a metric does as the data grow, and what twice the data would bring.

    value(n) = limit + gain * n ** -exponent

the power law that losses follow over orders of magnitude (Hestness et al. 2017, arXiv:1712.00409, section 2; Rosenfeld et al. 2020,
arXiv:1909.12673). For a given exponent the rest is linear (Golub & Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear
least squares problems whose variables separate"), so the exponent is looked for on a grid: there is one best fit, always the same.

The limit stays within what the metric can be: no loss ends below 0. Not every curve is a power law (Viering & Loog 2023, "The shape of
learning curves: a review", arXiv:2103.10948, section 3.4): a task that is suddenly understood takes off. A fit says where it misses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_SIZES = 4
"""Three numbers are fitted; with fewer points than this they would fit anything."""
EXPONENTS: Floats = np.geomspace(0.02, 2.0, 100)
NUM_RESAMPLES = 2_000
NEGLIGIBLE = 0.01
"""A miss of this share of the measured range matters to nobody, however many held-out examples show it."""


class Bounds(NamedTuple):
    """The least and the most a metric can be."""

    least: float
    most: float


UNBOUNDED = Bounds(-math.inf, math.inf)


class Forecast(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual:
    """How far a measured point is from the fit."""

    num_examples: int
    """Of the point."""
    value: float
    """Measured less fitted."""
    allowed: float
    """Half the width of the measured value's own interval."""


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
    confidence: float
    """Of all intervals."""
    worst_residual: Residual
    """Of the point that lies furthest outside, or least inside, what its interval allows."""
    is_trusted: bool
    """Every point lies as near to the fit as its interval allows, or nearer than anybody minds."""

    def at(self, num_examples: float) -> float:
        return float(self.limit + self.gain * num_examples**-self.exponent)

    def warning(self, decimals: int) -> str | None:
        """`the power law misses the point at 500 examples by 0.21, …: not to be trusted`; None where it is trusted."""
        if self.is_trusted:
            return None
        worst = self.worst_residual
        miss = f"the power law misses the point at {worst.num_examples:,} examples by {abs(worst.value):.{decimals}f}"
        allowed = f"more than its {100 * self.confidence:g} % interval allows (± {worst.allowed:.{decimals}f})"
        return f"{miss}, {allowed}: not to be trusted"


class _Laws(NamedTuple):
    """Fitted power laws over the sizes as shares of the largest: `limit + gain * share ** -exponent`."""

    limit: Floats  # (R,)
    gain: Floats  # (R,)
    exponent: Floats  # (R,)

    def at(self, shares: Floats) -> Floats:  # (K,) -> (R, K)
        return np.asarray(self.limit[:, None] + self.gain[:, None] * shares ** -self.exponent[:, None])


def fit_curve(
    sizes: Floats, numerators: Floats, weights: Floats, *, bounds: Bounds = UNBOUNDED, confidence: float = 0.95, seed: int = 0
) -> Curve | None:
    """Fit the metric, and bootstrap the held-out examples for the intervals.

    Args:
        sizes: training examples.  # (K,), rising
        numerators: what each held-out example adds to the metric.  # (K, n)
        weights: what it is divided by: supervised tokens for the loss, 1 for scores.  # (n,)
        bounds: of the metric; limit, forecasts and their intervals stay within.
        confidence: of the intervals. They know the chance in the choice of held-out examples; the chance in the training is known to
            the extent that values of several seeds were averaged.
        seed: of the bootstrap.

    Returns:
        None for fewer than `FEWEST_SIZES` sizes.
    """
    if len(sizes) < FEWEST_SIZES:
        return None
    values = _resampled(numerators, weights, seed)  # (1 + R, K), the first row is the sample itself
    laws = _fit(sizes / sizes[-1], values, bounds)
    ends = np.clip(laws.at(np.array([1.0, 2.0])), *bounds)  # (1 + R, 2); within already, but for rounding
    allowed = np.maximum(_half_widths(values, confidence), _half_width_at_bounds(values, numerators, bounds, confidence))
    worst, is_trusted = _worst_residual(sizes, values[0] - laws.at(sizes / sizes[-1])[0], allowed, values[0])
    return Curve(
        limit=float(laws.limit[0]),
        gain=float(laws.gain[0] * sizes[-1] ** laws.exponent[0]),
        exponent=float(laws.exponent[0]),
        largest=int(sizes[-1]),
        at_largest=float(ends[0, 0]),
        doubled=_forecast(ends[:, 1], confidence),
        doubled_gain=_forecast(ends[:, 1] - ends[:, 0], confidence),
        confidence=confidence,
        worst_residual=worst,
        is_trusted=is_trusted,
    )


def _resampled(numerators: Floats, weights: Floats, seed: int) -> Floats:
    """The metric of the sample, then of its resamples.  # (K, n) -> (1 + NUM_RESAMPLES, K)"""
    count = numerators.shape[1]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=NUM_RESAMPLES)  # (R, n)
    counts = np.vstack([np.ones((1, count)), drawn])
    return np.asarray((counts @ numerators.T) / (counts @ weights)[:, None])


def _fit(shares: Floats, values: Floats, bounds: Bounds) -> _Laws:
    """Least squares of every row of `values`, with the limit within bounds.  # (K,), (R, K)

    For a given exponent the squares are a convex parabola in the limit once the gain follows it, so the best limit within bounds
    is the best of all, clipped. As the gain then meets its normal equation, the fit cannot pass all points on one side, and from the
    largest size on it lies between one of the points and the limit: within bounds, too.
    """
    best = np.full(len(values), np.inf)
    limit, gain, exponent = np.zeros_like(best), np.zeros_like(best), np.zeros_like(best)
    for candidate in EXPONENTS:
        falling = shares**-candidate  # (K,), 1 at the largest
        centred = falling - falling.mean()
        slope = values @ centred / (centred @ centred)  # (R,)
        end = np.clip(values.mean(axis=1) - slope * falling.mean(), *bounds)
        slope = (values - end[:, None]) @ falling / (falling @ falling)
        errors = ((values - end[:, None] - slope[:, None] * falling) ** 2).sum(axis=1)
        is_better = errors < best
        best[is_better], exponent[is_better] = errors[is_better], candidate
        limit[is_better], gain[is_better] = end[is_better], slope[is_better]
    return _Laws(limit, gain, exponent)


def _half_widths(values: Floats, confidence: float) -> Floats:
    """Of the measured values' intervals.  # (1 + R, K) -> (K,)"""
    low, high = np.quantile(values[1:], [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return np.asarray((high - low) / 2)


def _half_width_at_bounds(values: Floats, numerators: Floats, bounds: Bounds, confidence: float) -> Floats:
    """Where all n examples have the least or the most there is, which no resample changes: about 3 / n of the range.  # -> (K,)

    The rule of three (Hanley & Lippman-Hand 1983, "If nothing goes wrong, is everything all right?").
    """
    reach = bounds.most - bounds.least
    if not math.isfinite(reach):
        return np.zeros(len(numerators))
    at_bounds = np.isclose(values[0], bounds.least, rtol=0, atol=1e-12) | np.isclose(values[0], bounds.most, rtol=0, atol=1e-12)
    return np.where(at_bounds, -math.log(1 - confidence) / numerators.shape[1] * reach, 0.0)


def _worst_residual(sizes: Floats, residuals: Floats, allowed: Floats, measured: Floats) -> tuple[Residual, bool]:
    """The point furthest outside what is allowed, and whether none is outside.  # each (K,)"""
    excess = np.abs(residuals) - np.maximum(allowed, NEGLIGIBLE * np.ptp(measured))
    worst = int(np.argmax(excess))
    residual = Residual(num_examples=int(sizes[worst]), value=float(residuals[worst]), allowed=float(allowed[worst]))
    return residual, bool(excess[worst] <= 0)


def _forecast(values: Floats, confidence: float) -> Forecast:
    low, high = np.quantile(values[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Forecast(float(values[0]), float(low), float(high))
