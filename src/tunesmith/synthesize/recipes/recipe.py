"""What every recipe has, and how its requests are put."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from tunesmith.chat.calls import Call
from tunesmith.chat.replies import read_records
from tunesmith.synthesize.candidates import Candidate
from tunesmith.types import Message

CALLS_A_ROUND = 32
"""Asked together; what is kept of a round is known to the next."""


class Recipe(Protocol):
    """Puts requests and reads replies. Everything it does follows from the settings, the data and the replies, so that a run that
    was interrupted goes on where it stopped."""

    name: str

    def rounds(self, kept: Sequence[Candidate]) -> Iterator[list[Call]]:
        """Requests, some at a time; `kept` grows between them. Ends when there is nothing more to ask."""

    def candidates(self, call: Call, reply: str) -> list[Candidate]:
        """The examples of a reply.

        Raises:
            UnreadableReplyError: it is not what was asked for.
        """

    def fault(self, candidate: Candidate) -> str | None:
        """What is wrong with an example by this recipe's own rules."""


def request(instructions: str, *parts: str) -> tuple[Message, ...]:
    """One user message: what to do, then material, fenced so that a teacher can tell it from what to do."""
    fenced = [f"<<<\n{part}\n>>>" for part in parts]
    return (Message(role="user", content="\n\n".join([instructions, *fenced])),)


def questions_and_answers(reply: str, origin: Mapping[str, str], *quoted: str, answer: str | None = None) -> list[Candidate]:
    """The examples of a reply that was to be a list of questions and answers.

    Args:
        reply: what the teacher wrote.
        origin: where the examples come from.
        quoted: what else it was to write of each; goes into the origin.
        answer: the answer to all of them; then none is read.

    Raises:
        UnreadableReplyError: it is not what was asked for.
    """
    names = ("question", *quoted) if answer is not None else ("question", "answer", *quoted)
    return [
        Candidate(
            prompt=record["question"],
            completion=record["answer"] if answer is None else answer,
            origin={**origin, **{name: record[name] for name in quoted}},
        )
        for record in read_records(reply, *names)
    ]


def no_fault(candidate: Candidate) -> None:
    """`Recipe.fault` of those that have no rules of their own."""
    del candidate


def dice(seed: int, *what: object) -> random.Random:
    """Chance that depends on the seed and on what it is for, not on when it is asked."""
    return random.Random("\0".join(map(str, (seed, *what))))  # noqa: S311 - no secrets


def in_rounds(calls: Iterator[Call], size: int = CALLS_A_ROUND) -> Iterator[list[Call]]:
    """The calls, so many at a time."""
    group: list[Call] = []
    for call in calls:
        group.append(call)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
