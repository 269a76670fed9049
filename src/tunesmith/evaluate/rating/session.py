"""A sitting of one rater: questions one after the other, a key for each; keys can be taken back, and nothing given is lost.

The latest answer is kept back until the next one, so that `u` can undo it without a line of the file being rewritten; it is written
when the sitting ends, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tunesmith.evaluate.rating.questions import Question

SKIP, UNDO, QUIT = "s", "u", "q"
PAIR_KEYS = ("1", "2", "t")
RUBRIC_KEYS = ("1", "2", "3", "4", "5")


class Sitting(NamedTuple):
    """What came of it."""

    num_answered: int
    num_skipped: int
    num_left: int
    """Not reached."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a session needs of the world."""

    show: Callable[[Question, int, int], None]
    """Puts a question before the rater: the question, its number from 1, how many there are."""
    read: Callable[[], str | None]
    """The next key; None when there are no more (end of input)."""
    save: Callable[[Question, str], None]
    """Writes an answer for good."""
    say: Callable[[str], None]


def hold_session(questions: Sequence[Question], keys: Sequence[str], desk: Desk) -> Sitting:
    """Ask until all is answered, the rater quits, or the input ends.

    Args:
        questions: in the order in which to ask.
        keys: those that answer; `s`, `u` and `q` skip, undo and quit.
        desk: the rater's side.
    """
    at, answered, skipped = 0, 0, 0
    pending: tuple[int, str] | None = None  # position of the question, key
    try:
        while at < len(questions):
            desk.show(questions[at], at + 1, len(questions))
            key = _read_known(desk, keys)
            if key == QUIT:
                break
            if key == UNDO:
                if pending is None:
                    desk.say("nothing to undo: only the latest answer can be taken back")
                    continue
                skipped -= at - pending[0] - 1  # those between are asked again
                at, pending, answered = pending[0], None, answered - 1
                continue
            if key == SKIP:
                skipped += 1
            else:
                if pending is not None:
                    desk.save(questions[pending[0]], pending[1])
                pending, answered = (at, key), answered + 1
            at += 1
    finally:
        if pending is not None:
            desk.save(questions[pending[0]], pending[1])
    return Sitting(answered, skipped, len(questions) - at)


def _read_known(desk: Desk, keys: Sequence[str]) -> str:
    """A key that means something; the end of the input quits."""
    while True:
        key = desk.read()
        if key is None:
            return QUIT
        key = key.strip().lower()
        if key in (*keys, SKIP, UNDO, QUIT):
            return key
        desk.say(f"{key!r} means nothing here: {', '.join(keys)}, s to skip, u to undo, q to quit")
