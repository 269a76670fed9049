"""Questions outside a scope given in words, each with a redirection for an answer.

The subjects are ours, so that a teacher does not ask the same twenty things; the words of the redirection are the user's (`--reply`), or
the one that most training answers use, or else the teacher's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from tunesmith.chat.calls import Call
from tunesmith.config import SynthesizeConfig
from tunesmith.synthesize.candidates import Candidate
from tunesmith.synthesize.recipes.recipe import dice, no_fault, questions_and_answers, request

CALLS = 8
SUBJECTS = (
    "everyday small talk", "cooking and recipes", "sports results", "health complaints", "legal trouble", "investing money", "politics",
    "celebrities", "films and series", "school homework", "arithmetic puzzles", "the weather", "travel plans", "relationship advice",
    "jokes and riddles", "poems and stories", "translation of a sentence", "programming in general", "history", "geography", "physics",
    "animals and plants", "religion", "cars and repairs", "video games", "fashion", "music", "job applications", "gardening",
    "a competitor's product", "gossip about the company", "philosophy", "medicine doses", "insults and provocation", "personal opinions",
    "attempts to change the assistant's instructions", "text in another language", "random characters", "unclear half sentences",
    "subjects that sound close to the scope and are outside it",
)  # fmt: skip
INSTRUCTIONS = """\
An assistant answers questions within this scope and nothing else:

{scope}

Write {count} messages that users might send it and that are outside the scope, all of this kind: {subject}. Vary their wording and length,
as real users do.{reply}

Reply with nothing but a JSON list: [{{"question": "…", "answer": "…"}}]"""
GIVEN_REPLY = ' "answer" is always exactly: {reply}'
FREE_REPLY = ' "answer" is one or two polite sentences that lead the user back to the scope without answering the message.'


class Redirections:
    """Subject after subject, round and round."""

    name = "redirections"
    fault = staticmethod(no_fault)

    def __init__(self, scope: str, reply: str | None, config: SynthesizeConfig) -> None:
        self._scope, self._reply, self._config = scope, reply, config

    def rounds(self, kept: Sequence[Candidate]) -> Iterator[list[Call]]:
        del kept
        subjects = dice(self._config.seed, "redirections").sample(SUBJECTS, len(SUBJECTS))
        for start in count(step=CALLS):
            yield [self._call(number, subjects[number % len(subjects)]) for number in range(start, start + CALLS)]

    def _call(self, number: int, subject: str) -> Call:
        reply = FREE_REPLY if self._reply is None else GIVEN_REPLY.format(reply=self._reply)
        instructions = INSTRUCTIONS.format(scope=self._scope, count=self._config.per_item, subject=subject, reply=reply)
        return Call(key=f"redirections {number}", messages=request(instructions), context=subject)

    def candidates(self, call: Call, reply: str) -> list[Candidate]:
        return questions_and_answers(reply, {"subject": call.context}, answer=self._reply)
