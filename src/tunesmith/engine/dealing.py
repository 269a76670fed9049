"""Which rank of a group runs which sequences: by tokens, not by their number, and without a word between the ranks.

>>> deal([40, 30, 20, 10], num_hands=2)         # lengths of four families; every rank computes the same
[[0, 3], [1, 2]]

Whoever knows all sequences knows every rank's share, so each rank plans all and runs its own. What sequences begin with in common
is computed by each rank that has one of them: relatives stay together as long as no rank gets too much by it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from tunesmith.distributed.group import Group
from tunesmith.engine.forest import grow, is_long_prefix
from tunesmith.engine.packing import plan_packs


def plan_own_packs(
    sequences: Sequence[Sequence[int]],
    max_tokens: int,
    group: Group,
    *,
    families: Sequence[int] | None = None,
    share: bool = True,
    in_step: bool = False,
) -> list[list[int]]:
    """`plan_packs` of this rank's share of the sequences; in a group of one, of all.

    Args:
        in_step: as many packs on every rank, empty ones at the end where there is nothing left to do, for networks whose every
            pass needs all ranks.
    """
    if group.is_alone:
        return plan_packs(sequences, max_tokens, families=families, share=share)
    hands = deal_sequences(sequences, group.size, families=families, share=share)
    ranks = range(group.size) if in_step else [group.rank]
    plans = {rank: _plan(sequences, hands[rank], max_tokens, families, share) for rank in ranks}
    own = plans[group.rank]
    return own + [[]] * (max(map(len, plans.values())) - len(own))


def _plan(
    sequences: Sequence[Sequence[int]], members: Sequence[int], max_tokens: int, families: Sequence[int] | None, share: bool
) -> list[list[int]]:
    if not members:
        return []
    own_families = None if families is None else [families[i] for i in members]
    packs = plan_packs([sequences[i] for i in members], max_tokens, families=own_families, share=share)
    return [[members[i] for i in pack] for pack in packs]


def deal_sequences(
    sequences: Sequence[Sequence[int]], num_hands: int, *, families: Sequence[int] | None = None, share: bool = True
) -> list[list[int]]:
    """Every sequence's index in one of the hands; families whole, and relatives together where that leaves the hands even."""
    bundles = _bundles(sequences, families, num_hands, share=share)
    hands = deal([sum(len(sequences[i]) for i in bundle) for bundle in bundles], num_hands=num_hands)
    return [sorted(i for bundle in hand for i in bundles[bundle]) for hand in hands]


def deal(sizes: Sequence[int], *, num_hands: int) -> list[list[int]]:
    """Longest first, each to the hand with the least so far (Graham 1969, "Bounds on Multiprocessing Timing Anomalies").

    No hand has more than the mean and one piece.
    """
    hands: list[list[int]] = [[] for _ in range(num_hands)]
    heap = [(0, hand) for hand in range(num_hands)]
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        total, hand = heapq.heappop(heap)
        hands[hand].append(index)
        heapq.heappush(heap, (total + sizes[index], hand))
    return hands


BUNDLES_PER_HAND = 4
"""Relatives that are too many for one hand are parted into pieces of this share of it, so that hands can be even."""


def _bundles(sequences: Sequence[Sequence[int]], families: Sequence[int] | None, num_hands: int, *, share: bool) -> list[list[int]]:
    """Families; where prefixes are shared, all with one root, or neighbours among them where those are more than a hand."""
    members: dict[int, list[int]] = {}
    for index in range(len(sequences)):
        members.setdefault(index if families is None else families[index], []).append(index)
    if not share:
        return list(members.values())
    paths = grow(sequences, is_long_prefix).paths
    relatives: dict[int, list[list[int]]] = {}
    for family in sorted(members.values(), key=lambda family: (paths[family[0]], family)):
        relatives.setdefault(paths[family[0]][0], []).append(family)
    hand = sum(map(len, sequences)) / num_hands
    bundles: list[list[int]] = []
    for those in relatives.values():
        sizes = [sum(len(sequences[i]) for i in family) for family in those]
        bundles += _cut(those, sizes, hand if sum(sizes) <= hand else hand / BUNDLES_PER_HAND)
    return bundles


def _cut(families: Sequence[Sequence[int]], sizes: Sequence[int], limit: float) -> list[list[int]]:
    """Neighbours together, up to so many tokens."""
    bundles: list[list[int]] = []
    used = math.inf
    for family, size in zip(families, sizes, strict=True):
        if used + size > limit:
            bundles.append([])
            used = 0
        bundles[-1] += family
        used += size
    return bundles
