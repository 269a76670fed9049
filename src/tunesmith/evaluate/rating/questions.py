"""What a rater is asked: two answers side by side, or one to score; models unnamed, order and sides drawn by the seed.

>>> questions = pair_questions(load_contestants([Path("runs/faq")]), read_votes([...]), rater="ana", seed=0)
>>> questions.asked[0].record.prompt
'Do you ship abroad?'

The order of examples and which answer stands first come from a hash of seed, rater and example, so that they do not depend on what
was answered before: a session that is resumed goes on as it would have gone on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from tunesmith.evaluate.contestants import Contestant
from tunesmith.evaluate.rating.ratings import Rating
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.votes import Vote, answer_key


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One example with one answer to score or two to choose from."""

    record: EvaluationRecord
    models: tuple[str, ...]
    """Whose answers these are, in the order shown; hidden from the rater."""
    answers: tuple[ModelAnswer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Questions:
    """What is to be asked, in order, and what is not."""

    asked: tuple[Question, ...]
    num_done: int
    """Answered before by this rater."""
    num_equal: int
    """Pairs of answers that are the same text: nobody can choose between them."""


def pair_questions(contestants: Sequence[Contestant], votes: Sequence[Vote], *, rater: str, seed: int) -> Questions:
    """Every example answered by two models, for every two models."""
    done = {
        _pair_key(vote.example, (vote.left, vote.left_answer), (vote.right, vote.right_answer)) for vote in votes if vote.rater == rater
    }
    judged = {example for example, _ in done}
    asked, num_done, num_equal = [], 0, 0
    for first, second in combinations(contestants, 2):
        for example in first.answers.keys() & second.answers.keys():
            sides = [(side.name, side.answers[example].completion) for side in (first, second)]
            if sides[0][1] == sides[1][1]:
                num_equal += 1
            elif example in judged and _pair_key(example, *((name, answer_key(said)) for name, said in sides)) in done:
                num_done += 1
            else:
                asked.append(_pair_question(first, second, example, rater=rater, seed=seed))
    return Questions(asked=_shuffled(asked, rater, seed), num_done=num_done, num_equal=num_equal)


def _pair_key(example: str, first: tuple[str, str], second: tuple[str, str]) -> tuple[str, frozenset[tuple[str, str]]]:
    """The same for both orders, another one for another answer."""
    return example, frozenset((first, second))


def _pair_question(first: Contestant, second: Contestant, example: str, *, rater: str, seed: int) -> Question:
    sides = sorted((first, second), key=lambda side: side.name)  # in whatever order the runs were named
    if _draw(seed, rater, example, *sorted((first.name, second.name)), "sides") % 2:
        sides.reverse()
    return Question(
        record=first.records[example],
        models=tuple(side.name for side in sides),
        answers=tuple(side.answers[example] for side in sides),
    )


def rubric_questions(contestants: Sequence[Contestant], ratings: Sequence[Rating], *, rater: str, seed: int) -> Questions:
    """Every answer of every model."""
    done = {(one.example, one.model, one.answer) for one in ratings if one.rater == rater}
    every = [
        Question(record=contestant.records[example], models=(contestant.name,), answers=(answer,))
        for contestant in contestants
        for example, answer in contestant.answers.items()
    ]
    asked = [one for one in every if (one.record.id, one.models[0], answer_key(one.answers[0].completion)) not in done]
    return Questions(asked=_shuffled(asked, rater, seed), num_done=len(every) - len(asked), num_equal=0)


def _shuffled(questions: Sequence[Question], rater: str, seed: int) -> tuple[Question, ...]:
    return tuple(sorted(questions, key=lambda one: _draw(seed, rater, one.record.id, *sorted(one.models), "order")))


def _draw(seed: int, *words: str) -> int:
    return int.from_bytes(hashlib.sha256("\x1f".join([str(seed), *words]).encode("utf-8", "surrogatepass")).digest()[:8])
