"""Votes and scores on answers that a run gave before it was evaluated again: they are kept, and say nothing of what it answers now.

>>> newest = newest_answers([Path("runs/faq")])
>>> on_newest, on_earlier = part_votes(read_votes([Path("runs/faq/evaluation/votes.jsonl")]), newest)

What cannot be checked counts as on the newest answers: models of other runs, and votes without an answer's key or an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from tunesmith.evaluate.contestants import contestants_of
from tunesmith.evaluate.rating.ratings import Rating
from tunesmith.evaluate.votes import Vote, answer_key
from tunesmith.evaluate.wording import counted
from tunesmith.runs import open_run

Judged = TypeVar("Judged", Vote, Rating)
Newest = Mapping[str, Mapping[str, frozenset[str]]]
"""Model -> example -> keys of its newest answers: of a base model as many as runs asked it in different ways."""


class Parted(NamedTuple, Generic[Judged]):
    """In their order."""

    on_newest: list[Judged]
    on_earlier: list[Judged]


def newest_answers(runs: Iterable[Path]) -> Newest:
    """Of the runs' latest evaluations; a run without one says nothing.

    Raises:
        ConfigError: a run has the name of its base model.
    """
    found: dict[str, dict[str, frozenset[str]]] = {}
    for path in runs:
        if not open_run(path).evaluation_records_file.is_file():
            continue
        for one in contestants_of(path):
            for name in (one.name, f"{one.name} ({path.resolve().name})"):  # the latter of `load_contestants`
                keys = found.setdefault(name, {})
                for example, answer in one.answers.items():
                    keys[example] = keys.get(example, frozenset()) | {answer_key(answer.completion)}
    return found


def part_votes(votes: Iterable[Vote], newest: Newest) -> Parted[Vote]:
    """A vote is on earlier answers if either of its answers is."""
    parted: Parted[Vote] = Parted([], [])
    for vote in votes:
        sides = (vote.left, vote.left_answer), (vote.right, vote.right_answer)
        is_earlier = any(_is_earlier(newest, model, vote.example, key) for model, key in sides)
        (parted.on_earlier if is_earlier else parted.on_newest).append(vote)
    return parted


def part_ratings(ratings: Iterable[Rating], newest: Newest) -> Parted[Rating]:
    """The same of scores."""
    parted: Parted[Rating] = Parted([], [])
    for one in ratings:
        is_earlier = _is_earlier(newest, one.model, one.example, one.answer)
        (parted.on_earlier if is_earlier else parted.on_newest).append(one)
    return parted


def _is_earlier(newest: Newest, model: str, example: str, key: str) -> bool:
    """An example that the latest evaluation left out has no newest answer, so a vote on it is on an earlier one."""
    return bool(key and example) and model in newest and key not in newest[model].get(example, frozenset())


def earlier_sentence(num_votes: int, num_scores: int = 0, *, are_counted: bool) -> str:
    """`12 votes are on earlier answers: left out; --include-earlier counts them`; empty where there are none."""
    counts = [counted(number, noun) for number, noun in ((num_votes, "vote"), (num_scores, "score")) if number]
    if not counts:
        return ""
    verb = "is" if num_votes + num_scores == 1 else "are"
    ending = "counted, as --include-earlier asks" if are_counted else "left out; --include-earlier counts them"
    return f"{' and '.join(counts)} {verb} on earlier answers: {ending}"
