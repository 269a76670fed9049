"""A sample of the examples for checks whose work grows with every word: the same one however the examples are ordered or sliced.

sample = Sample(5_000)
sample.offer(position, example)
sample.taken()        # the examples whose ids have the smallest fingerprints: a uniform choice
"""

from __future__ import annotations

import heapq
from functools import lru_cache
from typing import NamedTuple, Self

from tunesmith.data.checks.counting import fingerprint
from tunesmith.types import Example

_LARGEST = 1 << 64


class Taken(NamedTuple):
    """What is kept of an example."""

    order: int
    """Minus the fingerprint of its id, so that a heap has the largest on top."""
    position: int
    source: str
    prompt: str
    answer: str
    """The text itself for raw text."""


_number = lru_cache(maxsize=4)(fingerprint)
"""Several samples are offered the same example, one after another."""


class Sample:
    """At most `size` of all examples offered."""

    def __init__(self, size: int, *, most_characters: int = 4_000) -> None:
        """Of each text, the first `most_characters` are kept."""
        self.size, self.most_characters = size, most_characters
        self._heap: list[Taken] = []
        self._limit = _LARGEST

    def offer(self, position: int, example: Example) -> None:
        """Keep the example if the fingerprint of its id is among the smallest so far."""
        number = _number(example.id)
        if number >= self._limit:
            return
        cut = self.most_characters
        self._push(Taken(-number, position, example.source, example.prompt[:cut], example.reference[:cut]))

    def merge(self, other: Self) -> None:
        """Take in a sample of other examples."""
        for taken in other._heap:
            if -taken.order < self._limit:
                self._push(taken)

    def _push(self, taken: Taken) -> None:
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, taken)
        else:
            heapq.heappushpop(self._heap, taken)
        if len(self._heap) == self.size:
            self._limit = -self._heap[0].order

    def taken(self) -> list[Taken]:
        """In the order of their positions."""
        return sorted(self._heap, key=lambda one: one.position)
