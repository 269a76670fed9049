"""Against golden values: our own, made by maximising the likelihood, and evalica's where its files are at hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tunesmith.evaluate.ranking import ratings
from tunesmith.evaluate.ranking.tally import Tally, count_votes
from tunesmith.evaluate.votes import Vote, read_votes

OURS = Path(__file__).parent


def tally(*votes: str) -> Tally:
    """Votes written `a>b` and `a=b`."""
    made = [Vote(left=text[0], right=text[2], winner="tie" if text[1] == "=" else "left" if text[1] == ">" else "right") for text in votes]
    return count_votes(made)


def check_against(votes: Path, golden: Path, relative: float) -> None:
    counted = count_votes(read_votes([votes]))
    fit, elo = ratings.bradley_terry(counted), ratings.elo(counted)
    with golden.open(encoding="utf-8") as file:
        expected = {(row["algorithm"], row["item"]): float(row["score"]) for row in csv.DictReader(file)}
    for number, model in enumerate(counted.models):
        assert fit.strengths[number] == pytest.approx(expected["bradley_terry", model], rel=relative)
        assert elo[number] == pytest.approx(expected["elo", model], abs=1e-9)


def test_golden_values() -> None:
    check_against(OURS / "votes.csv", OURS / "golden.csv", relative=1e-5)


@pytest.mark.parametrize("name", ["simple", "food", "llmfao"])
def test_evalicas_golden_values(name: str, shared_data: Path) -> None:
    folder = shared_data / "judge" / "evalica"
    if not folder.is_dir():
        pytest.skip("evalica's golden files are not at hand")
    check_against(folder / f"{name}.csv", folder / f"{name}-golden.csv", relative=1e-7)


def test_two_models_are_as_far_apart_as_their_win_rate_says() -> None:
    fit = ratings.bradley_terry(tally("a>b", "a>b", "a>b", "b>a"))
    assert fit.strengths == pytest.approx([0.75, 0.25])
    assert fit.ratings[0] - fit.ratings[1] == pytest.approx(400 * np.log10(3), abs=1e-4)
    assert fit.ratings.mean() == pytest.approx(1000)


def test_sides_and_order_change_nothing_for_bradley_terry() -> None:
    tallies = [tally("a>b", "a=c", "c>b", "b>a", "c>a"), tally("a<c", "a>b", "b<c", "c=a", "b>a")]
    first, second = (dict(zip(one.models, ratings.bradley_terry(one).ratings, strict=True)) for one in tallies)
    assert first == pytest.approx(second)


def test_elo_depends_on_the_order() -> None:
    one, other = tally("a>b", "b>c", "c>a"), tally("c>a", "b>c", "a>b")
    by_name = [dict(zip(t.models, ratings.elo(t), strict=True)) for t in (one, other)]
    assert by_name[0] != pytest.approx(by_name[1], abs=1e-6)
    low, high = ratings.elo_range(one, confidence=0.95, seed=0)
    assert (low < high).all()


def test_the_prior_keeps_a_model_that_always_won_finite_and_is_one_tie_a_model() -> None:
    always = tally(*["a>b"] * 10)
    assert len(always.groups(lossless_too=True)) == 2
    fit = ratings.bradley_terry(always)
    assert fit.strengths[0] / fit.strengths[1] == pytest.approx(10.5 / 0.5, rel=1e-4)
    many = tally(*["a>b", "b>a"] * 3, *["a>c"] * 8)
    assert np.isfinite(ratings.bradley_terry(many).ratings).all()


def test_a_resample_is_rated_as_the_votes_are() -> None:
    """Of one example every resample is the votes again; with a prior in the resamples alone they would lie nearer to each other."""
    votes = [Vote(left="a", right="b", winner=winner, example="one") for winner in ("left", "left", "left", "right")]  # type: ignore[arg-type]
    for given in (votes, votes[:3]):  # the latter without a maximum
        counted = count_votes(given)
        resampled = ratings.resampled_ratings(counted, num_resamples=3, seed=0)
        assert resampled == pytest.approx(np.tile(ratings.bradley_terry(counted).ratings, (3, 1)))


def test_resamples_that_some_models_win_altogether_stay_finite() -> None:
    counted = count_votes([Vote(left="a", right="b", winner="right" if i == 0 else "left", example=str(i)) for i in range(20)])
    resampled = ratings.resampled_ratings(counted, num_resamples=200, seed=0)
    assert np.isfinite(resampled).all()
    assert resampled[:, 0].max() - 1000 == pytest.approx(200 * np.log10(20.5 / 0.5), abs=0.1)


def test_resampling_takes_all_votes_on_an_example_together() -> None:
    def spread(votes: list[Vote]) -> float:
        return float(ratings.resampled_ratings(count_votes(votes), num_resamples=200, seed=0).std(axis=0).mean())

    single = [Vote(left="a", right="b", winner="left" if i % 3 else "right", example=str(i)) for i in range(30)]
    repeated = [vote for vote in single for _ in range(5)]  # five raters who say the same are no more evidence
    assert spread(repeated) == pytest.approx(spread(single), rel=0.25)
    unknown = [Vote(left="a", right="b", winner=vote.winner) for vote in repeated]
    assert spread(unknown) < 0.6 * spread(repeated)
