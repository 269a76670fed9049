"""Where the segments of a pack lie, and who sees whom: what attention needs to know.

Attention works on rectangles. A row of one is a cell: a segment, or a small family of them (a question and its endings)
whose tokens lie one after another. Cells of similar size form a bucket. The keys of a cell are its own tokens, and before
them those of its ancestors outside the cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tunesmith.engine.kernels.attention import Paths, build_paths

BUCKET_RATIO = 0.7
"""Cells share an attention call with the longest of them when they are at least this fraction of its length."""
BUCKET_SLACK = 8
"""Among cells with ancestors, which are often short, or this many tokens shorter at most."""
FAMILY_RATIO = 2.0
"""A family becomes one cell when that computes at most so many times the products of its segments one by one."""
FAMILY_TOKENS = 640
"""The longest family that becomes one cell: its products grow with the square of its length."""


class AncestorBlock(NamedTuple):
    """One ancestor among the keys of a bucket: the same columns in some of the rows."""

    start: int
    """Its first token in the pack."""
    length: int
    column: int
    rows: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeKeys:
    """The keys of a bucket in which position alone does not decide who sees whom. A = ancestors' columns, C = A + L."""

    num_ancestors: int
    """A: columns before the cells' own tokens; 0 for families without ancestors."""
    blocks: tuple[AncestorBlock, ...]
    index: Tensor
    """(S·C,) the token of the pack at each place; any token where there is none."""
    is_token: Tensor
    """(S, C) False where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """Neighbouring cells of similar length, padded to a rectangle for attention only.

    S cells, L = the longest of them, N = the sum of their lengths.
    """

    start: int
    """First token of the bucket in the pack; its tokens are `start … start + N`."""
    lengths: tuple[int, ...]
    """Tokens of each cell."""
    pad_index: Tensor
    """(S·L,) which of the N tokens stands at each place of the rectangle (padding repeats a cell's last, its result unused)."""
    unpad_index: Tensor
    """(N,) the place of each token in the rectangle."""
    padding: Tensor
    """Places of the rectangle that are padding; empty when all cells have one length."""
    tree: TreeKeys | None
    """None: every cell is one segment without ancestors, and a token sees what comes before it in its row."""

    @property
    def num_cells(self) -> int:
        return len(self.lengths)

    @property
    def max_length(self) -> int:
        return max(self.lengths)

    @property
    def num_tokens(self) -> int:
        return sum(self.lengths)

    @property
    def num_keys(self) -> int:
        """Columns of the key rectangle."""
        return self.max_length + (self.tree.num_ancestors if self.tree else 0)


class Places(NamedTuple):
    """Of every token of a pack; (T,) each. A segment's family is a range of numbers, so kinship is two comparisons."""

    number: Tensor
    """Its segment's, counted parents first, each family without a gap."""
    family_end: Tensor
    """One past the last number of the segment's descendants."""
    position: Tensor
    """From 0 at the beginning of its sequence."""


def sees(query_number: Tensor, query_position: Tensor, key: Places, window: int | None) -> Tensor:
    """Whether a query sees a key: of its own segment or an ancestor, not later than itself, and within the window."""
    visible = (key.number <= query_number) & (query_number < key.family_end) & (key.position <= query_position)
    return visible if window is None else visible & (query_position - key.position < window)


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """What the attention function needs to keep the segments of a pack apart."""

    buckets: tuple[Bucket, ...]
    starts: tuple[int, ...]
    """First token of each segment in the pack."""
    places: Places
    max_position: int
    paths: Paths
    """For the native kernel: every segment's own tokens and its ancestors'."""
    cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Masks made so far: every layer asks for the same ones."""

    def mask(self, which: int, window: int | None, dtype: torch.dtype) -> Tensor:
        """0 where a query of bucket `which` sees a key, -inf elsewhere: (L, L) for all cells, or (S, L, C) with a tree."""
        window = None if window is None or window > self.max_position else window
        key = (which, window, dtype)
        if key not in self.cache:
            visible = _visible(self.buckets[which], self.places, window)
            self.cache[key] = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))
        mask: Tensor = self.cache[key]
        return mask


def _visible(bucket: Bucket, places: Places, window: int | None) -> Tensor:
    if bucket.tree is None:
        position = torch.arange(bucket.max_length, device=bucket.pad_index.device)
        distance = position[:, None] - position[None, :]
        return (distance >= 0) if window is None else (distance >= 0) & (distance < window)
    rows = (bucket.start + bucket.pad_index).view(bucket.num_cells, -1, 1)  # (S, L, 1)
    columns = bucket.tree.index.view(bucket.num_cells, 1, -1)  # (S, 1, C)
    keys = Places(*(values[columns] for values in places))
    return sees(places.number[rows], places.position[rows], keys, window) & bucket.tree.is_token[:, None, :]


class _Cell(NamedTuple):
    """Segments `first … first + size` of a pack, which lie together."""

    first: int
    size: int
    length: int
    ancestors: tuple[int, ...]
    """Segments, from the root on."""
    num_ancestors: int
    """Their tokens."""


def build_segments(lengths: Sequence[int], parents: Sequence[int | None], device: torch.device) -> Segments:
    """Decide where each segment lies, and cut the pack into buckets of similar cells.

    Args:
        parents: of each segment; parents first, each followed by all its descendants.
    """
    groups = _group(_cells(lengths, parents))
    order = [segment for group in groups for cell in group for segment in range(cell.first, cell.first + cell.size)]
    starts = [0] * len(lengths)
    for segment, start in zip(order, accumulate((lengths[s] for s in order), initial=0), strict=False):
        starts[segment] = start
    places = _places(lengths, parents, order)
    return Segments(
        buckets=tuple(_build_bucket(group, lengths, starts, device) for group in groups),
        starts=tuple(starts),
        places=Places(*(values.to(device) for values in places)),
        max_position=int(places.position.max()),
        paths=build_paths(starts, lengths, parents),
    )


def _line(segment: int | None, parents: Sequence[int | None]) -> Iterator[int]:
    """A segment, its parent, and so on."""
    while segment is not None:
        yield segment
        segment = parents[segment]


def _places(lengths: Sequence[int], parents: Sequence[int | None], order: Sequence[int]) -> Places:
    family_end, before = list(range(1, len(lengths) + 1)), [0] * len(lengths)
    for segment in reversed(range(len(lengths))):
        if (parent := parents[segment]) is not None:
            family_end[parent] = max(family_end[parent], family_end[segment])
    for segment, parent in enumerate(parents):
        before[segment] = 0 if parent is None else before[parent] + lengths[parent]
    sizes = torch.tensor([lengths[s] for s in order])
    shift = torch.tensor([before[s] for s in order]) - (sizes.cumsum(0) - sizes)
    return Places(
        torch.tensor(order).repeat_interleave(sizes),
        torch.tensor([family_end[s] for s in order]).repeat_interleave(sizes),
        torch.arange(int(sizes.sum())) + shift.repeat_interleave(sizes),
    )


def _cells(lengths: Sequence[int], parents: Sequence[int | None]) -> list[_Cell]:
    """Each segment by itself, but small families whole."""
    before, sizes, tokens, products = [0] * len(lengths), [1] * len(lengths), list(lengths), [0] * len(lengths)
    for segment, parent in enumerate(parents):
        before[segment] = 0 if parent is None else before[parent] + lengths[parent]
        products[segment] = lengths[segment] * (before[segment] + lengths[segment])
    for segment in reversed(range(len(lengths))):
        if (parent := parents[segment]) is not None:
            sizes[parent] += sizes[segment]
            tokens[parent] += tokens[segment]
            products[parent] += products[segment]
    cells, segment = [], 0
    while segment < len(lengths):
        whole = tokens[segment] * (before[segment] + tokens[segment]) <= FAMILY_RATIO * products[segment]
        size = sizes[segment] if whole and tokens[segment] <= FAMILY_TOKENS else 1
        ancestors = tuple(reversed([*_line(parents[segment], parents)]))
        cells.append(_Cell(segment, size, sum(lengths[segment : segment + size]), ancestors, before[segment]))
        segment += size
    return cells


def _group(cells: Sequence[_Cell]) -> list[list[_Cell]]:
    """Into buckets: single segments without ancestors, families without ancestors, cells with ancestors."""
    plain = sorted((c for c in cells if c.size == 1 and not c.ancestors), key=lambda c: (-c.length, c.first))
    families = sorted((c for c in cells if c.size > 1 and not c.ancestors), key=lambda c: (-c.length, c.first))
    below = sorted((c for c in cells if c.ancestors), key=lambda c: (-c.length, c.first))
    groups = _cut(plain, [c.length for c in plain], 0) + _cut(families, [c.length for c in families], 0)
    for similar in _cut(below, [c.length for c in below], BUCKET_SLACK):
        similar.sort(key=lambda c: (-c.num_ancestors, -c.length, c.first))
        groups += _cut(similar, [c.num_ancestors for c in similar], BUCKET_SLACK)
    return groups


def _cut(cells: Sequence[_Cell], sizes: Sequence[int], slack: int) -> list[list[_Cell]]:
    """Where sizes, which fall, have fallen too far below the first since the last cut."""
    edges = [0]
    for i, size in enumerate(sizes):
        largest = sizes[edges[-1]]
        if size < min(BUCKET_RATIO * largest, largest - slack):
            edges.append(i)
    return [list(cells[first:last]) for first, last in pairwise([*edges, len(cells)]) if last > first]


def _build_bucket(cells: Sequence[_Cell], lengths: Sequence[int], starts: Sequence[int], device: torch.device) -> Bucket:
    sizes = torch.tensor([cell.length for cell in cells])
    offsets = sizes.cumsum(0) - sizes
    place = torch.arange(int(sizes.max()))[None, :]  # (1, L)
    is_token = place < sizes[:, None]  # (S, L)
    pad_index = (offsets[:, None] + torch.minimum(place, sizes[:, None] - 1)).flatten()
    flat = is_token.flatten()
    start = starts[cells[0].first]
    is_plain = not cells[0].ancestors and all(cell.size == 1 for cell in cells)
    return Bucket(
        start=start,
        lengths=tuple(cell.length for cell in cells),
        pad_index=pad_index.to(device),
        unpad_index=flat.nonzero().squeeze(1).to(device),
        padding=(~flat).nonzero().squeeze(1).to(device),
        tree=None if is_plain else _tree_keys(cells, lengths, starts, start + pad_index.view(len(cells), -1), is_token, device),
    )


def _tree_keys(
    cells: Sequence[_Cell], lengths: Sequence[int], starts: Sequence[int], own: Tensor, own_is_token: Tensor, device: torch.device
) -> TreeKeys:
    """Ancestors from the root on, then the cell's own tokens (`own`, (S, L): places in the pack)."""
    widest = max(cell.num_ancestors for cell in cells)
    rows_of: dict[tuple[int, int], list[int]] = {}  # of an ancestor and the column it begins at, which goes with it
    for row, cell in enumerate(cells):
        columns = accumulate((lengths[a] for a in cell.ancestors), initial=0)
        for ancestor, column in zip(cell.ancestors, columns, strict=False):
            rows_of.setdefault((ancestor, column), []).append(row)
    index, is_token = torch.zeros(len(cells), widest, dtype=torch.long), torch.zeros(len(cells), widest, dtype=torch.bool)
    blocks = []
    for (ancestor, column), which in rows_of.items():
        rows, stop = torch.tensor(which), column + lengths[ancestor]
        index[rows, column:stop] = torch.arange(starts[ancestor], starts[ancestor] + lengths[ancestor])
        is_token[rows, column:stop] = True
        blocks.append(AncestorBlock(starts[ancestor], lengths[ancestor], column, rows.to(device)))
    return TreeKeys(
        num_ancestors=widest,
        blocks=tuple(blocks),
        index=torch.cat([index, own], dim=1).flatten().to(device),
        is_token=torch.cat([is_token, own_is_token], dim=1).to(device),
    )
