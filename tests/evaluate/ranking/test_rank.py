from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tunesmith.config import RankConfig
from tunesmith.errors import DataError
from tunesmith.evaluate.ranking import lines
from tunesmith.evaluate.ranking.page import render_ranking
from tunesmith.evaluate.ranking.rank import rank_votes
from tunesmith.evaluate.votes import Vote, latest_votes

QUICK = RankConfig(num_resamples=100)


def votes_of(first: str, second: str, wins: int, losses: int, ties: int = 0, **values: object) -> list[Vote]:
    outcomes = ["left"] * wins + ["right"] * losses + ["tie"] * ties
    return [Vote(left=first, right=second, winner=one, example=f"e{i}", **values) for i, one in enumerate(outcomes)]  # type: ignore[arg-type]


def test_the_better_model_stands_first_and_is_surely_ahead() -> None:
    ranking = rank_votes(votes_of("base", "tuned", 10, 60, 30), QUICK)
    first, second = ranking.groups[0]
    assert (first.model, first.wins, first.ties, first.losses) == ("tuned", 60, 30, 10)
    assert first.win_rate == pytest.approx(0.75)
    assert first.rating - second.rating == pytest.approx(400 * np.log10(3), abs=1e-3)
    assert first.interval is not None
    assert first.interval.low < first.rating < first.interval.high
    assert ranking.leads[0].is_sure
    assert lines.lead_sentence(ranking.leads[0]).startswith("tuned is ahead of base: +191 [")
    assert ranking.num_ties == 30


@pytest.mark.parametrize("outcomes", [(10, 60, 30), (19, 1, 0), (20, 0, 0)])
def test_intervals_are_around_what_they_are_of(outcomes: tuple[int, int, int]) -> None:
    ranking = rank_votes(votes_of("a", "b", *outcomes), QUICK)
    for standing in ranking.groups[0]:
        assert standing.interval is not None
        assert sum(standing.interval) / 2 == pytest.approx(standing.rating)
    (lead,) = ranking.leads
    assert lead.interval is not None
    assert sum(lead.interval) / 2 == pytest.approx(lead.difference)


def test_what_cannot_be_told_is_said() -> None:
    ranking = rank_votes(votes_of("a", "b", 11, 10), QUICK)
    assert not ranking.leads[0].is_sure
    assert lines.lead_sentence(ranking.leads[0]).startswith("cannot tell a from b: ")
    assert any("21 examples only" in note for note in ranking.notes)


def test_a_persons_latest_vote_on_the_same_two_answers_counts() -> None:
    keys = {"left_answer": "aa", "right_answer": "bb"}
    first = Vote(left="a", right="b", winner="left", rater="ana", example="e1", left_answer="aa", right_answer="bb")
    turned = dataclasses.replace(first, left="b", right="a", winner="left", left_answer="bb", right_answer="aa")
    others = [
        dataclasses.replace(first, rater="bo"),
        dataclasses.replace(first, example="e2"),
        dataclasses.replace(first, left_answer="cc"),
        dataclasses.replace(first, kind="judge"),
        dataclasses.replace(first, kind="judge"),
        *[Vote(left="a", right="b", winner="left", example="e1", **keys)] * 2,
    ]
    assert latest_votes([first, *others, turned]) == [*others, turned]
    ranking = rank_votes([first, *others, turned], QUICK)
    assert ranking.num_votes == 8
    assert {one.model: one.wins for one in ranking.groups[0]} == {"a": 7, "b": 1}
    assert ranking.notes[0].startswith("1 vote left out: the same person voted again")


def test_few_votes_have_no_interval() -> None:
    ranking = rank_votes(votes_of("a", "b", 4, 2), QUICK)
    assert ranking.groups[0][0].interval is None
    assert "too few examples for an interval" in lines.lead_sentence(ranking.leads[0])


def test_models_that_never_met_are_not_ranked_against_each_other() -> None:
    ranking = rank_votes([*votes_of("a", "b", 8, 4), *votes_of("c", "d", 5, 9), *votes_of("d", "e", 7, 7)], QUICK)
    assert [[standing.model for standing in group] for group in ranking.groups] == [["d", "e", "c"], ["a", "b"]]
    assert "never compared with each other" in ranking.notes[0]
    assert {(lead.ahead, lead.behind) for lead in ranking.leads} == {("d", "e"), ("e", "c"), ("a", "b")}
    for group in ranking.groups:
        assert np.mean([standing.rating for standing in group]) == pytest.approx(1000)


def test_a_model_that_always_won_stays_finite_and_the_tie_that_was_added_is_said() -> None:
    ranking = rank_votes([*votes_of("a", "b", 20, 0), *votes_of("b", "c", 10, 10)], QUICK)
    assert all(np.isfinite(standing.rating) for standing in ranking.groups[0])
    assert any("infinitely far apart" in note for note in ranking.notes)


def test_votes_without_examples_and_of_several_kinds_and_raters_are_pointed_out() -> None:
    mixed = [*votes_of("a", "b", 20, 15, kind="human", rater="ana"), *votes_of("a", "b", 20, 15, kind="judge", rater="big")]
    unknown = [dataclasses.replace(vote, example="") for vote in mixed]
    notes = " ".join(rank_votes(unknown, QUICK).notes)
    assert "70 of 70 votes do not say which example" in notes
    assert "several kinds are ranked together (35 human, 35 judge)" in notes
    assert "votes of 2 raters are pooled" in notes


def test_no_votes_are_an_error() -> None:
    with pytest.raises(DataError, match="there are no votes"):
        rank_votes([], QUICK)


def test_the_same_votes_give_the_same_ranking() -> None:
    votes = votes_of("a", "b", 20, 15, 4, left_words=10, right_words=12)
    assert rank_votes(votes, QUICK) == rank_votes(votes, QUICK)
    json.dumps(rank_votes(votes, QUICK).to_json(), allow_nan=False)


def test_the_page_escapes_names_and_says_who_beats_whom() -> None:
    ranking = rank_votes([*votes_of("<b>a</b>", "b & c $x$", 30, 10), *votes_of("b & c $x$", "d", 20, 20)], QUICK)
    page = render_ranking(ranking, title="<votes>.jsonl")
    assert "<b>a</b>" not in page
    assert "&lt;b&gt;a&lt;/b&gt;" in page
    assert "<votes>" not in page
    assert 'title="30 won, 0 tied, 10 lost"' in page
    assert page.count("<svg") == 1
    assert "http" not in page.replace("http-equiv", "")
