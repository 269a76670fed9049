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


class Session:
    """Which question is before the rater, and the answer that can still be taken back; for whoever gets keys one at a time."""

    def __init__(self, questions: Sequence[Question], save: Callable[[Question, str], None]) -> None:
        """See the class.

        Args:
            questions: in the order in which to ask.
            save: writes an answer for good.
        """
        self.questions = tuple(questions)
        self._save = save
        self._at, self._num_answered, self._num_skipped = 0, 0, 0
        self._pending: tuple[int, str] | None = None  # position of the question, key

    @property
    def question(self) -> Question | None:
        """The one before the rater; None when all were."""
        return self.questions[self._at] if self._at < len(self.questions) else None

    @property
    def number(self) -> int:
        """Of that question, from 1."""
        return self._at + 1

    @property
    def sitting(self) -> Sitting:
        """What has come of it so far."""
        return Sitting(self._num_answered, self._num_skipped, len(self.questions) - self._at)

    @property
    def can_undo(self) -> bool:
        """The latest answer is not written yet."""
        return self._pending is not None

    def press(self, key: str) -> None:
        """Answer the question, skip it, or undo what can be undone; the last question's answer is written at once.

        Args:
            key: one that answers, `SKIP` or `UNDO`.
        """
        if key == UNDO:
            self._undo()
        elif self.question is not None:
            if key == SKIP:
                self._num_skipped += 1
            else:
                self.write()
                self._pending = self._at, key
                self._num_answered += 1
            self._at += 1
            if self.question is None:
                self.write()

    def _undo(self) -> None:
        if self._pending is not None:
            self._num_skipped -= self._at - self._pending[0] - 1  # those between are asked again
            self._at, self._pending = self._pending[0], None
            self._num_answered -= 1

    def write(self) -> None:
        """Write the answer that was kept back, if there is one; it can be undone no more."""
        if self._pending is not None:
            self._save(self.questions[self._pending[0]], self._pending[1])
            self._pending = None


def hold_session(questions: Sequence[Question], keys: Sequence[str], desk: Desk) -> Sitting:
    """Ask until all is answered, the rater quits, or the input ends.

    Args:
        questions: in the order in which to ask.
        keys: those that answer; `s`, `u` and `q` skip, undo and quit.
        desk: the rater's side.
    """
    session = Session(questions, desk.save)
    try:
        while session.question is not None:
            desk.show(session.question, session.number, len(questions))
            key = _read_known(desk, keys)
            if key == QUIT:
                break
            if key == UNDO and not session.can_undo:
                desk.say("nothing to undo: only the latest answer can be taken back")
            else:
                session.press(key)
    finally:
        session.write()
    return session.sitting


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
