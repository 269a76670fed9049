"""Where one rater's judgements go, what is left to ask, and what a key says: the same in the terminal and in the studio.

>>> sheet = Sheet(mode="pairs", rater="ana", votes_file=run.votes_file, ratings_file=run.ratings_file)
>>> questions = sheet.questions(load_contestants([run.path]), seed=0)
>>> sheet.save(questions.asked[0], "1")      # the left answer is better; a line of votes.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunesmith.evaluate.contestants import Contestant, make_vote
from tunesmith.evaluate.rating.questions import Question, Questions, pair_questions, rubric_questions
from tunesmith.evaluate.rating.ratings import Rating, append_ratings, read_ratings
from tunesmith.evaluate.rating.session import PAIR_KEYS, RUBRIC_KEYS
from tunesmith.evaluate.votes import Say, Winner, answer_key, append_votes, read_votes, time_now

Mode = Literal["pairs", "rubric"]
WINNERS: Mapping[str, Winner] = dict(zip(PAIR_KEYS, ("left", "right", "tie"), strict=True))


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Of one rater."""

    mode: Mode
    """Choose between two answers, or score one at a time."""
    rater: str
    """A name; not empty."""
    votes_file: Path
    ratings_file: Path

    @property
    def file(self) -> Path:
        """Where this mode's judgements are appended."""
        return self.votes_file if self.mode == "pairs" else self.ratings_file

    @property
    def keys(self) -> tuple[str, ...]:
        """Those that answer."""
        return PAIR_KEYS if self.mode == "pairs" else RUBRIC_KEYS

    def questions(self, contestants: Sequence[Contestant], *, seed: int, say: Say | None = None) -> Questions:
        """What this rater has not judged yet.

        Raises:
            DataError: the file of earlier judgements cannot be read.
        """
        if self.mode == "pairs":
            earlier = read_votes([self.votes_file], say=say) if self.votes_file.is_file() else []
            return pair_questions(contestants, earlier, rater=self.rater, seed=seed)
        return rubric_questions(contestants, read_ratings(self.ratings_file, say=say), rater=self.rater, seed=seed)

    def save(self, question: Question, key: str) -> None:
        """Append a judgement.

        Raises:
            DataError: the file holds something else.
        """
        (self._save_vote if self.mode == "pairs" else self._save_rating)(question, key)

    def _save_vote(self, question: Question, key: str) -> None:
        made = make_vote(
            question.models,
            question.answers,
            winner=WINNERS[key],
            example=question.record.id,
            kind="human",
            rater=self.rater,
            time=time_now(),
        )
        append_votes(self.votes_file, [made])

    def _save_rating(self, question: Question, key: str) -> None:
        answer = answer_key(question.answers[0].completion)
        model, example = question.models[0], question.record.id
        made = Rating(model=model, example=example, score=int(key), rater=self.rater, answer=answer, time=time_now())
        append_ratings(self.ratings_file, [made])
