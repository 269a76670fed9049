"""Equal prompts stay on one side, and the side does not depend on the order of the rows."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.converting.examples import build_example
from tunesmith.data.splitting.passages import Splits
from tunesmith.data.splitting.split import TEST, TRAIN, VALIDATION, Wanted, assign_sides
from tunesmith.errors import DataError
from tunesmith.types import Example, Message


def example(number: int, prompt: str, completion: str = "yes") -> Example:
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=completion))
    return build_example(f"faq.jsonl:{number}", messages=messages)


def numbered(count: int) -> list[Example]:
    return [example(number, f"question {number}") for number in range(1, count + 1)]


def split_examples(examples: list[Example], test_fraction: float, validation_fraction: float, seed: int) -> Splits:
    """Examples of equal prompts are a cluster."""
    prompts = np.array([int(one.group, 16) for one in examples], np.uint64)
    clusters = np.unique(prompts, return_inverse=True)[1].reshape(-1).astype(np.int64)
    wanted = Wanted(test_fraction=test_fraction, validation_fraction=validation_fraction, seed=seed)
    sides = assign_sides(clusters, prompts, wanted)
    train, validation, test = (
        tuple(one for one, its in zip(examples, sides, strict=True) if its == side) for side in (TRAIN, VALIDATION, TEST)
    )
    return Splits(train=train, validation=validation, test=test)


def sources(examples: tuple[Example, ...]) -> list[int]:
    return [int(one.source.partition(":")[2]) for one in examples]


GOLDEN_TEST = [20]
GOLDEN_VALIDATION = [15]


def test_golden_split() -> None:
    """From this very function; a change of any number breaks the reproducibility of every earlier split."""
    splits = split_examples(numbered(20), 0.1, 0.05, seed=123)
    assert sources(splits.test) == GOLDEN_TEST
    assert sources(splits.validation) == GOLDEN_VALIDATION
    assert sources(splits.train) == [number for number in range(1, 21) if number not in GOLDEN_TEST + GOLDEN_VALIDATION]
    assert sources(split_examples(numbered(20), 0.1, 0.05, seed=124).test) != GOLDEN_TEST


@pytest.mark.parametrize(
    ("count", "test_fraction", "validation_fraction", "sizes"),
    [
        (1, 0.1, 0.05, (1, 0, 0)),
        (2, 0.1, 0.05, (2, 0, 0)),
        (10, 0.0, 0.0, (10, 0, 0)),
        (2000, 0.1, 0.0, (1800, 0, 200)),
        (2000, 0.0, 0.1, (1800, 200, 0)),
        (2000, 0.1, 0.05, (1700, 100, 200)),
    ],
)
def test_sizes(count: int, test_fraction: float, validation_fraction: float, sizes: tuple[int, int, int]) -> None:
    splits = split_examples(numbered(count), test_fraction, validation_fraction, seed=0)
    expected = zip((len(splits.train), len(splits.validation), len(splits.test)), sizes, strict=True)
    assert all(abs(size - wanted) <= 4 * math.sqrt(wanted if 0 < wanted < count else 0) for size, wanted in expected), splits


def test_small_sets_have_a_test_example_and_then_a_validation_example() -> None:
    for seed in range(30):
        assert split_examples(numbered(3), 0.1, 0.05, seed).test
        ten = split_examples(numbered(10), 0.1, 0.05, seed)
        assert ten.validation
        assert ten.test
        four = split_examples(numbered(4), 0.4, 0.5, seed)
        assert four.train
        assert four.validation
        assert four.test


def test_train_is_never_empty() -> None:
    with pytest.raises(DataError, match="5 examples with 1 different prompts"):
        split_examples([example(number, "same", str(number)) for number in range(5)], 0.1, 0.0, seed=0)
    with pytest.raises(DataError, match="nothing is left"):
        split_examples([], 0.1, 0.05, seed=0)


def test_large_groups_are_held_out_when_there_are_no_others() -> None:
    examples = [example(number, f"prompt {number % 2}", str(number)) for number in range(10)]
    splits = split_examples(examples, 0.1, 0.0, seed=0)
    assert (len(splits.train), len(splits.test)) == (5, 5)


def test_a_group_larger_than_what_is_wanted_goes_to_train() -> None:
    examples = [example(number, "popular" if number < 20 else f"prompt {number}", str(number)) for number in range(40)]
    for seed in range(20):
        splits = split_examples(examples, 0.1, 0.05, seed)
        assert {number for number in sources(splits.train) if number < 20} == set(range(20))


@given(st.integers(10, 300), st.integers(0, 300), st.integers(), st.sampled_from([0.1, 0.3]))
def test_an_example_keeps_its_side_when_rows_are_added(count: int, added: int, seed: int, fraction: float) -> None:
    before = split_examples(numbered(count), fraction, fraction, seed)
    after = split_examples(numbered(count + added), fraction, fraction, seed)
    for name in ("test", "validation"):
        kept = set(sources(getattr(before, name))) <= set(sources(getattr(after, name)))
        # A single one may have stood in for what no hash chose.
        assert kept or len(getattr(before, name)) == 1, name


groupings = st.lists(st.integers(0, 12), min_size=13, max_size=60)
fractions = st.floats(0, 0.4)


@given(groupings, fractions, fractions, st.integers(), st.randoms())
def test_laws(groups: list[int], test_fraction: float, validation_fraction: float, seed: int, shuffler: random.Random) -> None:
    examples = [example(number, f"prompt {group}", str(number)) for number, group in enumerate(groups)]
    try:
        splits = split_examples(examples, test_fraction, validation_fraction, seed)
    except DataError:
        assert len(set(groups)) <= 2
        return
    parts = (splits.train, splits.validation, splits.test)
    assert sorted(sources(splits.train + splits.validation + splits.test)) == list(range(len(examples)))
    assert all(sources(part) == sorted(sources(part)) for part in parts)
    held = [{one.group for one in part} for part in parts]
    assert not held[0] & held[1]
    assert not held[0] & held[2]
    assert not held[1] & held[2]

    shuffled = list(examples)
    shuffler.shuffle(shuffled)
    again = split_examples(shuffled, test_fraction, validation_fraction, seed)
    assert [sorted(sources(part)) for part in (again.train, again.validation, again.test)] == [sources(part) for part in parts]


def test_decided_examples_of_one_cluster_stay_where_they_are() -> None:
    """As in a set of prompts that are nearly the same, which was split apart and is prepared again like itself."""
    fixed = np.array([TRAIN, TEST, TRAIN, VALIDATION], np.int8)
    wanted = Wanted(test_fraction=0.25, validation_fraction=0.25, seed=0)
    sides = assign_sides(np.zeros(4, np.int64), np.arange(4, dtype=np.uint64), wanted, fixed=fixed)
    assert sides.tolist() == fixed.tolist()
    with pytest.raises(DataError, match="nothing is left to train on: 4 examples with 1 different prompts"):
        assign_sides(np.zeros(4, np.int64), np.arange(4, dtype=np.uint64), wanted, fixed=np.full(4, TEST, np.int8))
