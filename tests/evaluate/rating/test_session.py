from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.evaluate.fakes import record
from tunesmith.errors import DataError
from tunesmith.evaluate.contestants import Contestant, make_vote
from tunesmith.evaluate.rating.questions import Question, pair_questions, rubric_questions
from tunesmith.evaluate.rating.ratings import Rating, append_ratings, read_ratings
from tunesmith.evaluate.rating.session import PAIR_KEYS, Desk, Sitting, hold_session
from tunesmith.evaluate.votes import Vote, answer_key

NUM = 12
RECORDS = {f"e{i}": record(name=f"e{i}", base=f"base {i}", tuned=f"tuned {i}") for i in range(NUM)}
BASE = Contestant(name="m", records=RECORDS, answers={name: one.base for name, one in RECORDS.items()})
TUNED = Contestant(name="faq", records=RECORDS, answers={name: one.tuned for name, one in RECORDS.items()})
QUESTIONS = pair_questions([BASE, TUNED], [], rater="ana", seed=0).asked


class Rater:
    """Types what it was given and remembers what it was shown and what was saved."""

    def __init__(self, keys: str) -> None:
        self.keys = list(keys)
        self.shown: list[str] = []
        self.saved: list[tuple[str, str]] = []
        self.told: list[str] = []

    def sit(self, questions: Sequence[Question] = QUESTIONS) -> Sitting:
        desk = Desk(
            show=lambda question, number, total: self.shown.append(question.record.id),
            read=lambda: self.keys.pop(0) if self.keys else None,
            save=lambda question, key: self.saved.append((question.record.id, key)),
            say=self.told.append,
        )
        return hold_session(questions, PAIR_KEYS, desk)


ORDER = [question.record.id for question in QUESTIONS]


def test_answers_are_saved_in_order_and_the_last_one_at_the_end() -> None:
    rater = Rater("12tq")
    assert rater.sit() == Sitting(num_answered=3, num_skipped=0, num_left=NUM - 3)
    assert rater.saved == list(zip(ORDER, "12t", strict=False))


def test_the_end_of_the_input_quits_and_a_finished_session_ends() -> None:
    assert Rater("12").sit().num_answered == 2
    rater = Rater("1" * NUM)
    assert rater.sit() == Sitting(NUM, 0, 0)
    assert len(rater.saved) == NUM


def test_undo_takes_back_the_latest_answer_and_asks_again_what_was_skipped_since() -> None:
    rater = Rater("1su2tq")
    sitting = rater.sit()
    assert rater.shown == [ORDER[0], ORDER[1], ORDER[2], ORDER[0], ORDER[1], ORDER[2]]
    assert rater.saved == [(ORDER[0], "2"), (ORDER[1], "t")]
    assert sitting == Sitting(2, 0, NUM - 2)


def test_only_the_latest_answer_can_be_undone() -> None:
    rater = Rater("u12uuq")
    rater.sit()
    assert rater.saved == [(ORDER[0], "1")]
    assert sum("nothing to undo" in text for text in rater.told) == 2


def test_unknown_keys_are_asked_again() -> None:
    rater = Rater("x5 1q")
    assert rater.sit().num_answered == 1
    assert len(rater.told) == 3


def test_an_interruption_loses_nothing() -> None:
    rater = Rater("12")

    def stop() -> str:
        if not rater.keys:
            raise KeyboardInterrupt
        return rater.keys.pop(0)

    desk = Desk(show=lambda *_: None, read=stop, save=lambda question, key: rater.saved.append((question.record.id, key)), say=print)
    with pytest.raises(KeyboardInterrupt):
        hold_session(QUESTIONS, PAIR_KEYS, desk)
    assert len(rater.saved) == 2


def vote_on(question: Question, rater: str = "ana") -> Vote:
    return make_vote(question.models, question.answers, winner="tie", example=question.record.id, kind="human", rater=rater)


def test_what_was_voted_on_is_not_asked_again_and_the_rest_comes_in_the_same_order() -> None:
    done = [vote_on(question) for question in (QUESTIONS[0], QUESTIONS[4])]
    again = pair_questions([BASE, TUNED], done, rater="ana", seed=0)
    assert again.num_done == 2
    assert list(again.asked) == [question for i, question in enumerate(QUESTIONS) if i not in (0, 4)]
    assert len(pair_questions([TUNED, BASE], done, rater="bo", seed=0).asked) == NUM


def test_a_vote_on_other_answers_does_not_count() -> None:
    old = record(name="e0", base="another answer", tuned="tuned 0")
    done = make_vote(("m", "faq"), (old.base, old.tuned), winner="left", example="e0", kind="human", rater="ana")
    assert pair_questions([BASE, TUNED], [done], rater="ana", seed=0).num_done == 0


def test_sides_and_order_are_drawn_by_seed_and_rater() -> None:
    sides = [question.models for question in QUESTIONS]
    assert set(sides) == {("m", "faq"), ("faq", "m")}
    assert sorted(ORDER) != ORDER
    assert pair_questions([TUNED, BASE], [], rater="ana", seed=0).asked == QUESTIONS
    assert pair_questions([BASE, TUNED], [], rater="ana", seed=1).asked != QUESTIONS
    assert pair_questions([BASE, TUNED], [], rater="bo", seed=0).asked != QUESTIONS


def test_the_same_text_twice_is_not_asked() -> None:
    same = Contestant(name="copy", records=RECORDS, answers=BASE.answers)
    found = pair_questions([BASE, same], [], rater="ana", seed=0)
    assert (len(found.asked), found.num_equal) == (0, NUM)


def test_rubric_asks_every_answer_once() -> None:
    first = rubric_questions([BASE, TUNED], [], rater="ana", seed=0)
    assert len(first.asked) == 2 * NUM
    one = first.asked[3]
    key = answer_key(one.answers[0].completion)
    rated = [Rating(model=one.models[0], example=one.record.id, score=4, rater="ana", answer=key)]
    assert rubric_questions([BASE, TUNED], rated, rater="ana", seed=0).asked == (*first.asked[:3], *first.asked[4:])


def test_ratings_are_kept_and_wrong_ones_refused(tmp_path: Path) -> None:
    file = tmp_path / "ratings.jsonl"
    assert read_ratings(file) == []
    made = [Rating(model="m", example=f"e{i}", score=i, rater="ana", answer="ab") for i in (1, 5)]
    for one in made:
        append_ratings(file, [one])
    assert read_ratings(file) == made
    file.write_text('{"model": "m", "example": "e", "score": 6, "rater": "ana", "answer": "ab"}\n')
    with pytest.raises(DataError, match=r"ratings.jsonl:1: score is 6; expected a whole number from 1 to 5"):
        read_ratings(file)
