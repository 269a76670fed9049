"""Variations of the examples there are: other words for a prompt, or a harder prompt (Evol-Instruct, Xu et al. 2023, arXiv:2304.12244).

A paraphrase keeps the answer, so it has to keep what the prompt asks: its numbers, and about its length. A harder prompt gets an answer
of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tunesmith.chat.calls import Call
from tunesmith.chat.replies import read_strings
from tunesmith.config import SynthesizeConfig
from tunesmith.data.converting.examples import normalise_prompt
from tunesmith.synthesize.candidates import Candidate
from tunesmith.synthesize.recipes.recipe import dice, in_rounds, no_fault, questions_and_answers, request
from tunesmith.types import Example

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
NEGATION = re.compile(r"\b(?:not|no|never|without|none|cannot)\b|n't\b", re.IGNORECASE)
LONGEST_RATIO = 3.0
"""A paraphrase of more than so many times the characters, or less than their inverse, asks something else."""
PARAPHRASE = """\
Below is what a user asked. Write {count} other ways in which different users might ask exactly the same: short and long, casual and
formal, as a question and as a request, with a typing error now and then. The same answer must fit every one of them, so keep all names,
numbers and conditions.

Reply with nothing but a JSON list of strings."""

HARDER = """\
Below are a user's prompt and its answer. Write {count} harder prompts on the same subject, each with a correct and complete answer in the
style of the answer below. Make them harder in this way: {way}. Each has to be understood by itself.

Reply with nothing but a JSON list: [{{"question": "…", "answer": "…"}}]"""
WAYS = (
    "add one more condition or requirement",
    "ask for reasons or consequences instead of facts",
    "replace a general idea by a concrete situation",
    "ask something that takes several steps to answer",
    "ask about a rarer case of the same kind",
)
"""The paper's operations (section 3.1): constraints, deepening, concretising, reasoning steps, breadth."""


class Paraphrases:
    """Of every example's prompt, in an order of chance."""

    name = "paraphrases"

    def __init__(self, examples: Sequence[Example], config: SynthesizeConfig) -> None:
        self._examples, self._config = shuffled(examples, config), config

    def rounds(self, kept: Sequence[Candidate]) -> Iterator[list[Call]]:
        del kept
        instructions = PARAPHRASE.format(count=self._config.per_item)
        return in_rounds(
            Call(key=f"paraphrases {example.id}", messages=request(instructions, example.prompt), context=example)
            for example in self._examples
        )

    def candidates(self, call: Call, reply: str) -> list[Candidate]:
        example: Example = call.context
        origin = {"source": example.source, "example": example.id, "original": example.prompt}
        return [Candidate(prompt=text, completion=example.reference, origin=origin) for text in read_strings(reply)]

    def fault(self, candidate: Candidate) -> str | None:
        original = candidate.origin["original"]
        if normalise_prompt(candidate.prompt) == normalise_prompt(original):
            return "it is the prompt itself"
        if sorted(NUMBER.findall(candidate.prompt)) != sorted(NUMBER.findall(original)):
            return "it has other numbers than the prompt"
        if bool(NEGATION.search(candidate.prompt)) != bool(NEGATION.search(original)):
            return "it negates what the prompt does not, or the other way round"
        ratio = len(candidate.prompt) / max(1, len(original))
        return None if 1 / LONGEST_RATIO <= ratio <= LONGEST_RATIO else "it is much longer or shorter than the prompt"


class Harder:
    """Of every example, made harder in a way of chance."""

    name = "harder"
    fault = staticmethod(no_fault)

    def __init__(self, examples: Sequence[Example], config: SynthesizeConfig) -> None:
        self._examples, self._config = shuffled(examples, config), config

    def rounds(self, kept: Sequence[Candidate]) -> Iterator[list[Call]]:
        del kept
        return in_rounds(self._call(example) for example in self._examples)

    def _call(self, example: Example) -> Call:
        way = dice(self._config.seed, "harder", example.id).choice(WAYS)
        instructions = HARDER.format(count=self._config.per_item, way=way)
        messages = request(instructions, f"Prompt: {example.prompt}", f"Answer: {example.reference}")
        return Call(key=f"harder {example.id}", messages=messages, context=(example, way))

    def candidates(self, call: Call, reply: str) -> list[Candidate]:
        example, way = call.context
        origin = {"source": example.source, "example": example.id, "way": way}
        return questions_and_answers(reply, origin)


def shuffled(examples: Sequence[Example], config: SynthesizeConfig) -> list[Example]:
    """In an order of chance that growth of the data does not change: by a hash of seed and example."""
    return sorted(examples, key=lambda example: dice(config.seed, example.id).random())
