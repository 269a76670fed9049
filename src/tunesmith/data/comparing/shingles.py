"""Texts -> shingles: the runs of four characters that a text is compared by, as 64-bit hashes, many texts at once.

    >>> similarity("How do I enable X?", "how do I enable X")
    1.0
    >>> round(similarity("How do I enable X?", "How do I disable X?"), 2)
    0.5

Texts are compared after `normalise`: case, width, spacing and the punctuation around words do not count; signs between and inside
words do, for `5 + 3` is not `5 - 3`. Similarity is Jaccard's: shingles in both over shingles in either. A word of seven letters in
another's place costs ten shingles on each side, so at a threshold of 0.8 one such word may differ in ninety characters, and a
question of five words has to be equal but for an ending. That is meant: the shorter a text, the more a word means.

Hashes come from arithmetic on code points alone, so they are the same in every process and on every machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

SHINGLE_CHARACTERS = 4
"""Measured on edits of two sets of questions (docs/data.md): of three, more exchanged words pass; of five, more slips of the pen do not."""
COMMON_SHARE = 0.3
"""A shingle in more than this share of the texts belongs to a template around them, and tells nothing about them. (Of two sources
with a template each, half of the texts have either.)"""
FEWEST_FOR_COMMON = 100
"""Different texts from which on templates are looked for: among fewer, a third of them being near duplicates is nothing rare."""
COMMON_SAMPLE = 2000
"""Texts that are looked at for it, those with the smallest hashes: whatever their order."""

EDGES = "\"'“”‘’«»()[]*_`.,;:!?…"
"""Punctuation that is taken off both ends of a word."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def normalise(text: str) -> str:
    """What a text says, its looks aside; punctuation alone stays as it is, so that only nothing becomes empty."""
    words = (text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold().split()
    return " ".join([bare for word in words if (bare := word.strip(EDGES))]) or " ".join(words)


def mix(values: Hashes) -> Hashes:
    """Spread 64-bit numbers evenly, one to one: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    return _mix_in_place(values.copy())


def _mix_in_place(values: Hashes) -> Hashes:
    """`mix`, without a new array for each of its steps."""
    shifted = np.empty_like(values)
    values += _ODD
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        np.right_shift(values, np.uint64(shift), out=shifted)
        values ^= shifted
        values *= factor
    np.right_shift(values, np.uint64(31), out=shifted)
    values ^= shifted
    return values


_TABLE = mix(np.arange(1 << 12, dtype=np.uint64))
"""Of the code points that nearly all texts are made of."""


def _mixed_points(points: NDArray[np.uint32]) -> Hashes:
    """`mix` of code points, looked up where they are small."""
    if len(points) and int(points.max()) >= len(_TABLE):
        return _mix_in_place(points.astype(np.uint64))
    return np.asarray(_TABLE[points])


class Shingled(NamedTuple):
    """Shingles of several texts, one after another, repeated as often as they occur."""

    hashes: Hashes
    """(all shingles,)"""
    offsets: NDArray[np.int64]
    """(texts + 1,): those of text i are `hashes[offsets[i] : offsets[i + 1]]`; every text has at least one."""


def shingles(texts: Sequence[str], common: Hashes | None = None) -> Shingled:
    """Shingles of normalised texts, without the `common` ones (sorted) where a text has any others."""
    padded = [f" {text} ".ljust(SHINGLE_CHARACTERS) for text in texts]
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32)
    counts = lengths - (SHINGLE_CHARACTERS - 1)
    whole = np.ones(len(points), bool)
    ends = np.cumsum(lengths)
    for back in range(1, SHINGLE_CHARACTERS):
        whole[ends - back] = False  # would reach into the next text
    hashes = _windows(points)[whole[: max(len(points) - SHINGLE_CHARACTERS + 1, 0)]]
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
    return _without(Shingled(hashes, offsets), common) if common is not None and len(common) else Shingled(hashes, offsets)


def _windows(points: NDArray[np.uint32]) -> Hashes:
    """The hash of every run of SHINGLE_CHARACTERS code points: a polynomial of well mixed values, mixed again."""
    values = _mixed_points(points)
    count = max(len(points) - SHINGLE_CHARACTERS + 1, 0)
    total = values[:count].copy()
    for ahead in range(1, SHINGLE_CHARACTERS):
        total *= _ODD
        total += values[ahead : ahead + count]
    return _mix_in_place(total)


def _without(shingled: Shingled, common: Hashes) -> Shingled:
    """A text made of nothing but common shingles keeps them."""
    hashes, offsets = shingled
    kept = ~_among(hashes, common)
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)))
    counts = before[offsets[1:]] - before[offsets[:-1]]
    for text in np.flatnonzero(counts == 0):
        kept[offsets[text] : offsets[text + 1]] = True
        counts[text] = offsets[text + 1] - offsets[text]
    return Shingled(hashes[kept], np.concatenate((np.zeros(1, np.int64), np.cumsum(counts))))


def _among(hashes: Hashes, common: Hashes) -> NDArray[np.bool_]:
    """Which are in `common`; a table over sixteen bits answers no for nearly all others at once."""
    table = np.zeros(1 << 16, bool)
    table[(common & np.uint64(0xFFFF)).astype(np.int64)] = True
    found = table[(hashes & np.uint64(0xFFFF)).astype(np.int64)]
    maybe = np.flatnonzero(found)
    places = np.minimum(np.searchsorted(common, hashes[maybe]), len(common) - 1)
    found[maybe] = common[places] == hashes[maybe]
    return found


def shingle_set(text: str, common: Hashes | None = None) -> Hashes:
    """The different shingles of one normalised text, sorted."""
    return _different(shingles([text], common).hashes)


def _different(hashes: Hashes) -> Hashes:
    """Sorted, each once. (numpy's `unique` is slower on so few.)"""
    ranked = np.sort(hashes)
    return np.asarray(ranked[np.concatenate((np.ones(min(1, len(ranked)), bool), ranked[1:] != ranked[:-1]))])


def jaccard(first: Hashes, second: Hashes) -> float:
    """Of two sorted sets that are not empty."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def similarity(first: str, second: str) -> float:
    """From 0 (not one shingle in common) to 1 (nothing differs that counts) between two texts as they are."""
    return jaccard(shingle_set(normalise(first)), shingle_set(normalise(second)))


def text_hashes(texts: Sequence[str]) -> Hashes:
    """(texts,): one number for each whole text; equal texts have equal ones, and two of a million others with a chance of 3e-8."""
    if not texts:
        return np.zeros(0, np.uint64)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return hashes_of_runs(np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32), lengths)


def hashes_of_runs(points: NDArray[np.uint32], lengths: NDArray[np.int64]) -> Hashes:
    """(texts,): `text_hashes` of texts whose code points follow each other in `points`."""
    starts = np.cumsum(lengths) - lengths
    terms = np.arange(len(points), dtype=np.uint64)
    terms -= np.repeat(starts.astype(np.uint64), lengths)  # the place within the text
    terms *= _ODD
    terms += _mixed_points(points)
    # A sum over mixed pairs of character and place: no order of summation, no end of a text, is special.
    terms = _mix_in_place(terms)
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)))
    return mix(sums[starts + lengths] - sums[starts] + lengths.astype(np.uint64))


def common_shingles(texts: Sequence[str]) -> Hashes:
    """Shingles, sorted, of templates around many of these different, normalised texts; none among few texts."""
    if len(texts) < FEWEST_FOR_COMMON:
        return np.zeros(0, np.uint64)
    chosen = np.argsort(text_hashes(texts), kind="stable")[:COMMON_SAMPLE]
    sets = [shingle_set(texts[number]) for number in chosen]
    found, counts = np.unique(np.concatenate(sets), return_counts=True)
    return np.asarray(found[counts > COMMON_SHARE * len(sets)])


MOST_AT_ONCE = 1 << 14
"""Texts or pairs that `pair_similarities` takes at once: their number stands in the upper bits, fifty are left for the shingle."""


def pair_similarities(texts: Sequence[str], first: NDArray[np.int64], second: NDArray[np.int64], common: Hashes) -> NDArray[np.float64]:
    """(pairs,): Jaccard of `texts[first[i]]` and `texts[second[i]]`, normalised ones."""
    assert len(texts) <= MOST_AT_ONCE
    assert len(first) <= MOST_AT_ONCE
    hashes, offsets = shingles(texts, common)
    keyed = _different(_numbered(hashes, np.diff(offsets)))
    starts = np.searchsorted(keyed, np.arange(len(texts) + 1, dtype=np.uint64) << np.uint64(50))
    sizes = np.diff(starts)
    bare = keyed & np.uint64((1 << 50) - 1)
    both = np.concatenate([_numbered(bare[ranges(starts[side], sizes[side])], sizes[side]) for side in (first, second)])
    both.sort()
    twice = both[1:][both[1:] == both[:-1]] >> np.uint64(50)
    shared = np.bincount(twice.astype(np.int64), minlength=len(first))
    either = sizes[first] + sizes[second] - shared
    return np.asarray(shared / either, np.float64)


def _numbered(hashes: Hashes, counts: NDArray[np.int64]) -> Hashes:
    """Each hash's upper fifty bits (or the fifty it has left), below the number of the text it belongs to."""
    numbers = np.repeat(np.arange(len(counts), dtype=np.uint64) << np.uint64(50), counts)
    return np.asarray(numbers | (hashes & np.uint64((1 << 50) - 1)))


def ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """start, start + 1, … of each range, one range after another."""
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    return np.asarray(np.arange(before[-1], dtype=np.int64) + np.repeat(starts - before[:-1], sizes))
