"""Which runs of words of one set of texts stand in others, too: how much of a test is in the training data.

    >>> index = GramIndex.of([("exam#1", "What is the boiling point of water at the height of two thousand metres?")], size=8)
    >>> scan = index.scan(["Tell me: what is the boiling point of water at the height of the sea?"])
    >>> scan.texts, scan.items, index.shares(scan)
    (array([0]), array([0]), array([0.57142857]))

The index holds the smaller set (test questions, benchmarks); the larger one streams past. Words are compared without case and
punctuation. Runs of 13 words are what GPT-3 was cleaned by (Brown et al. 2020, appendix C), of 8 what shorter texts need. A run that
more than ten texts of the index share is a phrase of their subject, not a trace of one of them (the same appendix counts so), and is
left out. Twenty bytes a run; hashes of 64 bits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.comparing.shingles import Hashes, hashes_of_runs, mix, ranges

GRAM_SIZES = (13, 8)
MOST_ITEMS = 10
"""Texts of the index that may share a run."""
BATCH_CHARACTERS = 1 << 17
"""Looked at together: their arrays fit a processor's cache."""

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts that are written without spaces: each character is a word."""
WORD = re.compile(f"[{_WIDE}]|[^\\W_{_WIDE}]+")
_ALONE_PATTERN = re.compile(f"[{_WIDE}]")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Positions = NDArray[np.int64]


class Scan(NamedTuple):
    """What of an index was met in the texts that went by."""

    texts: Positions
    """Texts with at least one of the index's runs, ascending."""
    items: Positions
    """For each of these, one text of the index that shares a run with it."""
    seen: NDArray[np.bool_]
    """(different runs,) of the index."""


