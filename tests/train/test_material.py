"""What an objective takes of the data is made when it is asked for, never all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from tests.samples import qa
from tunesmith.train.material import RightAnswers
from tunesmith.train.objectives import AnswerRows, Split
from tunesmith.train.reference import answer_only
from tunesmith.types import Example, RenderedExample

JUDGED = [dataclasses.replace(qa(f"what is {n}?", f"it is {n}", source=f"j:{n}"), label=n % 3 != 0) for n in range(10)]


class Counting(Sequence[Any]):
    """A sequence of which is known what was asked for."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items, self.asked = items, []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        self.asked.append(index)
        return self.items[index]


def test_right_answers_are_the_desirable_ones_without_their_labels() -> None:
    examples = Counting(JUDGED)
    right = RightAnswers(examples)
    expected = [dataclasses.replace(one, label=None) for one in JUDGED if one.label]
    assert list(right) == expected
    assert list(right[2:5]) == expected[2:5]
    examples.asked.clear()
    assert right[3] == expected[3]
    assert examples.asked == [5]
    with pytest.raises(IndexError):
        right[len(expected)]


def test_answers_are_made_row_by_row() -> None:
    example: Example = JUDGED[0]
    rendered = [RenderedExample(example=example, token_ids=(1, 2, 3, n), supervised=(False, True, False, True)) for n in range(5)]
    columns = Counting(rendered), Counting(rendered[::-1])
    rows = Split(rendered=columns[0], rejected=columns[1]).answers
    assert isinstance(rows, AnswerRows)
    assert columns[0].asked == []
    assert rows[1] == (answer_only(rendered[1]), answer_only(rendered[3]))
    assert (columns[0].asked, columns[1].asked) == ([1], [1])
    assert [len(row) for row in rows] == [2] * 5
    assert Split(rendered=rendered).answers[2] == (answer_only(rendered[2]),)
