from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunesmith.evaluate import power, statistics


@pytest.mark.parametrize(("count", "gained", "lost"), [(40, 0.2, 0.05), (40, 0.3, 0.0), (150, 0.02, 0.1), (12, 0.5, 0.5), (5, 1.0, 0.0)])
def test_power_by_simulation(count: int, gained: float, lost: float) -> None:
    draws = np.random.default_rng(0).multinomial(count, [gained, lost, 1 - gained - lost], size=3000)
    simulated = np.mean([statistics.mcnemar(int(g), int(w)) < 0.05 for g, w, _ in draws])
    assert power.mcnemar_power(count, gained=gained, lost=lost, alpha=0.05) == pytest.approx(simulated, abs=0.03)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.floats(0.01, 0.5), st.floats(0.01, 0.5), st.sampled_from([0.05, 0.1, 0.25]))
def test_power_of_few_examples_equals_the_sum_over_all_outcomes(count: int, gained: float, lost: float, alpha: float) -> None:
    expected = sum(
        stats.multinomial.pmf([g, w, count - g - w], count, [gained, lost, 1 - gained - lost])
        for g in range(count + 1)
        for w in range(count + 1 - g)
        if statistics.mcnemar(g, w) < alpha
    )
    assert power.mcnemar_power(count, gained=gained, lost=lost, alpha=alpha) == pytest.approx(expected, abs=1e-9)


def test_the_normal_power_goes_on_where_the_exact_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = power.mcnemar_power(3000, gained=0.11, lost=0.09, alpha=0.05)
    monkeypatch.setattr(power, "LARGEST_EXACT", 100)
    assert power.mcnemar_power(3000, gained=0.11, lost=0.09, alpha=0.05) == pytest.approx(exact, abs=0.015)


def test_examples_needed_are_enough_and_hardly_more_than_enough() -> None:
    needed = power.mcnemar_examples_needed(gained=0.2, lost=0.05, alpha=0.05)
    assert needed is not None
    assert power.mcnemar_power(needed, gained=0.2, lost=0.05, alpha=0.05) >= 0.8
    assert power.mcnemar_power(needed - 3, gained=0.2, lost=0.05, alpha=0.05) < 0.8
    means = statistics.examples_needed((0.25 - 0.15**2) ** 0.5, 0.15, alpha=0.05)
    assert means is not None
    assert means < needed < 1.4 * means  # the exact test is stricter than the approximation for means


def test_the_detectable_difference_is_detected() -> None:
    found = power.mcnemar_detectable_difference(120, changed=0.3, alpha=0.05)
    assert found is not None
    shares = {"gained": (0.3 + found) / 2, "lost": (0.3 - found) / 2}
    assert power.mcnemar_power(120, alpha=0.05, **shares) == pytest.approx(0.8, abs=0.01)
    assert power.mcnemar_detectable_difference(10, changed=0.1, alpha=0.05) > 0.5  # type: ignore[operator]


def test_nothing_is_noticed_where_nothing_can_be() -> None:
    assert power.mcnemar_power(50, gained=0, lost=0, alpha=0.05) == 0
    assert power.mcnemar_examples_needed(gained=0.1, lost=0.1, alpha=0.05) is None
    assert power.mcnemar_examples_needed(gained=0.5001, lost=0.4999, alpha=0.05) is None
    assert power.mcnemar_detectable_difference(5, changed=0.3, alpha=0.05) is None  # 2 / 2^5 > 0.05