@dataclass(frozen=True, kw_only=True)
class GramIndex:
    """Runs of `size` words of several texts, the items."""

    size: int
    names: tuple[str, ...]
    """Of the items: where each came from."""
    grams: Hashes
    """(different runs,), sorted."""
    firsts: NDArray[np.int32]
    """(different runs,): an item that holds it."""
    runs: NDArray[np.int32]
    """(all runs of all items,): which of `grams`."""
    owners: NDArray[np.int32]
    """(all runs of all items,): whose."""

    @classmethod
    def of(cls, items: Iterable[tuple[str, str]], size: int) -> GramIndex:
        """An index of named texts; a text of fewer words than `size` has no run in it."""
        names: list[str] = []
        hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for batch in _batches(items):
            found, counts = grams([text for _, text in batch], size)
            hashes.append(found)
            owners.append(np.repeat(np.arange(len(names), len(names) + len(batch)), counts))
            names += [name for name, _ in batch]
        return cls.of_runs(size, tuple(names), np.concatenate(hashes), np.concatenate(owners))

    @classmethod
    def of_runs(cls, size: int, names: tuple[str, ...], hashes: Hashes, owners: Positions) -> GramIndex:
        """An index of runs, each with the number of its item; those that many items share are left out."""
        order = np.lexsort((owners, hashes))
        own, whose = hashes[order], owners[order]
        is_new = np.ones(len(order), bool)
        is_new[1:] = (own[1:] != own[:-1]) | (whose[1:] != whose[:-1])
        own, whose = own[is_new], whose[is_new]
        different, starts, counts = np.unique(own, return_index=True, return_counts=True)
        kept = counts <= min(MOST_ITEMS, max(1, len(names) // 2))
        own = different[kept]
        places = np.minimum(np.searchsorted(own, hashes), max(len(own) - 1, 0))
        held = own[places] == hashes if len(own) else np.zeros(len(hashes), bool)
        return cls(
            size=size,
            names=names,
            grams=own,
            firsts=whose[starts[kept]].astype(np.int32),
            runs=places[held].astype(np.int32),
            owners=owners[held].astype(np.int32),
        )

    def scan(self, texts: Iterable[str]) -> Scan:
        """Let texts go by."""
        seen = np.zeros(len(self.grams), bool)
        positions, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        before = 0
        for batch in _batches(("", text) for text in texts):
            found, counts = grams([text for _, text in batch], self.size)
            runs, whose = self._met(found, np.repeat(np.arange(before, before + len(batch)), counts))
            seen[runs] = True
            first, places = np.unique(whose, return_index=True)
            positions.append(first)
            items.append(self.firsts[runs[places]].astype(np.int64))
            before += len(batch)
        return Scan(np.concatenate(positions), np.concatenate(items), seen)

    def _met(self, hashes: Hashes, whose: NDArray[Any]) -> tuple[Positions, Positions]:
        """Which of the index's runs these are, and whose, without those that are none."""
        maybe = np.flatnonzero(self._table[(hashes >> self._shift).astype(np.int64)])
        if not len(self.grams) or not len(maybe):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        asked = hashes[maybe]
        places = np.minimum(np.searchsorted(self.grams, asked), len(self.grams) - 1)
        held = self.grams[places] == asked
        return places[held], whose[maybe[held]]

    def met(self, hashes: Hashes) -> Positions:
        """Which of the index's runs are among these."""
        return self._met(hashes, np.zeros(len(hashes), np.int8))[0]

    @cached_property
    def _shift(self) -> np.uint64:
        """Leaves the upper bits: about four more than number the runs."""
        return np.uint64(64 - min(26, max(10, len(self.grams).bit_length() + 4)))

    @cached_property
    def _table(self) -> NDArray[np.bool_]:
        """By the upper bits of a hash: is there any run with them? Nearly all others are ruled out so, in one look."""
        table = np.zeros(1 << (64 - int(self._shift)), bool)
        table[(self.grams >> self._shift).astype(np.int64)] = True
        return table

    def shares(self, scan: Scan) -> NDArray[np.float64]:
        """(items,): which part of an item's runs was met; 0 for one that has none."""
        return self.known(scan.seen)

    def known(self, seen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The same for several scans: `seen` is true where one of them met the run."""
        total = np.bincount(self.owners, minlength=len(self.names))
        met = np.bincount(self.owners, weights=seen[self.runs], minlength=len(self.names))
        return np.asarray(met / np.maximum(total, 1))

    @property
    def num_items(self) -> int:
        """Items that have a run at all."""
        return len(np.unique(self.owners))


def words_of(text: str) -> list[str]:
    """Words without case and punctuation."""
    return WORD.findall(_spelled(text))


def grams(texts: Sequence[str], size: int) -> tuple[Hashes, Positions]:
    """The hashes of all runs of `size` words, text by text, and how many each text has."""
    [found] = runs_of(texts, (size,))
    return found


def runs_of(texts: Sequence[str], sizes: Sequence[int]) -> list[tuple[Hashes, Positions]]:
    """As `grams`, for several sizes, ascending, at once: words are found and hashed in arrays of all texts' characters together."""
    words, numbers = _word_hashes(texts)
    starts = np.cumsum(numbers) - numbers
    found, total = [], np.zeros(len(words), np.uint64)
    for ahead in range(max(sizes)):
        left = max(len(words) - ahead, 0)
        total = total[:left] * _FACTOR + words[ahead:]
        if ahead + 1 in sizes:
            counts = np.maximum(numbers - ahead, 0)
            found.append((mix(total[ranges(starts, counts)]), counts))
    return found


def _word_hashes(texts: Sequence[str]) -> tuple[Hashes, Positions]:
    """Of all words as `words_of` finds them, and how many each text has."""
    spelled = [_spelled(text) for text in texts]
    points = np.frombuffer("\n".join([*spelled, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = _kinds(int(points.max()) if len(points) else 0)[points]
    begins, ends = kinds == _ALONE, kinds == _ALONE
    is_letter = kinds == _LETTER
    begins[1:] |= is_letter[1:] & ~is_letter[:-1]
    begins[:1] |= is_letter[:1]
    ends[:-1] |= is_letter[:-1] & ~is_letter[1:]  # a line end follows the last text
    starts = np.flatnonzero(begins)
    hashes = hashes_of_runs(points[kinds != _NONE], np.flatnonzero(ends) + 1 - starts)
    bounds = np.cumsum(np.fromiter((len(text) + 1 for text in spelled), np.int64, len(spelled)))
    return hashes, np.diff(np.searchsorted(starts, bounds), prepend=0)


def _spelled(text: str) -> str:
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold()


_NONE, _LETTER, _ALONE = 0, 1, 2


def _kinds(highest: int) -> NDArray[np.uint8]:
    """What each code point is to WORD: nothing, part of a word, or a word by itself."""
    return _kinds_below(next(size for size in (0x80, 0x10000, 0x110000) if highest < size))


@lru_cache(maxsize=3)
def _kinds_below(size: int) -> NDArray[np.uint8]:
    kinds = np.fromiter(map(str.isalnum, map(chr, range(size))), np.uint8, size)
    for match in _ALONE_PATTERN.finditer("".join(map(chr, range(min(size, 0x10000))))):
        kinds[match.start()] = _ALONE
    return kinds


def _batches(items: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    batch, size = [], 0
    for item in items:
        batch.append(item)
        size += len(item[1]) + 1
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
