from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tunesmith.evaluate import statistics
from tunesmith.evaluate.statistics import Interval

DIFFERENCES = st.lists(st.floats(-5, 5, allow_subnormal=False).map(lambda x: round(x, 3)), min_size=1, max_size=40)


def ones(values: np.ndarray) -> np.ndarray:
    return np.ones(len(values))


def interval_of(values: np.ndarray, weights: np.ndarray | None = None, *, resamples: int = 1000) -> Interval:
    found = statistics.interval(values, ones(values) if weights is None else weights, confidence=0.95, num_resamples=resamples, seed=0)
    assert found is not None
    return found


def test_the_estimate_of_a_ratio_is_sum_over_sum_and_not_a_mean_of_means() -> None:
    assert statistics.estimate(np.array([-1.0, -30.0]), np.array([1.0, 10.0])) == pytest.approx(-31 / 11)


def test_contributions_average_to_the_estimate_and_give_the_ratio_s_standard_error() -> None:
    generator = np.random.default_rng(5)
    weights = generator.integers(5, 80, 400).astype(float)
    differences = -0.4 * weights + generator.normal(0, 5, 400)
    contributions = statistics.contributions(differences, weights)
    assert contributions.mean() == pytest.approx(statistics.estimate(differences, weights))
    jackknife = (differences.sum() - differences) / (weights.sum() - weights)  # an independent road to the standard error
    error = math.sqrt(399 / 400 * ((jackknife - jackknife.mean()) ** 2).sum())
    assert contributions.std(ddof=1) / 20 == pytest.approx(error, rel=0.02)


def test_the_interval_of_a_mean_is_scipys_bca_at_a_slightly_higher_confidence() -> None:
    differences = np.random.default_rng(1).exponential(1, 60) - 0.4
    ours = interval_of(differences, resamples=60_000)
    widened = 1 - 2 * statistics._expanded_tail(60, 0.95)
    assert 0.95 < widened < 0.97
    scipys = stats.bootstrap((differences,), np.mean, confidence_level=widened, method="BCa", n_resamples=60_000, rng=2)
    assert ours == pytest.approx(tuple(scipys.confidence_interval), abs=0.015)
    plain = stats.bootstrap((differences,), np.mean, method="percentile", n_resamples=60_000, rng=2).confidence_interval
    assert ours.low > plain.low + 0.02  # moved to the side of the long tail
    assert ours.high > plain.high + 0.02


def test_the_interval_of_a_ratio_is_scipys_percentile_bootstrap_at_a_slightly_higher_confidence() -> None:
    generator = np.random.default_rng(1)
    weights = generator.integers(5, 80, 60).astype(float)
    differences = -0.4 * weights + generator.normal(0, 5, 60)
    scipys = stats.bootstrap(
        (differences, weights),
        lambda d, w, axis: d.sum(axis) / w.sum(axis),
        paired=True,
        confidence_level=1 - 2 * statistics._expanded_tail(60, 0.95),
        method="percentile",
        n_resamples=20_000,
        rng=2,
        vectorized=True,
    )
    assert interval_of(differences, weights, resamples=20_000) == pytest.approx(tuple(scipys.confidence_interval), abs=0.006)


