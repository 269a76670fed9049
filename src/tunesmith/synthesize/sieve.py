"""What is kept of the proposals, and why the rest is not.

>>> sieve.refusal(Candidate(prompt="Why?", completion="TODO"))
'the answer is a placeholder'

In this order: what is wrong in itself, then what is too much like something there is. The test split comes before the training data,
so that a leak is called a leak.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tunesmith.data.checks.answers import spot_placeholder, spot_repeated_prompt
from tunesmith.data.checks.residue import spot as spot_residue
from tunesmith.data.comparing.near import NearIndex
from tunesmith.data.converting.examples import build_example, normalise_prompt
from tunesmith.synthesize.candidates import Candidate
from tunesmith.types import Example, Message

LONGEST_CHARACTERS = 8_000
"""Of an answer; longer ones are mostly a teacher that cannot stop."""
TEACHERS_PHRASES = re.compile(
    r"\bas an ai\b|\bas a (?:large )?language model\b|\bi(?:'m| am) (?:just )?an ai\b|\bi (?:cannot|can't) (?:assist|help) with\b"
    r"|^(?:sure|certainly|of course)[,!] here|\bthe (?:passage|text|document|context|excerpt) (?:says|states|mentions|above|provided)\b"
    r"|\baccording to the (?:passage|text|document|context|excerpt)\b|\bin the (?:passage|text|excerpt) (?:above|below)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Words about the teacher itself or about the page it was shown, which the user of a tuned model never sees."""


SPOTS = (
    (spot_placeholder, "the answer is a placeholder"),
    (spot_repeated_prompt, "the answer repeats the prompt"),
    (spot_residue, "a prompt template is left in it"),
)


def example_of(candidate: Candidate) -> Example:
    """As `prepare` will read it."""
    messages = (Message(role="user", content=candidate.prompt), Message(role="assistant", content=candidate.completion))
    return build_example("synthesized", messages=messages)


def fault_of(candidate: Candidate) -> str | None:
    """What is wrong with a proposal in itself; None if nothing is."""
    if not candidate.prompt.strip() or not candidate.completion.strip():
        return "the prompt or the answer is empty"
    if len(candidate.completion) > LONGEST_CHARACTERS:
        return f"the answer is over {LONGEST_CHARACTERS:,} characters"
    if TEACHERS_PHRASES.search(candidate.completion) or TEACHERS_PHRASES.search(candidate.prompt):
        return "it speaks of the teacher or of the page it was shown"
    example = example_of(candidate)
    return next((reason for spot, reason in SPOTS if spot(example)), None)


@dataclass
class Known:
    """Prompts that nothing new may be too much like."""

    what: str
    index: NearIndex
    exact: set[str]

    @classmethod
    def of(cls, what: str, prompts: Iterable[str]) -> Known:
        prompts = list(prompts)
        index = NearIndex()
        index.add(prompts)
        return cls(what, index, {normalise_prompt(prompt) for prompt in prompts})

    def add(self, prompt: str) -> None:
        self.index.add([prompt])
        self.exact.add(normalise_prompt(prompt))

    def has(self, prompt: str) -> bool:
        """The same, or nearly."""
        return normalise_prompt(prompt) in self.exact or len(self.index.query(prompt)) > 0


class Sieve:
    """Remembers what it has let through."""

    def __init__(
        self, *, test_prompts: Iterable[str], train_prompts: Iterable[str], more: Sequence[Callable[[Candidate], str | None]] = ()
    ) -> None:
        """`more`: what else a recipe refuses."""
        self._test = Known.of("the test data", test_prompts)
        self._others = (Known.of("the training data", train_prompts), Known.of("the new examples", ()))
        self._more = more

    def refusal(self, candidate: Candidate) -> str | None:
        """Why a proposal is not kept; None lets it through and remembers it."""
        reason = fault_of(candidate) or next((why for check in self._more if (why := check(candidate))), None)
        reason = reason or next((f"nearly the same prompt is in {known.what}" for known in self._all if known.has(candidate.prompt)), None)
        if reason is None:
            self._others[1].add(candidate.prompt)
        return reason

    @property
    def _all(self) -> tuple[Known, ...]:
        return (self._test, *self._others)
