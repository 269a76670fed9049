"""Which examples of a split are asked."""

from __future__ import annotations

import random
from collections.abc import Callable

from tunesmith.config import EvaluateConfig
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import DataError
from tunesmith.types import Example


def choose_examples(data: PreparedData, config: EvaluateConfig, say: Callable[[str], None]) -> list[Example]:
    """The split, or a seeded sample of it in its order; an answer judged undesirable is no reference to be measured by.

    Raises:
        DataError: there is none.
    """
    held_out = {"train": data.train, "validation": data.validation, "test": data.test}[config.split]
    examples = [example for example in held_out if example.label is not False]
    if len(examples) < len(held_out):
        say(f"left out of the evaluation: {len(held_out) - len(examples):,} examples whose answers are undesirable")
    if not examples:
        raise DataError(
            str(data.directory),
            f"the {config.split} split is empty" if not held_out else f"all answers of the {config.split} split are undesirable",
            expected="held-out examples",
            remedy="prepare the data with a larger --test-fraction, or evaluate --split validation",
        )
    if config.limit is None or config.limit >= len(examples):
        return examples
    chosen = set(random.Random(config.seed).sample(range(len(examples)), config.limit))  # noqa: S311 - a sample, not a secret
    return [example for index, example in enumerate(examples) if index in chosen]
