"""Which examples train, which validate, which test: never two of one cluster on two sides.

    >>> sides = assign_sides(clusters, prompts, Wanted(test_fraction=0.1, validation_fraction=0.05, seed=123))
    >>> np.bincount(sides)          # train, validation, test
    array([1174,   67,  154])

A cluster holds what must stay together: equal prompts, near duplicates, one group (`clusters.py`). Its side follows from a hash of
the seed and of its *key*, the smallest hash of its members' prompts: below the test fraction it tests, from there to the
validation fraction it validates. So the sizes are about, not exactly, what the fractions say, nothing depends on the order of the rows,
and an example keeps its side when rows are added. It moves only where a new row
  - joins its cluster with a smaller hash, or joins two clusters, so that they get another key (near duplicates are told by what is
    peculiar to each text, so a template that becomes common can join two as well);
  - makes the data so large that a cluster too large to be held out (larger than a whole split should be) no longer is;
  - is the first whose hash alone falls below the fraction, in a set so small that another example had to stand in: a wanted test
    split has at least one example from three on, a validation split from ten on.
With classes or times a split is filled up to its size instead (`Wanted.by_quota`), and examples near the border may move as their class,
or the time, goes on. Data prepared with `--like` an earlier directory never move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.comparing.shingles import mix
from tunesmith.errors import DataError

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Sides, as in `prepared.SPLIT_NAMES`."""
FREE = -1
"""Not decided yet."""

Sides = NDArray[np.int8]
Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]

