"""Counting what repeats among a million texts: 24 bytes for each text, and the words of those that come often.

repeats = Repeats()
repeats.add(position, "let's keep to the topic.", source, "Let's keep to the topic.")
repeats.at_least(3)      # [Repeated(text="let's keep to the topic.", positions=array([4, 7, 9]), …)]
"""

from __future__ import annotations

import hashlib
from array import array
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.finding import MOST_SPECIMENS, Specimen, excerpt

MOST_TEXTS = 50_000
"""Texts whose words are kept. When there are more, each loses one of its counts, and those that have none left are forgotten: a text
that makes up more than one in this many stays (lossy counting, Manku and Motwani, VLDB 2002). The numbers are exact in any case."""
SHOWN_CHARACTERS = 200


class Repeated(NamedTuple):
    """One text that stands in several places."""

    text: str
    positions: NDArray[np.int64]
    """Ascending."""
    specimens: tuple[Specimen, ...]
    num_wholes: int
    """Different texts that the places belong to."""


class _Known(NamedTuple):
    text: str
    first: list[tuple[str, str]]
    """Source and text of the first few places."""


class Repeats:
    """Where which text stands."""

    def __init__(self) -> None:
        self._prints = array("q")
        self._wholes = array("q")
        self._positions = array("q")
        self._known: dict[int, _Known] = {}
        self._counts: dict[int, int] = {}

    def add(self, position: int, text: str, source: str, shown: str, *, whole: str | None = None) -> None:
        """`text` stands at `position`, which is after all earlier ones, in `whole`; `shown` is what people see of the place."""
        number = fingerprint(text)
        self._wholes.append(number if whole is None else fingerprint(whole))
        self._prints.append(number)
        self._positions.append(position)
        if number in self._counts:
            self._counts[number] += 1
            known = self._known[number].first
            if len(known) < MOST_SPECIMENS:
                known.append((source, shown[:SHOWN_CHARACTERS]))
        else:
            if len(self._counts) >= MOST_TEXTS:
                self._forget()
            self._counts[number] = 1
            self._known[number] = _Known(text, [(source, shown[:SHOWN_CHARACTERS])])

    def _forget(self) -> None:
        self._counts = {number: count - 1 for number, count in self._counts.items() if count > 1}
        self._known = {number: self._known[number] for number in self._counts}

    def merge(self, other: Self) -> None:
        """Take in texts of later positions."""
        self._prints.extend(other._prints)
        self._wholes.extend(other._wholes)
        self._positions.extend(other._positions)
        for number, count in other._counts.items():
            self._counts[number] = self._counts.get(number, 0) + count
            known = other._known[number]
            if number in self._known:
                mine = self._known[number].first
                mine += known.first[: MOST_SPECIMENS - len(mine)]
            else:
                self._known[number] = known
        while len(self._counts) > 2 * MOST_TEXTS:
            self._forget()

    def __len__(self) -> int:
        return len(self._prints)

    def at_least(self, fewest: float) -> list[Repeated]:
        """Texts that stand in so many places, the most frequent first."""
        if not self._prints:
            return []
        prints, positions, wholes = (np.frombuffer(one, np.int64) for one in (self._prints, self._positions, self._wholes))
        order = np.argsort(prints, kind="stable")
        starts = np.flatnonzero(np.diff(prints[order], prepend=prints[order[0]] - 1))
        sizes = np.diff(starts, append=len(order))
        found = []
        for place in np.flatnonzero(sizes >= fewest):
            members = order[starts[place] : starts[place] + sizes[place]]
            known = self._known.get(int(prints[members[0]]))
            if known is not None:
                specimens = tuple(Specimen(source=source, excerpt=excerpt(shown)) for source, shown in known.first)
                found.append(Repeated(known.text, positions[members], specimens, len(np.unique(wholes[members]))))
        return sorted(found, key=lambda one: (-len(one.positions), one.text))


def fingerprint(text: str) -> int:
    """63 bits of a text, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big") >> 1
