"""Which scorers suit which data."""

from __future__ import annotations

import pytest

from tests.evaluate.fakes import example
from tunesmith.evaluate.scorers import resolve_scorers
from tunesmith.evaluate.scorers.shape import shape_of

SENTENCES = [f"Press the button {number} times, wait, and then turn the wheel to the left." for number in range(20)]
DECLINE = "Let us keep the talk to coffee machines."


@pytest.mark.parametrize(
    ("references", "shape"),
    [
        (["yes", "no"] * 10, "labels"),
        (["transfer_not_received_by_recipient", "card arrival", "top_up"] * 9, "labels"),
        (["1", "2", "3", "4", "5"] * 6, "labels"),  # ratings
        ([str(number % 40) for number in range(400)], "numbers"),
        ([f"${number},000.50" for number in range(1, 20)], "numbers"),
        ([f"{number} apples" for number in range(20)], "numbers"),
        (['{"a": 1}', "[]"] * 10, "json"),
        ([f"red, item {number}, blue" for number in range(20)], "lists"),
        ([f"- red\n- item {number}" for number in range(20)], "lists"),
        ([f"Name{number}" for number in range(20)], "short"),
        (SENTENCES, "prose"),
        ([f"Yes, it is free for {number}." for number in range(20)], "prose"),
        (["yes", "no", "maybe"], "short"),  # too few to know that they are labels
        ([], "prose"),
    ],
)
def test_the_shape_of_references(references: list[str], shape: str) -> None:
    assert shape_of(references) == shape


def test_scorers_follow_the_shape_and_the_training_data_count() -> None:
    few = [example("which?", "yes"), example("what?", "no")]
    assert [scorer.name for scorer in resolve_scorers(None, few)] == ["exact_match", "token_f1", "chrf"]
    train = [example(f"which {number}?", "yes" if number % 2 else "no") for number in range(40)]
    assert [scorer.name for scorer in resolve_scorers(None, few, train=train)] == ["label_accuracy", "exact_match"]


def test_redirections_bring_their_scorer() -> None:
    prose = [example(f"how {number}?", text) for number, text in enumerate(SENTENCES)]
    assert [scorer.name for scorer in resolve_scorers(None, prose)] == ["rouge_l", "token_f1", "chrf"]
    train = [*prose, *(example(f"why {number}?", DECLINE) for number in range(4))]
    scorers = resolve_scorers(None, prose, train=train)
    assert [scorer.name for scorer in scorers] == ["rouge_l", "token_f1", "chrf", "redirected"]
    assert scorers[-1].function(DECLINE, SENTENCES[0], "").value == 0  # type: ignore[union-attr]


def test_names_come_in_their_order_once_each_and_weights_bring_theirs() -> None:
    scorers = resolve_scorers(["chrf", "rouge_l", "chrf"], [], also=["bleu", "chrf"])
    assert [scorer.name for scorer in scorers] == ["chrf", "rouge_l", "bleu"]
