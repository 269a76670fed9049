"""The comparison itself, against a runtime that says what it is told to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tunesmith.export.parity import RuntimeParity, compare
from tunesmith.export.prompts import ParityPrompt
from tunesmith.export.reference import ReferenceAnswer
from tunesmith.types import Message

IDS, ANSWER, LOGPROBS, MARGINS = (1, 2, 3), (7, 8, 9), (-0.1, -0.2, -0.3), (3.0, 0.05, 2.0)


class Told:
    """A runtime."""

    name = "told"

    def __init__(self, *, ids: Sequence[int] = IDS, answer: Sequence[int] = ANSWER, logprobs: Sequence[float] = LOGPROBS) -> None:
        self._ids, self._answer, self._logprobs = list(ids), list(answer), list(logprobs)

    def prompt_ids(self, prompt: ParityPrompt) -> list[int]:
        return self._ids

    def answer(self, prompt_ids: Sequence[int], max_new_tokens: int) -> list[int]:
        return self._answer

    def logprobs(self, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> list[float]:
        return self._logprobs


def compared(runtime: Told, *, text: str = "Why?", tolerance: float = 0.05, is_on_average: bool = False) -> RuntimeParity:
    prompt = ParityPrompt(source="faq.jsonl:7", messages=(Message(role="user", content=text),), token_ids=IDS)
    answer = ReferenceAnswer(prompt=prompt, token_ids=ANSWER, logprobs=LOGPROBS, margins=MARGINS)
    return compare([answer], runtime, tolerance=tolerance, max_new_tokens=3, is_on_average=is_on_average)


def test_the_same() -> None:
    found = compared(Told())
    assert (found.num_equal_prompts, found.num_equal_answers, found.problem) == (1, 1, None)
    assert "part where" not in found.sentence


def test_a_near_tie_is_told_with_how_near_it_was() -> None:
    found = compared(Told(answer=(7, 5, 9)))
    assert (found.num_equal_answers, found.num_near_ties, found.largest_tie, found.problem) == (0, 1, 0.05, None)
    assert "greedy answers equal in 0 of 1 (1 part where our two likeliest tokens are 0.05 nats apart or less)" in found.sentence


@pytest.mark.parametrize(
    ("runtime", "problem"),
    [
        (Told(ids=(1, 2, 4)), "the prompt has other tokens than ours from token 3 on (3 to 3)"),
        (Told(answer=(6, 8, 9)), "the greedy answer is another one from token 1 on"),
        (Told(answer=(7, 8)), "the greedy answer is another one from token 3 on"),
        (Told(logprobs=(-0.1, -0.2, -0.4)), "a log-probability is off by 0.1 nats"),
        (Told(logprobs=(-0.1, math.nan, -0.3)), "a log-probability is off by nan nats"),
    ],
)
def test_what_differs_is_a_problem(runtime: Told, problem: str) -> None:
    assert compared(runtime).problem == f"faq.jsonl:7: {problem}"


def test_letters_that_are_not_composed_are_named_as_the_cause() -> None:
    runtime = Told(ids=(1, 2, 4))
    assert str(compared(runtime, text="Cafe\u0301?").problem).endswith("not composed (Unicode's NFC), and not every program composes them")
    assert "composed" not in str(compared(runtime, text="Caf\u00e9?").problem)


def test_of_four_bits_the_average_counts() -> None:
    off = Told(answer=(6, 8, 9), logprobs=(-0.1, -0.2, -3.0))  # 0.9 on average, 2.7 at most
    found = compared(off, tolerance=1.0, is_on_average=True)
    assert found.problem is None
    assert "equal in 0 of 1 (1 part where our two likeliest tokens are 3 nats apart or less)" in found.sentence
    assert "at most 2.7 (allowed 1 on average)" in found.sentence
    assert compared(off, tolerance=0.8, is_on_average=True).problem == "log-probabilities are off by 0.9 nats on average"
    broken = Told(logprobs=(-0.1, math.nan, -0.3))
    assert compared(broken, tolerance=1.0, is_on_average=True).problem == "log-probabilities are off by nan nats on average"
    assert "other tokens" in str(compared(Told(ids=(1, 2, 4)), tolerance=1.0, is_on_average=True).problem)
