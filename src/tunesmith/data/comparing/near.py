"""Which texts are nearly equal: clusters of one set, and look-ups of one set's texts in another.

    >>> near_clusters(["How do I enable it?", "how do I enable it", "How do I disable it?"])
    array([0, 0, 2])
    >>> index = NearIndex(threshold=0.8)
    >>> index.add(["How do I enable it?", "What does it cost?"])
    >>> index.query("How do I enable it")
    array([0])

MinHash proposes, exact similarity (`shingles.py`) decides: a pair counts only if Jaccard's similarity of its sets of shingles
reaches the threshold, so there are no false pairs. Those missed: 160 minima fall into bands of rows, and texts that agree in one whole
band are compared; two texts of similarity s meet with probability 1 - (1 - s^rows)^bands. At a threshold of 0.8 these are 20 bands of
8: 0.975 for a pair right at the threshold, 0.998 at 0.85, 0.99999 at 0.9, and fifty in a million at 0.2, which is what unlike texts of
one language have at most. (Broder, On the resemblance and containment of documents, 1997; Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, chapter 3.)

Equal texts are compared once. What a third of the texts have in common, a template, is left out of the comparison. Texts wait in a
file beyond 64 MiB; what stays in memory for each is 4 bytes a band and some 40 more. Nothing depends on the order of the texts but
the numbers.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.comparing.shingles import (
    COMMON_SAMPLE,
    MOST_AT_ONCE,
    Hashes,
    common_shingles,
    mix,
    normalise,
    pair_similarities,
    ranges,
    shingles,
    text_hashes,
)
from tunesmith.workers import available_cores

Positions = NDArray[np.int64]

THRESHOLD = 0.8
NUM_MINIMA = 160
"""Minima a text; more cost time in proportion and find pairs nearer to the threshold."""
SEED = 4
WANTED_RECALL = 0.95
"""Of pairs right at the threshold; the number of rows a band is the largest that gives it."""
LONGEST = 100_000
"""Characters of a text that are compared; documents that agree so far are one document."""
BATCH_CHARACTERS = 1 << 17
"""Compared at once: their shingles fit a processor's cache."""
IN_MEMORY_BYTES = 1 << 26
MOST_ROUNDS = 8
"""Texts of one bucket that the others of it are compared with, one after another."""
LARGE_BUCKET = 1000
"""Members from which on a bucket gets one round: so large a one is a common phrase, and the other bands divide it."""
MOST_CANDIDATES = 64
"""Of one bucket that a look-up is compared with."""


