from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tunesmith.evaluate import statistics
from tunesmith.evaluate.ranking import win_rates
from tunesmith.evaluate.votes import Vote

KEYWORDS = {"confidence": 0.95, "num_resamples": 200, "seed": 0}


def simulate(count: int, preference: float, bias: float, *, shift: float = 20, seed: int = 0) -> list[Vote]:
    """Raters who see the first model's answers as `preference` better and longer answers as `bias` better."""
    generator = np.random.default_rng(seed)
    words = np.column_stack([generator.integers(30, 120, count) + int(shift), generator.integers(30, 120, count)])
    difference = words[:, 0] - words[:, 1]
    chance = 1 / (1 + np.exp(-(preference + bias * np.tanh(difference / difference.std()))))
    won = generator.random(count) < chance
    return [
        Vote(left="a", right="b", winner="left" if w else "right", example=str(i), left_words=int(x), right_words=int(y))
        for i, (w, (x, y)) in enumerate(zip(won, words, strict=True))
    ]


def duel(votes: list[Vote]) -> win_rates.Duel:
    return win_rates.duel("a", "b", votes, **KEYWORDS)  # type: ignore[arg-type]


def test_a_model_that_wins_by_length_alone_is_even_at_equal_length() -> None:
    found = duel(simulate(1500, preference=0.0, bias=2.0, shift=40))
    assert found.win_rate > 0.65
    assert found.controlled_win_rate == pytest.approx(0.5, abs=0.05)
    assert found.controlled_interval is not None
    assert found.controlled_interval.low < 0.5 < found.controlled_interval.high


def test_where_length_plays_no_part_nothing_changes() -> None:
    found = duel(simulate(1500, preference=1.0, bias=0.0))
    assert found.controlled_win_rate == pytest.approx(found.win_rate, abs=0.03)


def test_the_regression_equals_statsmodels() -> None:
    import statsmodels.api as sm

    votes = simulate(300, preference=0.4, bias=1.0)
    shares = np.array([vote.left_share for vote in votes])
    feature = np.random.default_rng(0).normal(0, 1, 300)
    weights = np.random.default_rng(1).integers(0, 4, 300).astype(float)
    fitted = sm.GLM(shares, sm.add_constant(feature), family=sm.families.Binomial(), freq_weights=weights).fit()
    assert win_rates.fit_preference(feature, shares, weights[None, :])[0] == pytest.approx(fitted.params[0], abs=0.002)


def test_seen_from_the_other_side_everything_is_mirrored() -> None:
    votes = simulate(200, preference=0.5, bias=1.0)
    turned = [
        Vote(
            left="b", right="a", winner={"left": "right", "right": "left"}[vote.winner], example=vote.example,  # type: ignore[arg-type]
            left_words=vote.right_words, right_words=vote.left_words,
        )
        for vote in votes
    ]  # fmt: skip
    assert duel(turned) == duel(votes)
    other = win_rates.duel("b", "a", votes, **KEYWORDS)  # type: ignore[arg-type]
    assert other.win_rate == pytest.approx(1 - duel(votes).win_rate)
    assert other.controlled_win_rate == pytest.approx(1 - (duel(votes).controlled_win_rate or 0))


def test_nothing_is_guessed_where_one_side_is_always_longer_or_lengths_are_few() -> None:
    assert duel(simulate(100, preference=0.5, bias=1.0, shift=500)).controlled_win_rate is None
    assert duel(simulate(19, preference=0.5, bias=1.0)).controlled_win_rate is None
    assert duel(simulate(100, preference=9.0, bias=0.0)).controlled_win_rate == pytest.approx(0.99, abs=0.01)


def test_the_interval_of_a_win_rate_is_that_of_two_shares_where_each_example_has_one_vote() -> None:
    shares = np.array([1.0] * 12 + [0.5] * 5 + [0.0] * 4)
    low, high = statistics.binary_interval(2 * shares - 1, confidence=0.95)
    found = win_rates.rate_interval(shares, [str(i) for i in range(21)], confidence=0.95)
    assert found == pytest.approx(((1 + low) / 2, (1 + high) / 2))
    assert win_rates.rate_interval(np.ones(20), [str(i) for i in range(20)], confidence=0.95).low < 0.95


def test_five_raters_of_an_example_are_not_five_examples() -> None:
    shares = np.repeat(np.array([1.0] * 20 + [0.0] * 10), 5)
    together = win_rates.rate_interval(shares, [str(i // 5) for i in range(150)], confidence=0.95)
    apart = win_rates.rate_interval(shares, [str(i) for i in range(150)], confidence=0.95)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_votes_on_a_few_examples_know_nothing_of_equal_length() -> None:
    """Forty raters of one example are one example: resampling it gives the same again, and an interval without width."""
    votes = [dataclasses.replace(vote, example="the only one") for vote in simulate(40, preference=0.5, bias=1.0, shift=0)]
    found = duel(votes)
    assert (found.num_lengths, found.controlled_win_rate, found.controlled_interval) == (40, None, None)
