"""The fitted learning curve finds the law that made the numbers, and its interval knows the held-out examples."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.sweep.curve import fit_curve

SIZES = np.array([100.0, 200.0, 400.0, 800.0, 1600.0])


def law(sizes: np.ndarray, limit: float, gain: float, exponent: float) -> np.ndarray:
    return limit + gain * sizes**-exponent


@pytest.mark.parametrize("exponent", [0.1, 0.35, 1.0])
@pytest.mark.parametrize("gain", [4.0, -0.5])
def test_an_exact_law_is_found_and_continued(exponent: float, gain: float) -> None:
    values = law(SIZES, 1.2, gain, exponent)
    weights = np.array([3.0, 5.0, 2.0])
    curve = fit_curve(SIZES, values[:, None] * weights, weights)
    assert curve is not None
    assert curve.at(3200) == pytest.approx(float(law(np.array(3200.0), 1.2, gain, exponent)), abs=2e-3)
    assert curve.doubled.value == pytest.approx(curve.at(3200))
    assert curve.doubled_gain.value == pytest.approx(curve.at(3200) - curve.at(1600))
    assert curve.doubled.low <= curve.doubled.value + 1e-9
    assert curve.doubled.high >= curve.doubled.value - 1e-9  # every example behaves alike: no width


def test_the_interval_covers_the_truth() -> None:
    """Twice the data, predicted from 60 held-out examples, holds the population's value in about 95 of 100 trials."""
    generator = np.random.default_rng(5)
    truth = law(np.append(SIZES, 3200.0), 1.0, 5.0, 0.4)
    covered = 0
    for trial in range(100):
        level = generator.normal(0, 0.3, size=60)  # an example is hard for all models
        numerators = truth[:-1, None] + level + generator.normal(0, 0.05, size=(5, 60))
        curve = fit_curve(SIZES, numerators, np.ones(60), seed=trial)
        assert curve is not None
        covered += curve.doubled.low <= truth[-1] <= curve.doubled.high
    assert covered >= 88


def test_three_sizes_say_nothing() -> None:
    assert fit_curve(SIZES[:3], np.ones((3, 4)), np.ones(4)) is None