FEWEST_TO_TEST = 3
"""From this many examples on, a wanted test split is never empty."""
FEWEST_TO_VALIDATE = 10
"""From this many examples on, a wanted validation split is never empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """How much to hold out."""

    test_fraction: float
    validation_fraction: float
    seed: int

    def numbers(self, num_examples: int) -> tuple[int, int]:
        """Examples to test and to validate with, halves rounded up."""
        return (
            _wanted(num_examples, self.test_fraction, FEWEST_TO_TEST),
            _wanted(num_examples, self.validation_fraction, FEWEST_TO_VALIDATE),
        )

    def num_sides(self, num_examples: int) -> int:
        """How many sides need an example, training included."""
        return 1 + sum(number > 0 for number in self.numbers(num_examples))


def _wanted(num_examples: int, fraction: float, fewest: int) -> int:
    at_least = 1 if fraction > 0 and num_examples >= fewest else 0
    return max(at_least, math.floor(num_examples * fraction + 0.5))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Clusters:
    """Everything about clusters that are not decided yet, each array (clusters,), in the order of their hashes."""

    number: Positions
    """Of the cluster."""
    size: Positions
    share: NDArray[np.float64]
    """From 0 to 1, evenly spread: the hash of seed and key."""
    stratum: Hashes
    time: NDArray[np.float64]
    """Of the oldest member."""

    def __len__(self) -> int:
        return len(self.number)


def assign_sides(
    clusters: Positions,
    prompts: Hashes,
    wanted: Wanted,
    *,
    fixed: Sides | None = None,
    strata: Hashes | None = None,
    times: NDArray[np.float64] | None = None,
) -> Sides:
    """(examples,) the side of each.

    Args:
        clusters: (examples,) number of each example's cluster.
        prompts: (examples,) hash of each example's normalised prompt.
        wanted: how much to hold out of the clusters that are free.
        fixed: (examples,) sides that are decided, FREE elsewhere. A cluster with a test example tests, else one with a validation
            example validates, else one with a training example trains; the decided examples themselves stay where they are.
        strata: (examples,) classes; each is held out in proportion, a class of three examples on has one to test.
        times: (examples,) the newest clusters test, those before them validate.

    Raises:
        DataError: nothing would be left to train on, or too few clusters to hold any out.
    """
    numbers = np.unique(clusters, return_inverse=True)[1].reshape(-1).astype(np.int64)
    sides = np.full(int(numbers.max(initial=-1)) + 1, FREE, np.int8)
    if fixed is not None:
        for side in (TRAIN, VALIDATION, TEST):  # the last one wins
            sides[numbers[fixed == side]] = side
    free = _free_clusters(numbers, sides, prompts, wanted.seed, strata, times)
    if strata is not None or times is not None:
        chosen = _by_quota(free, wanted, by_time=times is not None)
    else:
        chosen = _by_hash(free, wanted.numbers(len(clusters)), wanted, decided=set(sides.tolist()))
    sides[free.number] = chosen
    result: Sides = sides[numbers] if fixed is None else np.where(fixed == FREE, sides[numbers], fixed)
    _require_train(result, len(sides), wanted, is_tested=bool((result == TEST).any()) or wanted.test_fraction == 0)
    return result


def _free_clusters(
    numbers: Positions, sides: Sides, prompts: Hashes, seed: int, strata: Hashes | None, times: NDArray[np.float64] | None
) -> _Clusters:
    """Of examples sorted by cluster and prompt, the first of each cluster stands for it."""
    order = np.lexsort((prompts, numbers))
    starts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
    representatives = order[starts]
    hashes = mix(prompts[representatives] ^ mix(np.full(len(starts), seed % 2**64, np.uint64)))
    ranked = np.lexsort((prompts[representatives], hashes))
    ranked = ranked[sides[ranked] == FREE]
    oldest = np.minimum.reduceat(times[order], starts) if times is not None and len(starts) else np.zeros(len(starts))
    return _Clusters(
        number=ranked,
        size=np.bincount(numbers)[ranked] if len(numbers) else ranked,
        share=hashes[ranked] / 2.0**64,
        stratum=np.zeros(len(ranked), np.uint64) if strata is None else strata[representatives][ranked],
        time=oldest[ranked],
    )


def _by_hash(free: _Clusters, numbers: tuple[int, int], wanted: Wanted, *, decided: set[int]) -> Sides:
    """By thresholds on the hash; a cluster larger than what is wanted trains. (`decided`: sides that have examples already.)"""
    num_test, num_validation = numbers
    border = wanted.test_fraction + wanted.validation_fraction
    sides = np.zeros(len(free), np.int8)
    sides[(free.share < wanted.test_fraction) & (free.size <= num_test)] = TEST
    sides[(free.share >= wanted.test_fraction) & (free.share < border) & (free.size <= num_validation)] = VALIDATION
    for side, number in ((TEST, num_test), (VALIDATION, num_validation)):
        if number and side not in decided and not (sides == side).any():
            _stand_in(sides, side, free.size, number)
    if TRAIN not in decided and not (sides == TRAIN).any():
        _give_back(sides)
    return sides


def _stand_in(sides: Sides, side: int, sizes: Positions, number: int) -> None:
    """Where no hash fell on a wanted side: the first cluster that fits, else the smallest, of a side that has others."""
    for other in (TRAIN, VALIDATION if side == TEST else TEST):
        candidates = np.flatnonzero(sides == other)
        if len(candidates) > 1:
            fitting = candidates[sizes[candidates] <= number]
            sides[fitting[0] if len(fitting) else candidates[np.argmin(sizes[candidates])]] = side
            return


def _give_back(sides: Sides) -> None:
    """Where no hash fell on the training side: the last cluster trains, if its split has another."""
    for place in range(len(sides) - 1, -1, -1):
        if np.count_nonzero(sides == sides[place]) > 1:
            sides[place] = TRAIN
            return


def _by_quota(free: _Clusters, wanted: Wanted, *, by_time: bool) -> Sides:
    """Fill the test split up to its size, then the validation split: the newest first, or class by class in the order of hashes."""
    sides = np.zeros(len(free), np.int8)
    order = np.argsort(-free.time, kind="stable") if by_time else np.argsort(free.stratum, kind="stable")
    ends = np.flatnonzero(np.diff(free.stratum[order])) + 1
    for members in [order] if by_time else np.split(order, ends):
        num_test, num_validation = wanted.numbers(int(free.size[members].sum()))
        test = _take(members, free.size, num_test)
        sides[test] = TEST
        rest = members[sides[members] == TRAIN]
        sides[_take(rest, free.size, num_validation)] = VALIDATION
    return sides


def _take(order: Positions, sizes: Positions, wanted: int) -> list[int]:
    """Clusters of `wanted` examples together, or as near below as their sizes allow, yet at least one, and never all."""
    taken: list[int] = []
    room = wanted
    for place in order.tolist():
        if sizes[place] <= room and len(taken) + 1 < len(order):
            taken.append(place)
            room -= int(sizes[place])
        if not room:
            break
    if wanted and not taken and len(order) > 1:
        taken.append(int(order[np.argmin(sizes[order])]))  # every cluster is larger than what is wanted
    return taken


def _require_train(sides: Sides, num_clusters: int, wanted: Wanted, *, is_tested: bool) -> None:
    num_test, num_validation = wanted.numbers(len(sides))
    if (sides == TRAIN).any() and (is_tested or not num_test):
        return
    raise DataError(
        "the split",
        f"nothing is left to train on: {len(sides):,} examples with {num_clusters:,} different prompts, of which "
        f"about {num_test:,} are to be held out for testing and {num_validation:,} for validation",
        expected="different prompts for each split",
        remedy="add examples with other prompts, or lower `--test-fraction` and `--validation-fraction` (0 holds out none)",
    )


def assign_folds(clusters: Positions, prompts: Hashes, num_folds: int, seed: int, *, strata: Hashes | None = None) -> Positions:
    """(examples,) the fold, from 0, in which each example tests: by the hash of its cluster; with classes dealt out one by one.

    Raises:
        DataError: a fold would be empty.
    """
    numbers = np.unique(clusters, return_inverse=True)[1].reshape(-1).astype(np.int64)
    sides = np.full(int(numbers.max(initial=-1)) + 1, FREE, np.int8)
    all_clusters = _free_clusters(numbers, sides, prompts, seed, strata, None)
    folds = np.zeros(len(sides), np.int64)
    if strata is None:
        folds[all_clusters.number] = (all_clusters.share * num_folds).astype(np.int64)
    else:
        by_class = np.argsort(all_clusters.stratum, kind="stable")
        folds[all_clusters.number[by_class]] = np.arange(len(by_class)) % num_folds
    if len(np.unique(folds)) < num_folds:
        found = f"{len(sides):,} different prompts leave some of {num_folds} folds empty"
        raise DataError("the folds", found, expected="examples for every fold", remedy="lower `--folds`, or add examples")
    return folds[numbers]
