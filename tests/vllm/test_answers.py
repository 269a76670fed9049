"""Tokens that another engine produced, read by our rules: what our own engine would have made of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tunesmith.config import GenerateConfig
from tunesmith.vllm.answers import Reading, read_completion

LETTERS = "abcdefghijklmnopqrstuvwxyz"
END = 26


def parse(ids: Sequence[int]) -> str:
    """Up to the end of the turn."""
    return "".join(LETTERS[token] for token in [*ids, END][: [*ids, END].index(END)])


READING = Reading(stop_ids={END}, context_length=10, parse=parse)


@pytest.mark.parametrize(
    ("ids", "stop", "room", "expected"),
    [
        ([0, 1, END], (), 5, ("ab", 3, "end_of_turn")),
        ([0, 1, END, 3], (), 5, ("ab", 3, "end_of_turn")),
        ([0, 1, 2], (), 3, ("abc", 3, "context_full")),
        ([0, 1, 2, 3, 4], (), 5, ("abcde", 5, "max_new_tokens")),
        ([0, 1, 2, 3], ("cd",), 5, ("ab", 4, "stop_string")),
        ([0, 1, 2, 3, 4], ("cd",), 5, ("ab", 4, "stop_string")),
        ([0, 1, 2, END], ("cd",), 5, ("abc", 4, "end_of_turn")),
        ([0, 1, 2, 3, 4], ("zz", "e"), 5, ("abcd", 5, "stop_string")),
        ([0, 1], ("zz",), 5, ("theirs", 2, "stop_string")),
    ],
)
def test_where_an_answer_ends(ids: list[int], stop: tuple[str, ...], room: int, expected: tuple[str, int, str]) -> None:
    made = read_completion(ids, "theirs", GenerateConfig(max_new_tokens=5, stop=stop), READING, room=room)
    assert (made.text, len(made.token_ids), made.finish_reason) == expected
