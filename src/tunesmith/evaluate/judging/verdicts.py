"""Reading a judge's reply: its last line, with the code of the question, and nothing else.

>>> read_choice("B gives the wrong price.\\n\\nVERDICT-7f3a1c: A", "7f3a1c")
Verdict(value='A', reason='B gives the wrong price.')
"""

from __future__ import annotations

import re
from typing import Generic, Literal, NamedTuple, TypeVar

from tunesmith.chat.replies import UnreadableReplyError
from tunesmith.evaluate.judging.rubric import Rubric

Choice = Literal["A", "B", "tie"]
Value = TypeVar("Value", Choice, float)

THOUGHTS = re.compile(r"\A\s*<think>.*</think>", re.DOTALL)
"""What reasoning models say before they answer."""
DECORATION = "*_`# \t"
LONGEST_REASON = 2000
CHOICES: dict[str, Choice] = {"a": "A", "b": "B", "tie": "tie"}
SCORE = re.compile(r"(-?\d+(?:\.\d+)?)(?:\s*/\s*(-?\d+))?")


class Verdict(NamedTuple, Generic[Value]):
    """What a judge decided, and why."""

    value: Value
    reason: str


def read_choice(reply: str, code: str) -> Verdict[Choice]:
    """Which of two answers is better.

    Raises:
        UnreadableReplyError: it does not end in a verdict, in this form.
    """
    said, reason = _said(reply, code)
    choice = CHOICES.get(said.casefold())
    if choice is None:
        raise UnreadableReplyError(f"the verdict is none of A, B, TIE: {said[:40]!r}")
    return Verdict(choice, reason)


def read_score(reply: str, code: str, rubric: Rubric) -> Verdict[float]:
    """A number within the rubric's scale.

    Raises:
        UnreadableReplyError: it does not end in one, in this form.
    """
    said, reason = _said(reply, code)
    found = SCORE.fullmatch(said)
    if found is None or (found[2] and int(found[2]) != rubric.highest):
        raise UnreadableReplyError(f"the verdict is no number: {said[:40]!r}")
    value = float(found[1])
    if not rubric.lowest <= value <= rubric.highest:
        raise UnreadableReplyError(f"the score is outside {rubric.lowest} to {rubric.highest}: {said[:40]}")
    return Verdict(value, reason)


def _said(reply: str, code: str) -> tuple[str, str]:
    """What follows `VERDICT-code:` on the last line, and the lines before it. All lines of this form have to say the same."""
    lines = [line.strip(DECORATION) for line in THOUGHTS.sub("", reply).strip().splitlines()]
    form = re.compile(rf"VERDICT-{code}\s*[*_`]*:[*_`\s]*(.*?)[.\s*_`]*", re.IGNORECASE)
    found = [form.fullmatch(line) for line in lines]
    if not lines or found[-1] is None:
        raise UnreadableReplyError("the reply does not end in a verdict")
    said = {one[1].casefold() for one in found if one}
    if len(said) > 1:
        raise UnreadableReplyError("the reply has several verdicts")
    reason = "\n".join(line for line, one in zip(lines, found, strict=True) if line and not one)
    return found[-1][1], reason[:LONGEST_REASON]
