"""More training examples of the kind that a tuned model still gets wrong, from the error groups of its analysis.

The failed examples are of the test split: a teacher sees them to learn the kind, and what comes back too near to one of them is not kept.
Training examples show it how right answers look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from tunesmith.chat.calls import Call
from tunesmith.config import SynthesizeConfig
from tunesmith.synthesize.candidates import Candidate
from tunesmith.synthesize.recipes.recipe import dice, no_fault, questions_and_answers, request
from tunesmith.types import Example

CALLS = 8
SHOWN_FAILURES = 2
SHOWN_EXAMPLES = 3
INSTRUCTIONS = """\
A small model was trained to answer as the examples below do, and it still fails in this way: {title}. {remedy}

First come examples of right answers, then prompts where it failed, each with the right answer. Write {count} new examples that would
teach it: prompts of the same kind as the failed ones but about other things, with right answers in the style of the examples. State no
fact that the examples do not support.

Reply with nothing but a JSON list: [{{"question": "…", "answer": "…"}}]"""


@dataclass(frozen=True, kw_only=True)
class FailedGroup:
    """An error group of an analysis."""

    title: str
    remedy: str
    failures: tuple[tuple[str, str], ...]
    """Prompt and right answer of examples in it."""


class Errors:
    """Group after group, round and round."""

    name = "errors"
    fault = staticmethod(no_fault)

    def __init__(self, groups: Sequence[FailedGroup], examples: Sequence[Example], config: SynthesizeConfig) -> None:
        self._groups, self._examples, self._config = groups, examples, config

    def rounds(self, kept: Sequence[Candidate]) -> Iterator[list[Call]]:
        del kept
        for start in count(step=CALLS):
            yield [self._call(number, self._groups[number % len(self._groups)]) for number in range(start, start + CALLS)]

    def _call(self, number: int, group: FailedGroup) -> Call:
        chance = dice(self._config.seed, "errors", number)
        shown = [self._examples[chance.randrange(len(self._examples))] for _ in range(SHOWN_EXAMPLES)]
        failed = chance.sample(group.failures, min(SHOWN_FAILURES, len(group.failures)))
        instructions = INSTRUCTIONS.format(title=group.title, remedy=group.remedy, count=self._config.per_item)
        parts = ("\n\n".join(_shown(one.prompt, one.reference) for one in shown), "\n\n".join(_shown(*one) for one in failed))
        return Call(key=f"errors {number}", messages=request(instructions, *parts), context=group.title)

    def candidates(self, call: Call, reply: str) -> list[Candidate]:
        return questions_and_answers(reply, {"error_group": call.context})


def _shown(prompt: str, answer: str) -> str:
    return f"Prompt: {prompt}\nRight answer: {answer}"
