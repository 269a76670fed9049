"""How long the examples of a split are in tokens, and how many a given limit takes in.

tokens        examples    so far
     1-40          312      22 %  ██████████
    41-80          716      73 %  ███████████████████████
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.render.chunks import Limits, check_all
from tunesmith.render.renderer import Renderer
from tunesmith.types import Example

BINS = 12
"""At most; their width is a round number."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Of n examples."""

    tokens: NDArray[np.int64]  # (n,)
    """Of each the longest side; of a long raw text its longest window."""
    num_tokens: int
    """Of all sides and windows."""
    num_supervised: int
    num_windows: int
    """As many as examples, unless raw texts were cut."""


def measure_lengths(examples: Sequence[Example], renderer: Renderer, max_length: int) -> Lengths:
    """Render all of them; nothing is refused or cut."""
    tokens = np.zeros(len(examples), np.int64)
    num_tokens = num_supervised = num_windows = first = 0
    for chunk in check_all(examples, renderer, Limits(max_length, "drop")):
        for side in chunk.sides:
            np.maximum.at(tokens, first + side.example, np.diff(side.starts))
            num_tokens += len(side.token_ids)
            num_supervised += int(np.count_nonzero(side.supervised))
        for one in chunk.too_long:
            tokens[first + one.number] = one.longest
            num_tokens += one.num_tokens
            num_supervised += one.num_supervised
        num_windows += len(chunk.sides[0].example) + len(chunk.too_long)
        first += chunk.num_examples
    return Lengths(tokens=tokens, num_tokens=num_tokens, num_supervised=num_supervised, num_windows=num_windows)


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of lengths from 1 on, in steps of `width`."""

    width: int
    counts: tuple[int, ...]

    @classmethod
    def of(cls, tokens: NDArray[np.int64]) -> Histogram:
        """With at most `BINS` bins whose width is 1, 2 or 5 times a power of ten."""
        longest = max(1, int(tokens.max(initial=0)))
        exact = longest / BINS
        power = 10 ** max(0, math.floor(math.log10(exact))) if exact > 1 else 1
        width = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= exact)
        return cls(width=width, counts=tuple(np.bincount((np.maximum(tokens, 1) - 1) // width).tolist()))

    @property
    def coverage(self) -> tuple[float, ...]:
        """Share of the examples up to the end of each bin."""
        total = max(1, sum(self.counts))
        return tuple(float(share) for share in np.cumsum(self.counts) / total)
