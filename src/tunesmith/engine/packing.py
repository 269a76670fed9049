"""Several examples in one sequence, without padding and without attention across them; what they begin with in common once.

>>> pack = build_pack([short, longer], [0, 1], device)
>>> pack.token_ids.shape        # (1, T), T = the sum of the lengths, shared prefixes counted once
>>> pack.places[1]              # where the tokens of `members[1]` lie, a shared prefix included
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tunesmith.engine.forest import Forest, alone, grow, is_long_prefix
from tunesmith.engine.segments import Segments, build_segments
from tunesmith.types import Example, RenderedExample


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """One sequence holding several examples. T tokens, M supervised ones."""

    token_ids: Tensor
    """(1, T) int64."""
    position_ids: Tensor
    """(1, T) int64, from 0 in every example; a child goes on where its parent ends."""
    predicting: Tensor
    """(M,) positions whose next token is supervised; one comes several times where a shared prefix ends before several of them."""
    labels: Tensor
    """(M,) those next tokens."""
    segment_of_label: Tensor
    """(M,) index into `members` of the example each label belongs to."""
    segments: Segments
    members: tuple[int, ...]
    """The examples' indices, longest first."""
    places: tuple[Tensor, ...]
    """For each member the positions in the pack of all its tokens, in order."""
    num_padding: int = 0
    """Of the T tokens, how many only fill up to a round number."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the members, shared ones once."""
        return self.token_ids.shape[1] - self.num_padding

    @property
    def num_supervised(self) -> int:
        return self.labels.shape[0]


def plan_packs(
    sequences: Sequence[Sequence[int]], max_tokens: int, *, families: Sequence[int] | None = None, share: bool = True
) -> list[list[int]]:
    """Group token sequences into as few packs of at most `max_tokens` as longest-first filling needs, and those as even as can be.

    What a pack's sequences begin with in common counts once. Sequences with a long common prefix come one after another,
    else similar lengths come together, longest first. A sequence, or a family, longer than `max_tokens` gets a pack of its own.

    Args:
        families: a key for each sequence; sequences of one key are never parted.
        share: False counts every token, for packs built without sharing.
    """
    units = _units(sequences, families, grow(sequences, is_long_prefix) if share else alone(sequences))
    packs = _fill_evenly(units, max_tokens)
    settled = _settle(packs, sequences, max_tokens) if share else packs
    return [[index for unit in pack for index in unit.members] for pack in settled]


class _Unit(NamedTuple):
    """Sequences that are never parted."""

    members: tuple[int, ...]
    pieces: dict[int, int]
    """The segments they are made of, and the tokens of each."""
    num_tokens: int
    """Of all pieces."""


def _units(sequences: Sequence[Sequence[int]], families: Sequence[int] | None, forest: Forest) -> list[_Unit]:
    """In the order of filling: relatives together, and among relatives as among strangers longest first."""
    ranks = [(-len(sequence), index) for index, sequence in enumerate(sequences)]
    first = [(0, 0)] * len(forest.segments)
    for rank, path in zip(ranks, forest.paths, strict=True):
        for segment in path:
            first[segment] = min(first[segment], rank)
    order = sorted(range(len(sequences)), key=lambda i: ([first[segment] for segment in forest.paths[i]], ranks[i]))
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(index if families is None else families[index], []).append(index)
    units = []
    for family in members.values():
        pieces = {segment: forest.segments[segment].length for i in family for segment in forest.paths[i]}
        units.append(_Unit(tuple(family), pieces, sum(pieces.values())))
    return units


class _Filled(NamedTuple):
    """Units in packs."""

    packs: list[list[_Unit]]
    fullest: int
    """Tokens of the fullest pack."""


def _fill(units: Sequence[_Unit], limit: int) -> _Filled:
    packs: list[list[_Unit]] = []
    present: dict[int, int] = {}
    used = fullest = 0
    for unit in units:
        more = unit.num_tokens
        if not present.keys().isdisjoint(unit.pieces):
            more -= sum(length for segment, length in unit.pieces.items() if segment in present)
        if not packs or used + more > limit:
            packs.append([])
            present, used, more = {}, 0, unit.num_tokens
        packs[-1].append(unit)
        present.update(unit.pieces)
        used += more
        fullest = max(fullest, used)
    return _Filled(packs, fullest)