def correlation(pairs: np.ndarray) -> statistics.Callable[[np.ndarray], float]:
    return lambda chosen: float(np.corrcoef(pairs[chosen].T)[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_any_statistic_is_scipys_bca(seed: int) -> None:
    generator = np.random.default_rng(seed)
    pairs = generator.normal(0, 1, (40, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    ours = statistics.interval_of(correlation(pairs), 40, confidence=0.95, num_resamples=8000, seed=0)
    widened = 1 - 2 * statistics._expanded_tail(40, 0.95)
    scipys = stats.bootstrap(
        (pairs[:, 0], pairs[:, 1]),
        lambda x, y: float(np.corrcoef(x, y)[0, 1]),
        paired=True,
        vectorized=False,
        confidence_level=widened,
        method="BCa",
        n_resamples=8000,
        rng=1,
    )
    assert ours == pytest.approx(tuple(scipys.confidence_interval), abs=0.03)


def test_the_interval_of_a_mean_as_any_statistic_is_that_of_the_mean() -> None:
    values = np.random.default_rng(3).beta(1, 3, 300)
    found = statistics.interval_of(lambda chosen: float(values[chosen].mean()), 300, confidence=0.9, num_resamples=4000, seed=0)
    expected = statistics.interval(values, ones(values), confidence=0.9, num_resamples=4000, seed=1)
    assert found == pytest.approx(expected, abs=0.003)


def test_no_interval_where_the_statistic_is_undefined_or_examples_are_few() -> None:
    keywords = {"confidence": 0.95, "num_resamples": 200, "seed": 0}
    assert statistics.interval_of(lambda _: 1.0, 9, **keywords) is None  # type: ignore[arg-type]
    assert statistics.interval_of(lambda _: math.nan, 20, **keywords) is None  # type: ignore[arg-type]
    only_with_the_first = lambda chosen: 1.0 if 0 in chosen else math.nan  # noqa: E731
    assert statistics.interval_of(only_with_the_first, 20, **keywords) is None  # type: ignore[arg-type]
    assert statistics.interval_of(lambda _: 0.7, 20, **keywords) == (0.7, 0.7)  # type: ignore[arg-type]


def test_few_examples_get_students_interval() -> None:
    differences = np.array([0.1, 0.4, 0.2, 0.3])
    expected = stats.t.interval(0.95, 3, loc=differences.mean(), scale=stats.sem(differences))
    assert interval_of(differences) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "count", "expected"), [("normal", 15, 0.95), ("normal", 60, 0.95), ("skewed", 60, 0.93), ("ratio", 60, 0.94)]
)
def test_the_interval_covers_the_truth_as_often_as_it_says(name: str, count: int, expected: float) -> None:
    """500 seeded studies each; the standard error of the share is 0.01."""
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(500):
        weights = generator.integers(5, 80, count).astype(float) if name == "ratio" else np.ones(count)
        noise = generator.exponential(1, count) - 1 if name == "skewed" else generator.normal(0, 1, count)
        found = statistics.interval((0.3 + noise) * weights, weights, confidence=0.95, num_resamples=500, seed=0)
        assert found is not None
        covered += found.low <= 0.3 <= found.high
    assert covered / 500 == pytest.approx(expected, abs=0.03)


def test_the_binary_interval_covers_and_never_collapses() -> None:
    generator = np.random.default_rng(7)
    samples = generator.choice([1.0, -1.0, 0.0], p=[0.2, 0.1, 0.7], size=(1000, 60))
    intervals = [statistics.binary_interval(sample, confidence=0.95) for sample in samples]
    assert sum(low <= 0.1 <= high for low, high in intervals) / 1000 == pytest.approx(0.955, abs=0.02)
    unchanged = statistics.binary_interval(np.zeros(20), confidence=0.95)
    assert unchanged.low == -unchanged.high
    assert unchanged.high > 0.05  # no change in 20 examples is no proof of no change
    assert statistics.binary_interval(np.ones(20), confidence=0.95).high == 1


def test_the_binary_interval_by_hand() -> None:
    # Bonett and Price: n = 100, 20 gained, 5 lost -> shares 21/102 and 6/102.
    sample = np.array([1.0] * 20 + [-1.0] * 5 + [0.0] * 75)
    gained, lost = 21 / 102, 6 / 102
    half = 1.959964 * math.sqrt((gained + lost - (gained - lost) ** 2) / 102)
    assert statistics.binary_interval(sample, confidence=0.95) == pytest.approx((gained - lost - half, gained - lost + half), abs=1e-6)


def test_mcnemar_by_hand() -> None:
    assert statistics.mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
    assert statistics.mcnemar(7, 1) == statistics.mcnemar(1, 7)
    assert statistics.mcnemar(0, 0) == 1
    assert statistics.mcnemar(3, 3) == 1


TABLES = st.lists(st.integers(0, 25), min_size=4, max_size=4)


@settings(deadline=None)
@given(TABLES)
def test_mcnemar_equals_statsmodels(counts: list[int]) -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    expected = mcnemar(np.array(counts).reshape(2, 2), exact=True).pvalue
    found = statistics.mcnemar(counts[1], counts[2])
    assert found == pytest.approx(expected if counts[1] + counts[2] else 1.0)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    assert statistics.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


RATINGS = st.lists(st.integers(-4, 4), min_size=1, max_size=10)


@settings(deadline=None)
@given(RATINGS)
def test_wilcoxon_of_few_ratings_equals_brute_force_over_signs(values: list[int]) -> None:
    differences = np.array(values, dtype=float)
    changed = differences[differences != 0]
    ranks = stats.rankdata(np.abs(changed))
    observed = abs((np.sign(changed) * ranks).sum())
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product([1, -1], repeat=len(changed))]
    expected = np.mean([total >= observed - 1e-9 for total in sums])
    assert statistics.wilcoxon_test(differences) == pytest.approx(expected)


@settings(deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=14, max_size=60))
def test_wilcoxon_of_many_ratings_equals_the_normal_approximation_by_hand(values: list[int]) -> None:
    changed = np.array([value for value in values if value], dtype=float)
    if len(changed) <= 13:
        return
    ranks = stats.rankdata(np.abs(changed))
    z = (np.sign(changed) * ranks).sum() / math.sqrt((ranks**2).sum())  # ties are in the sum of squares
    assert statistics.wilcoxon_test(np.array(values, dtype=float)) == pytest.approx(2 * stats.norm.sf(abs(z)))


def test_wilcoxon_and_its_effect_size_by_hand() -> None:
    differences = np.array([2.0, 1.0, -1.0, 3.0, 0.0])  # ranks of sizes: 3, 1.5, 1.5, 4
    assert statistics.rank_biserial(differences) == pytest.approx((3 + 1.5 + 4 - 1.5) / 10)
    assert statistics.wilcoxon_test(differences) == pytest.approx(0.375)
    assert statistics.rank_biserial(np.zeros(5)) is None
    assert statistics.wilcoxon_test(np.zeros(5)) == 1
    assert statistics.rank_biserial(np.ones(5)) == 1