def band_shape(threshold: float) -> tuple[int, int]:
    """Bands and rows of each for a threshold, out of NUM_MINIMA."""
    shapes = [(NUM_MINIMA // rows, rows) for rows in range(20, 0, -1)]
    return next((shape for shape in shapes if 1 - (1 - threshold ** shape[1]) ** shape[0] >= WANTED_RECALL), shapes[-1])


def near_clusters(texts: Iterable[str], *, threshold: float = THRESHOLD) -> Positions:
    """(texts,): for each the position of the first text that it is near to, perhaps by way of others; equal numbers, one cluster.

    A text that says nothing is near to none.
    """
    with TextStore() as store:
        store.extend(texts)
        return store.clusters(threshold)


class Texts(Protocol):
    """Normalised texts by position."""

    def get(self, positions: Positions) -> list[str]:
        """The texts at these positions."""

    def sizes(self, positions: Positions) -> Positions:
        """About how long each is."""


class TextStore:
    """Normalised texts by position, in memory or in a temporary file when they are many."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - closed by __exit__
        self._ends = [np.zeros(1, np.int64)]
        self._hashes = [np.zeros(0, np.uint64)]

    def __enter__(self) -> TextStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self.hashes)

    def extend(self, texts: Iterable[str]) -> None:
        """Normalise and keep texts."""
        self._file.seek(0, 2)
        for batch in _batches(normalise(text[:LONGEST]) for text in texts):
            encoded = [text.encode("utf-8", "surrogatepass") for text in batch]
            self._file.write(b"".join(encoded))
            self._ends.append(self._ends[-1][-1] + np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded))))
            self._hashes.append(text_hashes(batch))

    def keep(self, encoded: bytes, sizes: Positions, hashes: Hashes) -> None:
        """Texts that were normalised elsewhere: in UTF-8 one after another, the bytes of each, and numbers equal where they are."""
        self._file.seek(0, 2)
        self._file.write(encoded)
        self._ends.append(self._ends[-1][-1] + np.cumsum(sizes))
        self._hashes.append(hashes)

    @property
    def hashes(self) -> Hashes:
        """(texts,): equal where the texts are."""
        self._hashes = [np.concatenate(self._hashes)]
        return self._hashes[0]

    @property
    def _all_ends(self) -> Positions:
        """(texts + 1,): where each begins, and the last ends."""
        if len(self._ends) > 1:
            self._ends = [np.concatenate(self._ends)]
        return self._ends[0]

    def clusters(self, threshold: float = THRESHOLD, common: Hashes | None = None) -> Positions:
        """As `near_clusters` of the texts that are kept; `common` are the shingles of a template, looked for if None."""
        different = _Different(self, np.unique(self.hashes, return_index=True)[1])
        common = different.common() if common is None else common
        bands = _band_hashes(different, common, band_shape(threshold))
        return clusters_of(self, self.hashes, bands, common, threshold, are_different=True)

    def sizes(self, positions: Positions) -> Positions:
        """Bytes of each text."""
        return np.asarray(self._all_ends[positions + 1] - self._all_ends[positions])

    def get(self, positions: Positions) -> list[str]:
        """The texts at these positions."""
        texts = []
        for start, size in zip(self._all_ends[positions].tolist(), self.sizes(positions).tolist(), strict=True):
            self._file.seek(start)
            texts.append(self._file.read(size).decode("utf-8", "surrogatepass"))
        return texts


def clusters_of(
    texts: Texts, hashes: Hashes, bands: NDArray[np.uint32], common: Hashes, threshold: float, *, are_different: bool = False
) -> Positions:
    """As `near_clusters`, of texts with their hashes and what `bands_of` says of them.

    Args:
        texts: looked at where they share a bucket.
        hashes: (texts,) equal where the texts are; those of texts that say nothing are left alone.
        bands: (bands, texts); or (bands, different texts) in the order of their hashes, which `are_different` says.
        common: shingles that are not compared.
        threshold: from which two texts are near.
    """
    distinct, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    of_different = bands if are_different else bands[:, first]
    found = _components(of_different, _Different(texts, first), common, threshold)
    numbers = np.full(len(distinct), len(hashes), np.int64)
    np.minimum.at(numbers, found, first)  # the first position of each component
    clusters = numbers[found][which]
    says_nothing = np.flatnonzero(texts.sizes(np.arange(len(hashes))) == 0)
    clusters[says_nothing] = says_nothing
    return np.asarray(clusters, np.int64)


def similarities(texts: Texts, first: Positions, second: Positions, common: Hashes | None = None) -> NDArray[np.float64]:
    """(pairs,): Jaccard of the texts at two positions each."""
    common = np.zeros(0, np.uint64) if common is None else common
    found = [np.zeros(0)]
    running: deque[Future[NDArray[np.float64]]] = deque()
    with ThreadPoolExecutor(available_cores()) as threads:  # numpy sorts and counts beside other threads
        for start, end in _slices(texts.sizes(first) + texts.sizes(second)):
            positions, numbers = np.unique(np.concatenate((first[start:end], second[start:end])), return_inverse=True)
            pairs = (numbers[: end - start], numbers[end - start :])
            running.append(threads.submit(pair_similarities, texts.get(positions), *pairs, common))
            if len(running) > available_cores():  # the texts of a few slices are in memory
                found.append(running.popleft().result())
        return np.concatenate([*found, *(one.result() for one in running)])


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Lists of texts with some BATCH_CHARACTERS together, or MOST_AT_ONCE / 2."""
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text) + 1
        if size >= BATCH_CHARACTERS or len(batch) == MOST_AT_ONCE // 2:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Different(NamedTuple):
    """The different ones of some texts: number i is the text at `positions[i]`."""

    store: Texts
    positions: Positions

    def common(self) -> Hashes:
        # Numbers go by hash, so the first ones are those with the smallest.
        return common_shingles(self.store.get(self.positions[:COMMON_SAMPLE]))

    def slices(self) -> Iterator[tuple[int, int]]:
        """Ranges of numbers whose texts fit a batch."""
        return _slices(self.store.sizes(self.positions))

    def similar(self, first: Positions, second: Positions, common: Hashes, threshold: float) -> NDArray[np.bool_]:
        """(pairs,): which pairs of numbers reach the threshold."""
        return similarities(self.store, self.positions[first], self.positions[second], common) >= threshold


def _slices(sizes: Positions) -> Iterator[tuple[int, int]]:
    """Consecutive ranges that hold at most BATCH_CHARACTERS and MOST_AT_ONCE / 2, or one."""
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes + 1)))
    start = 0
    while start < len(sizes):
        end = int(np.searchsorted(before, before[start] + BATCH_CHARACTERS, side="right")) - 1
        end = min(max(end, start + 1), start + MOST_AT_ONCE // 2, len(sizes))
        yield start, end
        start = end


def _band_hashes(texts: _Different, common: Hashes, shape: tuple[int, int]) -> NDArray[np.uint32]:
    """(bands, different texts): equal where all minima of a band are. 32 bits do: what meets by chance is compared and told apart."""
    result = np.empty((shape[0], len(texts.positions)), np.uint32)
    for start, end in texts.slices():
        result[:, start:end] = _bands_of(texts.store.get(texts.positions[start:end]), common, shape)
    return result


def bands_of(texts: Sequence[str], common: Hashes, threshold: float) -> NDArray[np.uint32]:
    """(bands, texts): what texts meet by; `common` shingles are not compared."""
    shape = band_shape(threshold)
    found = [np.zeros((shape[0], 0), np.uint32)]
    for start, end in _slices(np.fromiter(map(len, texts), np.int64, len(texts))):
        found.append(_bands_of(texts[start:end], common, shape))
    return np.concatenate(found, axis=1)


def _bands_of(texts: Sequence[str], common: Hashes, shape: tuple[int, int]) -> NDArray[np.uint32]:
    """(bands, texts)."""
    import rensa

    bands, rows = shape
    hashes, offsets = shingles(texts, common)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), bands * rows, SEED)
    packed = b"".join([array("I", row).tobytes() for row in matrix.to_rows()])  # half the time of an array of lists
    minima = np.frombuffer(packed, np.uintc).reshape(len(texts), bands, rows)
    total = np.zeros((len(texts), bands), np.uint64)
    for row in range(rows):
        total = mix(total ^ minima[:, :, row])
    return np.asarray((total >> np.uint64(32)).astype(np.uint32).T)


