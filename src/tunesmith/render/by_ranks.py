"""The preflight of a group: each rank renders a contiguous share of the examples, and all come to the verdict over the whole.

    rank 0: examples 0 to 499,999       ->  .3f0c….ranks-1b2c…/00000/      \\
    rank 1: examples 500,000 to 999,999 ->  .3f0c….ranks-1b2c…/00001/      -> rank 0 joins them: 3f0c…/, which every rank maps

Shares are made of the same chunks that one process renders, so the entry in the cache is the same to the byte for any number of
ranks, and so is what is refused: every rank goes through what all chunks were found to be, in their order.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tunesmith.distributed.agreement import require_same
from tunesmith.distributed.group import Group
from tunesmith.render import chunks
from tunesmith.render.chunks import FEWEST_FOR_PROCESSES, CheckedChunk, Limits, check_all, numbered_from
from tunesmith.render.renderer import Renderer
from tunesmith.render.token_cache import CachedTokens, Sides, TokenCache
from tunesmith.types import Example
from tunesmith.workers import MOST_WORKERS, available_cores


class Judge(Protocol):
    """What comes to the verdict."""

    def judge(self, chunks: Iterable[CheckedChunk]) -> None:
        """Raises what speaks against the examples."""

    def notes(self) -> Mapping[str, Any]: ...


class SharedTokens(NamedTuple):
    """Of all ranks."""

    tokens: CachedTokens
    is_from_cache: bool
    """An earlier run had rendered them."""


def check_by_ranks(
    examples: Sequence[Example],
    renderer: Renderer,
    limits: Limits,
    cache: TokenCache,
    group: Group,
    judge: Judge,
    processes: int | None = None,
) -> SharedTokens:
    """Render and check the examples together; called by all ranks with the same.

    Raises:
        GroupError: a rank has other examples, or another tokenizer: what it renders must not stand under the first one's name.
        PreflightError, DataError: what `judge` raises, on every rank.
        AssetError: the cache cannot be written, or not all ranks see it.
        Exception: what a rank met while rendering, on every rank.
    """
    require_same(cache.depends_on(renderer, limits), group)
    if group.from_first(lambda: cache.find(renderer, limits) is not None):
        return SharedTokens(group.on_all(lambda: cache.open(renderer, limits)), True)
    processes = _processes(len(examples), group) if processes is None else processes
    folder = group.from_first(lambda: cache.begin_parts(renderer, limits))
    try:
        share = share_of(len(examples), group.rank, group.size)
        rendering = _Rendering(examples, share, renderer, limits, processes)
        group.on_all(lambda: cache.keep_part(folder, group.rank, rendering.passing()))
        judge.judge(chunk for rank in group.gather(rendering.checked) for chunk in rank)
        group.from_first(lambda: _join(cache, renderer, limits, folder, judge))
    finally:
        if group.is_first:
            shutil.rmtree(folder, ignore_errors=True)
    return SharedTokens(group.on_all(lambda: cache.open(renderer, limits)), False)


def share_of(num_examples: int, rank: int, size: int) -> range:
    """Numbers of the examples that a rank renders: whole chunks, as many as the others have but for one.

    >>> [share_of(4_500, rank, 2) for rank in (0, 1)]
    [range(0, 2000), range(2000, 4500)]
    """
    num_chunks = -(-num_examples // chunks.CHUNK)
    first, last = (min(num_examples, one * num_chunks // size * chunks.CHUNK) for one in (rank, rank + 1))
    return range(first, last)


class _Rendering:
    """One rank's share as it is rendered."""

    def __init__(self, examples: Sequence[Example], share: range, renderer: Renderer, limits: Limits, processes: int) -> None:
        self._all = check_all(examples[share.start : share.stop], renderer, limits, processes)
        self._first = share.start
        self.checked: list[CheckedChunk] = []
        """What the chunks were found to be, without their tokens."""

    def passing(self) -> Iterator[Sides]:
        """Tokens as they come; none after pairs have been found beside other examples, for that will be refused."""
        num_before = num_pairs = 0
        for chunk in self._all:
            self.checked.append(dataclasses.replace(chunk, sides=()))
            num_pairs += chunk.num_pairs
            if num_pairs not in (0, num_before + chunk.num_examples):
                return
            yield numbered_from(self._first + num_before, chunk)
            num_before += chunk.num_examples


def _join(cache: TokenCache, renderer: Renderer, limits: Limits, folder: Path, judge: Judge) -> None:
    cache.keep_joined(renderer, limits, folder, judge.notes)


def _processes(num_examples: int, group: Group) -> int:
    """Of each rank: the ranks of one machine share its cores."""
    neighbours = group.num_on_this_machine()
    if num_examples / group.size < FEWEST_FOR_PROCESSES:
        return 1
    return max(1, min(MOST_WORKERS, available_cores() // neighbours))
