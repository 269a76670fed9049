"""Near prompts and near examples are two questions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from tunesmith.data.comparing.near import near_clusters
from tunesmith.data.comparing.neighbours import neighbours, whole
from tunesmith.data.comparing.shingles import similarity
from tunesmith.data.converting.examples import build_example
from tunesmith.types import Example, Message

LONG = "You can cancel at any time in the settings of your account, and what is left of the month is paid back to the card you used."


def example(prompt: str, answer: str, *, label: bool | None = None, rejected: str | None = None) -> Example:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return build_example("faq.csv:1", messages=messages, label=label, rejected=rejected)


def found(*examples: Example) -> tuple[list[int], list[int]]:
    near = neighbours(examples)
    return near.prompts.tolist(), near.examples.tolist()


def test_the_same_twice_is_near_in_both() -> None:
    assert found(example("How do I cancel?", LONG), example("how do I cancel", LONG + "!")) == ([0, 0], [0, 0])


def test_one_prompt_with_two_answers_is_near_by_its_prompt_alone() -> None:
    assert found(example("How do I cancel?", LONG), example("How do I cancel?", "Write to us.")) == ([0, 0], [0, 1])
    question = "Is it possible to use the program offline, without any account, on a laptop of the company that I work for?"
    assert found(example(question, "Yes."), example(question, "No.")) == ([0, 0], [0, 1])


def test_one_long_answer_to_two_questions_is_two_examples() -> None:
    assert found(example("How do I cancel?", LONG * 3), example("Where is my money?", LONG * 3)) == ([0, 1], [0, 1])


def test_a_typo_in_a_short_prompt_with_the_same_long_answer_is_a_near_example() -> None:
    assert found(example("How do I cancel my order?", LONG), example("How do I cancle my order?", LONG))[1] == [0, 0]


def test_other_labels_and_other_rejected_answers_are_other_examples() -> None:
    assert found(example("Cancel?", LONG, label=True), example("Cancel?", LONG, label=False))[1] == [0, 1]
    assert found(example("Cancel?", LONG, rejected="No."), example("Cancel?", LONG, rejected=LONG[::-1]))[1] == [0, 1]


def test_raw_text_is_its_own_prompt() -> None:
    texts = [build_example(f"a.txt:{number}", text=text) for number, text in enumerate([LONG, LONG + " Bye.", "Something else"])]
    assert neighbours(texts).examples.tolist() == neighbours(texts).prompts.tolist() == [0, 0, 2]


def test_nothing_is_near_nothing() -> None:
    assert found() == ([], [])
    assert found(example("", LONG), example("", "Write to us.")) == ([0, 1], [0, 1])


def test_sources_play_no_part() -> None:
    one = example("How do I cancel?", LONG)
    assert found(one, replace(one, source="b.csv:9"))[1] == [0, 0]


def test_what_is_compared_of_an_example_is_what_a_text_is_compared_by() -> None:
    """Whole examples are put together of parts that were made comparable one by one."""
    parts = ["", "?!", " \n", "Why?", "... (Why)", "WHY", "ﬁne", "e", "\u0301 accent", "1 + 1", LONG, LONG.upper() + " x"]
    every = [example(prompt, answer) for prompt in parts for answer in parts]
    near = neighbours(every)
    assert near.prompts.tolist() == near_clusters([one.messages[0].content for one in every]).tolist()
    assert set(np.unique(near.examples)) >= set(np.unique(near_clusters(map(whole, every))))


def test_lamini_docs(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "sft" / "lamini_docs.jsonl").read_text(encoding="utf-8").splitlines()]
    near = neighbours([example(row["question"], row["answer"]) for row in rows])
    copies = [place for place, first in enumerate(near.examples.tolist()) if place != first]
    assert 10 <= len(copies) <= 25
    for place in copies:
        one, other = rows[place], rows[near.examples[place]]
        assert similarity(one["question"], other["question"]) >= 0.6
        assert similarity(one["answer"], other["answer"]) >= 0.8
