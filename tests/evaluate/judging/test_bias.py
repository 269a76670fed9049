"""Numbers about a judge, against what is known and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from tunesmith.config import JudgeConfig
from tunesmith.evaluate.judging.bias import length_bias, position_bias, share_of
from tunesmith.evaluate.judging.pairwise import Ordered, PairResult, Winner, share_equal
from tunesmith.evaluate.rating.agreement import kappa

CONFIG = JudgeConfig(num_resamples=100)


def pair(forward: Winner | None, backward: Winner | None, *, words: tuple[int, int] = (5, 5), example: str = "e") -> PairResult:
    return PairResult(
        example=example,
        first="one",
        second="two",
        forward=Ordered(forward, "", None),
        backward=Ordered(backward, "", None),
        first_words=words[0],
        second_words=words[1],
        answer_keys=("a", "b"),
    )


@pytest.mark.parametrize(
    ("forward", "backward", "verdict", "is_flipped"),
    [
        ("first", "first", "first", False),
        ("second", "second", "second", False),
        ("tie", "tie", "tie", False),
        ("first", "second", "inconsistent", True),
        ("second", "first", "inconsistent", True),
        ("first", "tie", "inconsistent", False),
        (None, "first", "missing", False),
        ("tie", None, "missing", False),
        (None, None, "missing", False),
    ],
)
def test_two_orders_make_a_verdict(forward: Winner | None, backward: Winner | None, verdict: str, is_flipped: bool) -> None:
    result = pair(forward, backward)
    assert (result.verdict, result.is_flipped) == (verdict, is_flipped)


def test_position_bias() -> None:
    # Forward shows the first model's answer first, so first/second is twice the first place.
    results = (
        [pair("first", "second")] * 6
        + [pair("second", "first")]
        + [pair("first", "first")] * 3
        + [pair("tie", "first"), pair(None, "first")]
    )
    found = position_bias(results, 0.95)
    assert (found.flips_to_first, found.flips_to_second) == (6, 1)
    assert found.p_value == pytest.approx(16 / 128)
    assert (found.inconsistent.count, found.inconsistent.total) == (8, 11)
    assert (found.prefers_first.count, found.prefers_first.total) == (12 + 3, 12 + 2 + 6 + 1)


def test_shares_have_exact_intervals() -> None:
    interval = share_of(0, 10, 0.95).interval
    assert interval is not None
    assert (interval.low, round(interval.high, 4)) == (0.0, 0.3085)  # 1 - 0.025 ** (1 / 10)
    assert share_of(0, 0, 0.95).value is None


def test_length_bias_is_told_from_quality() -> None:
    """A judge that goes by length alone, and a second model that is mostly longer."""
    generator = np.random.default_rng(0)
    words = [(int(a), int(b)) for a, b in zip(generator.integers(5, 25, 300), generator.integers(10, 30, 300), strict=True)]
    longer: list[tuple[Winner, tuple[int, int]]] = [("second" if w[1] > w[0] else "first", w) for w in words if w[0] != w[1]]
    results = [pair(winner, winner, words=w, example=f"e{i}") for i, (winner, w) in enumerate(longer)]
    found = length_bias(results, CONFIG)
    assert found.longer_wins.value == 1.0
    wins = sum(result.verdict == "second" for result in results) / len(results)
    assert wins > 0.65
    assert found.win_rate_at_equal_length == pytest.approx(0.5, abs=0.1)
    assert found.interval is not None
    assert found.interval.low < found.win_rate_at_equal_length < found.interval.high


def test_no_guess_where_one_side_is_always_longer() -> None:
    found = length_bias([pair("second", "second", words=(5, 9))] * 40, CONFIG)
    assert (found.win_rate_at_equal_length, found.interval) == (None, None)
    assert found.longer_wins.count == 40


def test_kappa_equals_statsmodels() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        one = generator.integers(3, size=40)
        other = np.where(generator.random(40) < 0.6, one, generator.integers(3, size=40))
        expected = cohens_kappa(np.histogram2d(one, other, bins=(3, 3))[0]).kappa
        assert kappa(np.array([one, other], dtype=np.float64), "nominal") == pytest.approx(expected)
    assert np.isnan(kappa(np.zeros((2, 5)), "nominal"))
    assert np.isnan(kappa(np.zeros((2, 0)), "nominal"))


def test_agreement_of_samples() -> None:
    assert share_equal(["A"]) is None
    assert share_equal(["A", "A", "A"]) == 1.0
    assert share_equal(["A", "A", "B"]) == pytest.approx(1 / 3)
