from __future__ import annotations

import json

import pytest

from tests.conftest import SHARED_DATA
from tests.evaluate.fakes import example
from tunesmith.evaluate.scorers.redirections import learn_redirections, nearest_redirection
from tunesmith.types import Example

DECLINE = "Let’s keep the discussion relevant to Acme."
FAQ = [example(f"What is feature {i}?", f"Feature {i} does the thing number {i}.") for i in range(60)]


def off_topic(count: int, answer: str = DECLINE) -> list[Example]:
    return [example(f"Tell me about animal {i}", answer) for i in range(count)]


def test_an_answer_under_many_prompts_is_a_redirection() -> None:
    found = learn_redirections([*FAQ, *off_topic(4), *off_topic(2, "This is only about Acme, sorry.")])
    assert [(item.text, item.num_prompts) for item in found] == [(DECLINE, 4)]


def test_one_prompt_asked_often_is_not() -> None:
    assert learn_redirections([*FAQ, *[example("Are cats nice?", DECLINE)] * 5]) == ()
    assert (
        learn_redirections([*FAQ, example("Are cats nice?", DECLINE), example("are cats  nice", DECLINE), example("Cats?", DECLINE)]) == ()
    )


def test_case_and_punctuation_of_the_answer_do_not_matter() -> None:
    answers = [DECLINE, DECLINE.rstrip("."), DECLINE.lower()]
    found = learn_redirections([*FAQ, *(example(f"Animal {i}?", answer) for i, answer in enumerate(answers))])
    assert [(item.text, item.num_prompts) for item in found] == [(DECLINE, 3)]


def test_a_small_share_of_a_large_set_is_not() -> None:
    large = [example(f"What is feature {i}?", f"Feature {i} does the thing number {i}.") for i in range(500)]
    assert learn_redirections([*large, *off_topic(4)]) == ()
    assert learn_redirections([*large, *off_topic(6)]) != ()


def test_labels_and_classes_are_not() -> None:
    labels = [example(f"Message {i}", ["card lost", "top up"][i % 2]) for i in range(40)]
    classes = [example(f"Question {i}", f"the correct answer is answer{i % 4}") for i in range(40)]
    assert learn_redirections(labels) == ()
    assert learn_redirections(classes) == ()


def test_raw_text_and_no_data_have_none() -> None:
    assert learn_redirections([]) == ()
    assert learn_redirections([Example(id="a", source="a", group="a", text="Some text.")] * 5) == ()


@pytest.mark.parametrize(
    ("text", "says_it"),
    [
        (DECLINE, True),
        ("let's keep the discussion relevant to Acme", True),
        ("Please keep our discussion relevant to Acme.", True),
        ("Cats sleep sixteen hours a day.", False),
        ("", False),
    ],
)
def test_saying_a_redirection_in_other_words(text: str, says_it: bool) -> None:
    redirections = learn_redirections([*FAQ, *off_topic(4)])
    assert (nearest_redirection(text, redirections) is not None) is says_it


def test_nothing_is_near_no_redirection() -> None:
    assert nearest_redirection(DECLINE, ()) is None


def test_the_redirections_of_the_lamini_data() -> None:
    file = SHARED_DATA / "sft" / "lamini_docs.jsonl"
    if not file.is_file():
        pytest.skip(f"real data is not here: {file}")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = learn_redirections([example(row["question"], row["answer"]) for row in rows])
    assert [(item.text[:27], item.num_prompts) for item in found] == [
        ("Let’s keep the discussion r", 39),
        ("I wish! This documentation ", 32),
        ("I’m having trouble understa", 15),
    ]
