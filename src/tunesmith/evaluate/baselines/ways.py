"""Ways to have a question answered: what the model is shown before it, and which model.

    zero-shot          the question alone
    own prompt         the user's instructions before it
    few-shot           training questions with their answers before it, the nearest ones or the same for all
    retrieval          passages from training answers and documents before it
    tuned              the tuned model, the question alone
    tuned + retrieval  both
    endpoint           a larger model elsewhere, with the instructions where there are some

All stand in messages (a system message, earlier turns), so every way goes through the renderer that serving uses.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.evaluate.baselines.retrieval import Passage, Shelf
from tunesmith.types import Example, Message

Answerer = Literal["base", "tuned", "endpoint"]
READ_FIRST = "Use the following to answer, as far as it helps:"
"""Before retrieved passages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One row of the table."""

    name: str
    answerer: Answerer
    examples: tuple[Example, ...]
    """The held-out examples with what is shown before their questions; ids and references are untouched."""
    words: str
    """For people: what was done."""


def with_instructions(examples: Sequence[Example], instructions: str) -> list[Example]:
    """Put a system message first, or add to the one that is there."""
    return [_with_system(example, instructions) for example in examples]


def with_passages(examples: Sequence[Example], found: Sequence[Sequence[Passage]]) -> list[Example]:
    """Put what was found into the system message."""
    return [
        _with_system(example, "\n\n".join([READ_FIRST, *(passage.text for passage in passages)])) if passages else example
        for example, passages in zip(examples, found, strict=True)
    ]


def with_shots(examples: Sequence[Example], shots: Sequence[Sequence[Example]]) -> list[Example]:
    """Put training examples of one question before the question as earlier turns, the last one nearest to it."""
    changed = []
    for example, shown in zip(examples, shots, strict=True):
        turns = [message for shot in shown for message in shot.messages]
        system = [message for message in example.messages if message.role == "system"]
        rest = [message for message in example.messages if message.role != "system"]
        changed.append(dataclasses.replace(example, messages=(*system, *turns, *rest)))
    return changed


def _with_system(example: Example, text: str) -> Example:
    first, rest = example.messages[:1], example.messages
    if first and first[0].role == "system":
        text, rest = f"{first[0].content}\n\n{text}", rest[1:]
    return dataclasses.replace(example, messages=(Message(role="system", content=text), *rest))


def shots_for(
    examples: Sequence[Example], train: Sequence[Example], count: int, *, nearest: Shelf | None, seed: int
) -> list[list[Example]]:
    """For each example `count` training examples of one question and one answer.

    With a shelf (of those examples, in their order) the nearest, nearest last; without, the same seeded draw for all.
    """
    if nearest is None:
        drawn = random.Random(seed).sample(list(train), min(count, len(train)))  # noqa: S311 - a draw, not a secret
        return [drawn for _ in examples]
    of_passage = dict(zip(nearest.passages, train, strict=True))  # not by source: several may come from one document
    found = nearest.nearest([example.prompt for example in examples], count)
    return [[of_passage[passage] for passage in reversed(passages)] for passages in found]


def fit_into(examples: Sequence[Example], fits: Callable[[Example], bool]) -> tuple[Example, ...]:
    """Shorten what stands before the question until it fits: the earliest turns go first, then the end of the system message."""
    return tuple(_fitted(example, fits) for example in examples)


def _fitted(example: Example, fits: Callable[[Example], bool]) -> Example:
    while not fits(example):
        messages = example.messages
        turns = [place for place, message in enumerate(messages) if message.role == "user"]
        if len(turns) > 1:
            kept = (*messages[: turns[0]], *messages[turns[1] :])
        elif messages[0].role == "system" and len(messages[0].content) > 1:
            half = messages[0].content[: len(messages[0].content) * 3 // 4]
            kept = (Message(role="system", content=half), *messages[1:])
        else:
            return example  # the question itself is too long, and is cut as in every other way
        example = dataclasses.replace(example, messages=kept)
    return example
