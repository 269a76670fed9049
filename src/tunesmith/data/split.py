"""Examples -> no exact duplicates -> train, validation and test, a prompt never on two sides.

    >>> splits = split_examples(examples, test_fraction=0.1, validation_fraction=0.05, seed=123)
    >>> len(splits.train), len(splits.validation), len(splits.test)
    (1185, 70, 140)

Which examples are held out depends on what they say and on the seed, not on the order of the rows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunesmith.errors import DataError
from tunesmith.types import Example

FEWEST_TO_TEST = 3
"""From this many examples on, a wanted test split is never empty."""
FEWEST_TO_VALIDATE = 10
"""From this many examples on, a wanted validation split is never empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicate:
    """An example removed because an earlier one says the same."""

    source: str
    duplicate_of: str
    """The source of the one that is kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deduplicated:
    """Every example is in exactly one of the two."""

    examples: tuple[Example, ...]
    duplicates: tuple[Duplicate, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """Each in the order of the rows."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]


def remove_duplicates(examples: Iterable[Example]) -> Deduplicated:
    """Keep the first of examples that are equal but for spacing: the same prompt with another answer is no duplicate."""
    first: dict[object, Example] = {}
    duplicates = []
    for example in examples:
        kept = first.setdefault(_said(example), example)
        if kept is not example:
            duplicates.append(Duplicate(source=example.source, duplicate_of=kept.source))
    return Deduplicated(examples=tuple(first.values()), duplicates=tuple(duplicates))


def _said(example: Example) -> object:
    """All of an example's words in their order, spacing evened out, and what is preferred."""
    if example.text is not None:
        return " ".join(example.text.split())
    messages = tuple((message.role, " ".join(message.content.split())) for message in example.messages)
    rejected = None if example.rejected is None else " ".join(example.rejected.split())
    return messages, rejected, example.label


def split_examples(examples: Sequence[Example], test_fraction: float, validation_fraction: float, seed: int) -> Splits:
    """Hold out whole groups (`Example.group`) until the rounded number of examples is reached.

    Groups are taken in the order of a hash of seed and group; one too large for what is still wanted goes to train.

    Raises:
        DataError: nothing would be left to train on, or too few different prompts to hold any out.
    """
    sizes: dict[str, int] = {}
    for example in examples:
        sizes[example.group] = sizes.get(example.group, 0) + 1
    order = sorted(sizes, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest())
    num_test = _wanted(len(examples), test_fraction, FEWEST_TO_TEST)
    num_validation = _wanted(len(examples), validation_fraction, FEWEST_TO_VALIDATE)

    test = _take(order, sizes, num_test)
    validation = _take([group for group in order if group not in test], sizes, num_validation)
    if len(test) + len(validation) >= len(sizes):
        raise _nothing_to_train(len(examples), len(sizes), num_test, num_validation)
    return Splits(
        train=tuple(one for one in examples if one.group not in test and one.group not in validation),
        validation=tuple(one for one in examples if one.group in validation),
        test=tuple(one for one in examples if one.group in test),
    )


def _wanted(num_examples: int, fraction: float, fewest: int) -> int:
    """How many examples to hold out, halves rounded up."""
    at_least = 1 if fraction > 0 and num_examples >= fewest else 0
    return max(at_least, math.floor(num_examples * fraction + 0.5))


def _take(order: Sequence[str], sizes: dict[str, int], wanted: int) -> frozenset[str]:
    """Groups of `wanted` examples together, or as near below as their sizes allow, yet at least one when any is wanted."""
    taken, room = set(), wanted
    for group in order:
        if sizes[group] <= room:
            taken.add(group)
            room -= sizes[group]
    if wanted and not taken and order:
        taken.add(min(order, key=sizes.__getitem__))  # every group is larger than what is wanted
    return frozenset(taken)


def _nothing_to_train(num_examples: int, num_prompts: int, num_test: int, num_validation: int) -> DataError:
    return DataError(
        "the split",
        f"nothing is left to train on: {num_examples:,} examples with {num_prompts:,} different prompts, of which "
        f"{num_test:,} are to be held out for testing and {num_validation:,} for validation",
        expected="different prompts for each split",
        remedy="add examples with other prompts, or lower `--test-fraction` and `--validation-fraction` (0 holds out none)",
    )
