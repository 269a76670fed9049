"""Which prefixes of token sequences are computed once: a forest whose paths are the sequences.

A system message before every example, a preference pair's prompt, a multiple-choice question before its endings, a
few-shot prefix before all of them: what several sequences begin with becomes one segment, and what follows hangs below.

>>> forest = grow([range(100), [*range(40), 7], [9]])
>>> [(s.owner, s.start, s.end, s.parent) for s in forest.segments]
[(0, 0, 40, None), (0, 40, 100, 0), (1, 40, 41, 0), (2, 0, 1, None)]
>>> forest.paths
((0, 1), (0, 2), (3,))
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

SHARE_WORTH = 16
"""Tokens that sharing a prefix must save; below that, repeating it is cheaper than attention over one more segment."""

TOKEN_BYTES = array("I").itemsize


class Segment(NamedTuple):
    """A run of tokens that one sequence has, or several share: `sequences[owner][start:end]`."""

    owner: int
    start: int
    end: int
    parent: int | None
    """The segment that comes before it in every sequence it is part of."""

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, kw_only=True, slots=True)
class Forest:
    """Segments and, for every sequence, those that make it up."""

    segments: tuple[Segment, ...]
    """Each followed by all its descendants, among siblings in the order of the sequences; none is empty."""
    paths: tuple[tuple[int, ...], ...]
    """For each sequence its segments from the root on. One that others begin with, or equal, may end in a shared segment."""

    @property
    def num_tokens(self) -> int:
        return sum(segment.length for segment in self.segments)


def is_worth_sharing(num_tokens: int, num_children: int) -> bool:
    """Among the sequences of one pack: what sharing saves is enough."""
    return (num_children - 1) * num_tokens >= SHARE_WORTH


def is_long_prefix(num_tokens: int, num_children: int) -> bool:
    """Among sequences that may come into different packs: any two of them that meet in one save enough."""
    return num_children > 1 and num_tokens >= SHARE_WORTH


def grow(sequences: Sequence[Sequence[int]], is_kept: Callable[[int, int], bool] = is_worth_sharing) -> Forest:
    """Share prefixes, from the longest-living down: a shared run of tokens becomes a segment where `is_kept` says so.

    Args:
        is_kept: called with the tokens of a shared run beyond what is shared already, and how many branches it has.
    """
    segments: list[Segment] = []
    paths: list[tuple[int, ...]] = [()] * len(sequences)
    pending: list[tuple[_Node, int, tuple[int, ...]]] = [(child, 0, ()) for child in _trie(sequences).last_child_first()]
    while pending:
        node, start, path = pending.pop()  # tokens before `start` are in the segments of `path`
        parent = path[-1] if path else None
        if is_kept(node.depth - start, len(node.children) + len(node.ends)):
            segments.append(Segment(node.owner, start, node.depth, parent))
            start, path = node.depth, (*path, len(segments) - 1)
        for index in node.ends:
            if start == node.depth:
                paths[index] = path
            else:
                segments.append(Segment(index, start, node.depth, parent))
                paths[index] = (*path, len(segments) - 1)
        pending.extend((child, start, path) for child in node.last_child_first())
    return Forest(segments=tuple(segments), paths=tuple(paths))


def alone(sequences: Sequence[Sequence[int]]) -> Forest:
    """Nothing shared: one segment for each sequence."""
    segments = tuple(Segment(index, 0, len(sequence), None) for index, sequence in enumerate(sequences))
    return Forest(segments=segments, paths=tuple((index,) for index in range(len(sequences))))


@dataclass(kw_only=True, slots=True, eq=False)
class _Node:
    """A place in the compressed trie where sequences part or end."""

    depth: int
    """Tokens from the root to here."""
    owner: int
    """The first sequence that runs through it."""
    children: list[_Node] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def last_child_first(self) -> list[_Node]:
        return sorted(self.children, key=lambda child: child.owner, reverse=True)


def _trie(sequences: Sequence[Sequence[int]]) -> _Node:
    """Compressed trie of the sequences: sorted, neighbours share the most, and a stack holds the branch being built."""
    texts = [array("I", sequence).tobytes() for sequence in sequences]  # compared and cut at the speed of memory
    root = _Node(depth=0, owner=-1)
    branch = [root]
    previous = b""
    for index in sorted(range(len(texts)), key=lambda i: (texts[i], i)):
        shared = _common_tokens(previous, texts[index])
        _climb(branch, shared)
        length = len(texts[index]) // TOKEN_BYTES
        if length > branch[-1].depth:
            branch.append(_Node(depth=length, owner=index))
        branch[-1].ends.append(index)
        previous = texts[index]
    _climb(branch, 0)
    return root


def _climb(branch: list[_Node], depth: int) -> None:
    """Finish the nodes deeper than `depth`; leave a node of just that depth at the end of the branch."""
    while branch[-1].depth > depth:
        node = branch.pop()
        if branch[-1].depth < depth:
            branch.append(_Node(depth=depth, owner=node.owner))
        branch[-1].children.append(node)
        branch[-1].owner = min(branch[-1].owner, node.owner)


def _common_tokens(one: bytes, other: bytes) -> int:
    """How many tokens both begin with."""
    low, high = 0, min(len(one), len(other)) // TOKEN_BYTES
    if one[: high * TOKEN_BYTES] == other[: high * TOKEN_BYTES]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if one[: middle * TOKEN_BYTES] == other[: middle * TOKEN_BYTES] else (low, middle)
    return low