def _fill_evenly(units: Sequence[_Unit], max_tokens: int) -> list[list[_Unit]]:
    """With the smallest limit that needs no more packs than `max_tokens` does."""
    best = _fill(units, max_tokens)
    different = {segment: length for unit in units for segment, length in unit.pieces.items()}
    low = max([unit.num_tokens for unit in units] + [math.ceil(sum(different.values()) / max(1, len(best.packs)))])
    while low < best.fullest:  # it lies between
        found = _fill(units, (low + best.fullest) // 2)
        if len(found.packs) <= len(best.packs):
            best = found
        else:
            low = (low + best.fullest) // 2 + 1
    return best.packs


def _settle(packs: Sequence[list[_Unit]], sequences: Sequence[Sequence[int]], limit: int) -> list[list[_Unit]]:
    """Hand on what a pack cannot hold: in it alone, fewer prefixes may be worth sharing than among all sequences."""
    settled: list[list[_Unit]] = []
    surplus: list[_Unit] = []
    for pack in packs:
        now, surplus = [*surplus, *pack], []
        while len(now) > 1 and not _fits(now, sequences, limit):
            surplus.insert(0, now.pop())
        settled.append(now)
    return settled + (_settle([surplus], sequences, limit) if surplus else [])


def _fits(pack: Sequence[_Unit], sequences: Sequence[Sequence[int]], limit: int) -> bool:
    chosen = [sequences[i] for unit in pack for i in unit.members]
    return sum(map(len, chosen)) <= limit or grow(chosen).num_tokens <= limit


def bare(token_ids: Sequence[int], *, supervised: bool) -> RenderedExample:
    """Tokens that are nobody's example, as packs want them: all of them supervised, or none."""
    nothing = Example(id="", source="", group="", text="")
    return RenderedExample(example=nothing, token_ids=tuple(token_ids), supervised=(supervised,) * len(token_ids))


ROUND_TO = 32
"""Lengths of packs that the engine runs are multiples of this. A matrix product in a shape not seen before costs a CPU the
compilation of its kernel, some 8 % of the time of a step; of 300 lengths this leaves ten, for 2 % more tokens."""


def build_pack(
    examples: Sequence[RenderedExample], members: Sequence[int], device: torch.device, *, share: bool = True, round_to: int = 1
) -> Pack:
    """Lay `examples[i]` for each `i` in `members` into one sequence.

    Args:
        share: lay a prefix that several begin with only once, where that is worth it.
        round_to: fill up to a multiple of so many tokens, with a segment that is nobody's.
    """
    order = sorted(members, key=lambda i: (-len(examples[i].token_ids), i))
    chosen = [examples[i] for i in order]
    sequences = [example.token_ids for example in chosen]
    forest = grow(sequences) if share else alone(sequences)
    parents = [segment.parent for segment in forest.segments]
    num_padding = -forest.num_tokens % round_to
    filling = [num_padding] if num_padding else []
    segments = build_segments([*(s.length for s in forest.segments), *filling], [*parents, *(None for _ in filling)], device)
    places = _places(forest, segments)
    token_ids = torch.zeros(forest.num_tokens + num_padding, dtype=torch.long)
    for sequence, place in zip(sequences, places, strict=True):
        token_ids[place] = torch.tensor(sequence)
    # Nothing predicts a sequence's first token.
    targets = [torch.tensor(example.supervised[1:], dtype=torch.bool).nonzero().squeeze(1) + 1 for example in chosen]
    lengths = [len(sequence) for sequence in sequences]
    return Pack(
        token_ids=token_ids[None].to(device),
        position_ids=segments.places.position[None],
        predicting=torch.cat([place[target - 1] for place, target in zip(places, targets, strict=True)]).to(device),
        labels=token_ids[torch.cat([place[target] for place, target in zip(places, targets, strict=True)])].to(device),
        segment_of_label=torch.repeat_interleave(torch.arange(len(order)), torch.tensor([len(target) for target in targets])).to(device),
        segments=segments,
        members=tuple(order),
        places=torch.cat(places).to(device).split(lengths),
        num_padding=num_padding,
    )


def _places(forest: Forest, segments: Segments) -> list[Tensor]:
    """For each sequence the positions of its tokens in the pack."""
    starts = segments.starts[: len(forest.segments)]  # without what fills up
    ranges = [torch.arange(start, start + segment.length) for start, segment in zip(starts, forest.segments, strict=True)]
    return [torch.cat([ranges[segment] for segment in path]) for path in forest.paths]