def _components(bands: NDArray[np.uint32], texts: _Different, common: Hashes, threshold: float) -> Positions:
    """(different texts,): the component of each, connected by pairs that share a bucket and reach the threshold."""
    labels = np.arange(len(texts.positions), dtype=np.int64)
    for band in bands:
        members, buckets, large = _buckets(band)
        for number in range(MOST_ROUNDS):
            if not len(members):
                break
            begins = np.concatenate((np.ones(1, bool), buckets[1:] != buckets[:-1]))
            heads = members[begins][np.cumsum(begins) - 1]
            others = np.flatnonzero(labels[members] != labels[heads])
            near = texts.similar(heads[others], members[others], common, threshold)
            labels = _joined(labels, heads[others[near]], members[others[near]])
            left = others[~near]
            members, buckets, large = _in_company(members[left], buckets[left], large[left])
            if number == 0:
                members, buckets, large = members[~large], buckets[~large], large[~large]
    return labels


class _Members(NamedTuple):
    """Texts of full buckets, bucket by bucket."""

    members: Positions
    buckets: Positions
    large: NDArray[np.bool_]


def _buckets(band: NDArray[np.uint32]) -> _Members:
    """Those of a band that hold two texts or more."""
    keys = (band.astype(np.uint64) << np.uint64(32)) | np.arange(len(band), dtype=np.uint64)
    keys.sort()  # several times as fast as a stable `argsort`
    values = keys >> np.uint64(32)
    begins = np.concatenate((np.ones(min(1, len(values)), bool), values[1:] != values[:-1]))
    starts = np.flatnonzero(begins)
    sizes = np.diff(starts, append=len(values))
    kept = np.repeat(sizes > 1, sizes)
    members = (keys[kept] & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return _Members(members, (np.cumsum(begins) - 1)[kept], np.repeat(sizes >= LARGE_BUCKET, sizes)[kept])


def _in_company(members: Positions, buckets: Positions, large: NDArray[np.bool_]) -> _Members:
    """Those that are not alone in their bucket."""
    same = buckets[1:] == buckets[:-1]
    kept = np.zeros(len(buckets), bool)
    kept[1:] |= same
    kept[:-1] |= same
    return _Members(members[kept], buckets[kept], large[kept])


def _joined(labels: Positions, first: Positions, second: Positions) -> Positions:
    """Components after the pairs are connected."""
    if not len(first):
        return labels
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = (labels[first], labels[second])
    size = int(labels.max()) + 1
    _, components = connected_components(coo_array((np.ones(len(first), bool), pairs), shape=(size, size)), directed=False)
    return np.asarray(components[labels], np.int64)


class Match(NamedTuple):
    """A text that was asked for and one that was added."""

    query: int
    position: int
    similarity: float


class NearIndex:
    """Texts in which near ones can be found. Close it, or use it as a context manager, to give its file back."""

    def __init__(self, *, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold
        self._shape = band_shape(threshold)
        self._store = TextStore()
        self._common = np.zeros(0, np.uint64)
        self._bands = np.empty((self._shape[0], 0), np.uint32)
        self._tables: _Tables | None = None

    def __enter__(self) -> NearIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._store)

    def close(self) -> None:
        """Forget the texts."""
        self._store.__exit__()

    def add(self, texts: Iterable[str]) -> None:
        """Texts get the next positions. A template around them is looked for among those added first."""
        start = len(self._store)
        self._store.extend(texts)
        if not start:
            _, first = np.unique(self._store.hashes, return_index=True)
            self._common = _Different(self._store, first).common()
        added = _Different(self._store, np.arange(start, len(self._store)))
        self._bands = np.concatenate((self._bands, _band_hashes(added, self._common, self._shape)), axis=1)
        self._tables = None

    def query(self, text: str) -> Positions:
        """Positions of the texts near to this one, the most similar first."""
        found = sorted(self.matches([text]), key=lambda match: (-match.similarity, match.position))
        return np.array([match.position for match in found], np.int64)

    def matches(self, texts: Iterable[str]) -> list[Match]:
        """All near pairs of these texts and those added, by query and position. A text that says nothing is near to none."""
        if self._tables is None:
            self._tables = _Tables.of(self._store.hashes, self._bands)
        found: list[Match] = []
        asked = 0
        for batch in _batches(normalise(text[:LONGEST]) for text in texts):
            found += self._matches(batch, asked)
            asked += len(batch)
        return found

    def _matches(self, batch: Sequence[str], before: int) -> list[Match]:
        assert self._tables is not None
        queries, numbers = self._tables.candidates(_bands_of(batch, self._common, self._shape))
        said = np.array([bool(text) for text in batch])[queries]
        queries, numbers = queries[said], numbers[said]
        scores = self._scores(batch, queries, self._tables.first[numbers])
        near = scores >= self.threshold
        return [
            Match(before + query, position, score)
            for query, number, score in zip(queries[near].tolist(), numbers[near].tolist(), scores[near].tolist(), strict=True)
            for position in self._tables.positions(number)
        ]

    def _scores(self, batch: Sequence[str], queries: Positions, positions: Positions) -> NDArray[np.float64]:
        lengths = np.fromiter(map(len, batch), np.int64, len(batch))
        found = [np.zeros(0)]
        for start, end in _slices(lengths[queries] + self._store.sizes(positions)):
            asked, first = np.unique(queries[start:end], return_inverse=True)
            held, second = np.unique(positions[start:end], return_inverse=True)
            texts = [batch[query] for query in asked] + self._store.get(held)
            found.append(pair_similarities(texts, first, second + len(asked), self._common))
        return np.concatenate(found)


class _Tables(NamedTuple):
    """What a look-up needs. Number i is a different text, first added at `first[i]`."""

    first: Positions
    by_text: Positions
    """All positions, those of number 0 first."""
    ends: Positions
    orders: NDArray[np.int32]
    """(bands, numbers), by the hash of the band."""
    values: NDArray[np.uint32]
    """(bands, numbers), sorted."""

    @classmethod
    def of(cls, hashes: Hashes, bands: NDArray[np.uint32]) -> _Tables:
        _, first, which, counts = np.unique(hashes, return_index=True, return_inverse=True, return_counts=True)
        orders = np.empty((len(bands), len(first)), np.int32)
        values = np.empty((len(bands), len(first)), np.uint32)
        for band, own in enumerate(bands):
            orders[band] = np.argsort(own[first], kind="stable")
            values[band] = own[first][orders[band]]
        return cls(first, np.argsort(which, kind="stable"), np.cumsum(counts), orders, values)

    def positions(self, number: int) -> list[int]:
        start = int(self.ends[number - 1]) if number else 0
        return [int(position) for position in self.by_text[start : self.ends[number]]]

    def candidates(self, asked: NDArray[np.uint32]) -> tuple[Positions, Positions]:
        """Different pairs of a query and a number that share a bucket, by query; `asked` is (bands, queries)."""
        pairs = [np.zeros(0, np.int64)]
        for band, own in enumerate(asked):
            starts = np.searchsorted(self.values[band], own, side="left")
            sizes = np.minimum(np.searchsorted(self.values[band], own, side="right") - starts, MOST_CANDIDATES)
            numbers = self.orders[band][ranges(starts, sizes)]
            pairs.append(np.repeat(np.arange(len(own)), sizes) * len(self.first) + numbers)
        different = np.unique(np.concatenate(pairs))
        return different // max(len(self.first), 1), different % max(len(self.first), 1)