@given(st.lists(st.floats(-3, 3).map(lambda x: round(x, 2)), min_size=1, max_size=9))
def test_sign_flips_of_few_examples_equal_brute_force(values: list[float]) -> None:
    differences = np.array(values)
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, values, strict=True)))
        for signs in itertools.product([1, -1], repeat=len(values))
    ]
    expected = np.mean([total >= abs(sum(values)) - 1e-9 for total in sums])
    assert statistics.sign_flip_test(differences, seed=0) == pytest.approx(expected)


def test_sign_flips_of_many_examples_equal_scipys_permutation_test() -> None:
    differences = np.random.default_rng(3).normal(0.25, 1, 50)
    scipys = stats.permutation_test(
        (differences, np.zeros(50)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=9999, rng=4
    )
    assert statistics.sign_flip_test(differences, seed=0) == pytest.approx(scipys.pvalue, abs=0.01)


def test_sign_flips_of_zeros_and_ones_are_mcnemars_test() -> None:
    differences = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 30)
    assert statistics.sign_flip_test(differences, seed=0) == pytest.approx(statistics.mcnemar(9, 2))


def test_where_nothing_differs_the_test_rejects_one_time_in_twenty() -> None:
    generator = np.random.default_rng(11)
    rejected = sum(statistics.sign_flip_test(generator.normal(0, 1, 12), seed=0) < 0.05 for _ in range(600))
    assert rejected / 600 == pytest.approx(0.05, abs=0.025)
    monte_carlo = sum(statistics.sign_flip_test(generator.normal(0, 1, 25), seed=i) < 0.05 for i in range(200))
    assert monte_carlo / 200 == pytest.approx(0.05, abs=0.04)


def test_a_p_value_is_never_zero() -> None:
    assert statistics.sign_flip_test(np.ones(500), seed=0) == 1 / 10_000


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == [1.0, 1.0]
    assert statistics.holm([0.02]) == [0.02]


def test_power_by_simulation() -> None:
    """The difference called detectable is noticed in 80 % of studies, and so many examples are needed for it."""
    generator = np.random.default_rng(2)
    difference = statistics.detectable_difference(2.0, 100, alpha=0.05)
    assert difference == pytest.approx((1.959964 + 0.841621) * 2 / 10, abs=1e-5)
    samples = generator.normal(difference, 2.0, (4000, 100))
    noticed = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert np.mean(noticed) == pytest.approx(0.8, abs=0.03)
    assert statistics.examples_needed(2.0, difference * (1 + 1e-9), alpha=0.05) == 100
    assert statistics.examples_needed(2.0, -difference / 2, alpha=0.05) == 400


def test_power_has_nothing_to_say_about_no_difference() -> None:
    assert statistics.examples_needed(1.0, 0.0, alpha=0.05) is None
    assert statistics.examples_needed(0.0, 1.0, alpha=0.05) is None


def test_a_single_example_has_no_spread_and_no_interval() -> None:
    one = np.array([0.5])
    assert statistics.interval(one, ones(one), confidence=0.95, num_resamples=100, seed=0) is None
    assert statistics.paired_deviation(one, ones(one)) is None
    assert statistics.sign_flip_test(one, seed=0) == 1


@pytest.mark.parametrize("value", [0.0, 0.1, -0.7])
@pytest.mark.parametrize("count", [2, 9, 10, 60])
def test_equal_differences_have_an_interval_of_no_width(value: float, count: int) -> None:
    differences = np.full(count, value)
    assert interval_of(differences) == pytest.approx((value, value))
    assert statistics.paired_deviation(differences, ones(differences)) == 0


@settings(max_examples=50, deadline=None)
@given(DIFFERENCES, st.randoms())
def test_order_changes_nothing_and_swapping_the_models_mirrors(values: list[float], random: object) -> None:
    differences = np.array(values)
    weights = np.arange(1.0, len(values) + 1)
    order = np.random.default_rng(random.randint(0, 10**6)).permutation(len(values))  # type: ignore[attr-defined]
    keywords = {"confidence": 0.9, "num_resamples": 200, "seed": 3}
    found = statistics.interval(differences, weights, **keywords)  # type: ignore[arg-type]
    shuffled = statistics.interval(differences[order], weights[order], **keywords)  # type: ignore[arg-type]
    assert shuffled == (pytest.approx(found) if found else None)
    p_value = statistics.sign_flip_test(differences, seed=3)
    assert statistics.sign_flip_test(differences[order], seed=3) == p_value
    assert statistics.sign_flip_test(-differences, seed=3) == p_value
    if found and statistics.estimate(differences, weights) != 0:
        mirrored = statistics.interval(-differences, weights, **keywords)  # type: ignore[arg-type]
        assert mirrored == pytest.approx((-found.high, -found.low))
