"""What counts as the same example."""

from __future__ import annotations

import numpy as np

from tunesmith.data.converting.examples import build_example
from tunesmith.data.converting.facts import Marks, fact_values, facts_of, first_of_each, said
from tunesmith.types import Message


def said_by(prompt: str, completion: str) -> bytes:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=completion))
    return said(build_example("faq.jsonl:1", messages=messages))


def test_spacing_alone_makes_no_difference() -> None:
    assert said_by("a b", "c") == said_by("a  b\n", " c")
    others = [said_by("A b", "c"), said_by("a b", "d"), said_by("a", "b c"), said_by("ab", "c")]
    assert len({said_by("a b", "c"), *others}) == 1 + len(others)


def test_raw_text() -> None:
    one, same, other = (said(build_example("b:1", text=text)) for text in ("a b", "a\nb", "ab"))
    assert one == same != other


def test_the_first_that_is_equal_in_all_keys() -> None:
    left, right = np.array([7, 5, 7, 7, 5]), np.array([1, 1, 2, 1, 1])
    assert first_of_each(left, right).tolist() == [0, 1, 2, 0, 1]
    assert first_of_each(left).tolist() == [0, 1, 0, 0, 1]
    assert first_of_each(left[:0]).tolist() == []


def test_an_example_of_the_last_of_very_many_files() -> None:
    example = build_example("notes.txt:1", text="a b")
    facts = facts_of([fact_values(example, Marks(), length=10, source=200_000, read_id=example.id)])
    assert facts["source"].tolist() == [200_000]
