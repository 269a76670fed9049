"""How near the prompts of one data set are to each other: what is unusual lies further away than most of them do.

>>> usual = Usual.of(to_others(vectors, examples))
>>> usual.least          # nine in ten training prompts have a nearer neighbour
0.58

What is near depends on the data: prompts about one product are all alike, those of a general assistant are not. So it is read off the
prompts themselves, each compared with those that may be on the other side of a split, as a held-out prompt is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.comparing.nearest import AT_ONCE, product
from tunesmith.data.comparing.neighbours import neighbours
from tunesmith.types import Example

USUAL_SAMPLE = 2_000
"""Training examples by which it is told what is usual, evenly spaced."""
FEWEST_USUAL = 50
"""Of fewer nothing is usual."""
UNUSUAL = 0.1
"""Of the training prompts have a nearest neighbour further away than what is called near."""


class Usual(NamedTuple):
    """How near training prompts are to the nearest other one, near duplicates left out."""

    least: float
    """Nine in ten are nearer."""
    middle: float
    """The median."""

    @classmethod
    def of(cls, similarities: NDArray[Any]) -> Usual | None:
        """None of few."""
        if len(similarities) < FEWEST_USUAL:
            return None
        return cls(float(np.quantile(similarities, UNUSUAL)), float(np.median(similarities)))


def to_others(known: Any, examples: Sequence[Example]) -> NDArray[np.float64]:
    """(at most a sample,): of examples, the similarity to the nearest one that may be on the other side of a split.

    Args:
        known: (examples, dimensions), dense or sparse, rows of length one.
        examples: whose prompts these are.
    """
    group = np.unique(np.array([example.group for example in examples]), return_inverse=True)[1]
    cluster = neighbours(examples).prompts  # near prompts never straddle splits, nor do groups
    sample = np.unique(np.linspace(0, len(examples) - 1, min(len(examples), USUAL_SAMPLE)).astype(np.int64))
    found = np.zeros(len(sample))
    for start in range(0, len(sample), AT_ONCE):
        rows = sample[start : start + AT_ONCE]
        similarities = product(known[rows], known)
        similarities[(group[rows][:, None] == group) | (cluster[rows][:, None] == cluster)] = -np.inf
        found[start : start + AT_ONCE] = similarities.max(axis=1)
    return found[np.isfinite(found)]
