"""Whatever was measured, forecasts are numbers the metric can be; a power law is found, and what is none is said to be none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.evaluate.scorers import LOSS, METRICS, metric_of
from tunesmith.sweep.curve import EXPONENTS, UNBOUNDED, Bounds, Curve, Forecast, fit_curve
from tunesmith.sweep.learning import CurvePoint, LearningCurve, bounds_of

LOSSES, SHARES = Bounds(0.0, math.inf), Bounds(0.0, 1.0)
few = settings(max_examples=40, deadline=None)
sizes_of = st.lists(st.integers(5, 100_000), min_size=4, max_size=7, unique=True).map(lambda sizes: np.array(sorted(sizes), dtype=float))


def fit(sizes: np.ndarray, values: np.ndarray, bounds: Bounds, *, spread: float = 0.0, count: int = 40) -> Curve:
    """Of held-out examples with these means, which differ by a factor that all sizes share."""
    factors = np.random.default_rng(1).gamma(1 / spread**2, spread**2, size=count) if spread else np.ones(count)
    curve = fit_curve(sizes, values[:, None] * (factors / factors.mean()), np.ones(count), bounds=bounds)
    assert curve is not None
    return curve


@st.composite
def measured(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Bounds]:
    """Any values at all within bounds, of 8 held-out examples."""
    sizes = draw(sizes_of)
    bounds, most = draw(st.sampled_from([(LOSSES, 12.0), (SHARES, 1.0), (Bounds(0.0, 100.0), 100.0)]))
    row = st.lists(st.floats(0, most), min_size=8, max_size=8)
    return sizes, np.array(draw(st.lists(row, min_size=len(sizes), max_size=len(sizes)))), bounds


@few
@given(measured())
def test_forecasts_stay_in_the_metrics_range_and_follow_the_gains_sign(case: tuple[np.ndarray, np.ndarray, Bounds]) -> None:
    sizes, numerators, bounds = case
    curve = fit_curve(sizes, numerators, np.ones(8), bounds=bounds)
    assert curve is not None
    assert all(bounds.least <= value <= bounds.most for value in (curve.limit, curve.at_largest, *curve.doubled))
    places = np.geomspace(sizes[-1], 1000 * sizes[-1], 20)
    ahead = np.array([curve.at(place) for place in places])
    tolerance = 1e-9 * (1 + np.ptp(numerators.mean(axis=1)))
    assert np.all(ahead >= bounds.least - tolerance)
    assert np.all(ahead <= bounds.most + tolerance)
    assert np.all(np.diff(ahead) * -np.sign(curve.gain) >= -tolerance)
    assert math.copysign(1, curve.doubled_gain.value) == -math.copysign(1, curve.gain) or abs(curve.doubled_gain.value) <= tolerance
    again = fit_curve(sizes, numerators, np.ones(8), bounds=bounds)
    assert curve == again


@few
@given(sizes_of, st.floats(0, 3), st.floats(0.2, 5), st.sampled_from(EXPONENTS.tolist()))
def test_a_true_power_law_is_found_exactly(sizes: np.ndarray, limit: float, scale: float, exponent: float) -> None:
    """`scale`: how far it is from its limit at the smallest size."""
    truth = limit + scale * (sizes / sizes[0]) ** -exponent
    curve = fit(sizes, truth, LOSSES, spread=0.5)
    reach = float(np.ptp(truth))
    assert curve.doubled.value == pytest.approx(limit + scale * (2 * sizes[-1] / sizes[0]) ** -exponent, abs=1e-6 + 1e-3 * reach)
    assert abs(curve.worst_residual.value) <= 1e-6 * reach + 1e-12
    assert curve.is_trusted
    assert curve.warning(3) is None


@few
@given(sizes_of, st.floats(0.05, 0.9), st.floats(0.05, 0.9), st.floats(0.03, 1.9))
def test_one_between_the_exponents_of_the_grid_is_found_nearly_and_trusted(
    sizes: np.ndarray, limit: float, scale: float, exponent: float
) -> None:
    truth = limit - limit * scale * (sizes / sizes[0]) ** -exponent  # a score, rising
    curve = fit(sizes, truth, SHARES)
    assert curve.is_trusted, curve.worst_residual
    assert curve.worst_residual.allowed < 1e-12  # all examples alike: no width


def test_the_limit_within_bounds_is_the_best_there() -> None:
    """Against a general solver of bounded least squares, exponent by exponent."""
    from scipy.optimize import lsq_linear

    sizes, values = np.array([250.0, 500, 1000, 2000]), np.array([1.781, 1.274, 0.619, 0.228])
    curve = fit(sizes, values, LOSSES)
    designs = [np.stack([np.ones(4), (sizes / 2000) ** -exponent], axis=1) for exponent in EXPONENTS]
    best = min((lsq_linear(design, values, bounds=([0, -np.inf], [np.inf, np.inf]), tol=1e-12) for design in designs), key=lambda s: s.cost)
    ours = sum((value - curve.at(size)) ** 2 for size, value in zip(sizes, values, strict=True)) / 2
    assert curve.limit == 0.0
    assert ours == pytest.approx(best.cost, rel=1e-6)
    free = fit(sizes, values, UNBOUNDED)
    assert free.limit < 0
    assert free.doubled.value < 0


@pytest.mark.parametrize(("values", "bounds"), [((1.781, 1.274, 0.619, 0.228), LOSSES), ((0.037, 0.057, 0.287, 0.580), SHARES)])
def test_a_take_off_is_no_power_law(values: tuple[float, ...], bounds: Bounds) -> None:
    """Losses and label accuracies of a task with 77 classes, which is understood only with enough examples of each."""
    sizes = np.array([250.0, 500, 1000, 2000])
    curve = fit(sizes, np.array(values), bounds, spread=0.5, count=300)
    assert not curve.is_trusted
    assert bounds.least <= curve.doubled.low <= curve.doubled.high <= bounds.most
    worst = curve.worst_residual
    assert worst.value == pytest.approx(values[list(sizes).index(worst.num_examples)] - curve.at(worst.num_examples))
    assert abs(worst.value) > worst.allowed > 0
    said = f"misses the point at {worst.num_examples:,} examples by {abs(worst.value):.2f}, more than its 95 % interval allows"
    assert said in str(curve.warning(2))


@pytest.mark.parametrize(("shared", "own"), [(0.3, 0.05), (0.1, 0.3)])
def test_a_true_power_law_with_noise_is_rarely_doubted(shared: float, own: float) -> None:
    """Examples are hard for all models alike, and for each by chance."""
    generator, sizes = np.random.default_rng(3), np.array([100.0, 200, 400, 800, 1600])
    truth, doubted = 1 + 5 * sizes**-0.4, 0
    for trial in range(60):
        numerators = truth[:, None] + generator.normal(0, shared, size=80) + generator.normal(0, own, size=(5, 80))
        curve = fit_curve(sizes, numerators, np.ones(80), bounds=LOSSES, seed=trial)
        assert curve is not None
        doubted += not curve.is_trusted
    assert doubted <= 6


def test_where_all_are_right_the_interval_is_that_of_the_rule_of_three() -> None:
    """No resample of examples that are all right is anything but right."""
    right = np.repeat([0.6, 0.9, 0.96, 1.0], 50).reshape(4, 50) > (np.arange(50) + 0.5) / 50
    curve = fit_curve(np.array([100.0, 200, 400, 800]), right.astype(float), np.ones(50), bounds=SHARES)
    assert curve is not None
    assert curve.is_trusted
    assert curve.doubled.high <= 1.0


def test_metrics_have_the_bounds_they_declare() -> None:
    assert bounds_of(LOSS) == LOSSES
    assert bounds_of(METRICS["chrf"]) == (0.0, 100.0)
    assert bounds_of(METRICS["label_accuracy"]) == SHARES
    assert bounds_of(metric_of("mine.py:polite")) == UNBOUNDED


def test_a_learning_curve_says_so() -> None:
    sizes, values = np.array([250.0, 500, 1000, 2000]), np.array([1.781, 1.274, 0.619, 0.228])
    points = tuple(CurvePoint(num_examples=int(n), value=v, values=(v,)) for n, v in zip(sizes, values, strict=True))
    curve = LearningCurve(
        title="tiny",
        metric="loss",
        metric_title="loss",
        decimals=3,
        base=4.0,
        points=points,
        fit=fit(sizes, values, LOSSES, spread=0.5, count=300),
    )
    assert curve.fit is not None
    assert isinstance(curve.fit.doubled, Forecast)
    assert curve.sentence.endswith(": not to be trusted")
