"""Which rank runs which sequences: everything once, families whole, as many tokens for each."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.distributed.group import Group
from tunesmith.engine.dealing import deal, deal_sequences, plan_own_packs
from tunesmith.engine.packing import plan_packs

SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), min_size=1, max_size=30)


@given(sizes=st.lists(st.integers(1, 1000), max_size=40), num_hands=st.integers(1, 5))
def test_no_hand_has_more_than_the_mean_and_one_piece(sizes: list[int], num_hands: int) -> None:
    hands = deal(sizes, num_hands=num_hands)
    assert sorted(i for hand in hands for i in hand) == list(range(len(sizes)))
    assert max(sum(sizes[i] for i in hand) for hand in hands) <= sum(sizes) / num_hands + max(sizes, default=0)


@given(sequences=SEQUENCES, num_hands=st.integers(1, 4), num_families=st.integers(1, 10), share=st.booleans())
def test_everything_once_and_families_whole(sequences: list[list[int]], num_hands: int, num_families: int, share: bool) -> None:
    families = [i % num_families for i in range(len(sequences))]
    hands = deal_sequences(sequences, num_hands, families=families, share=share)
    assert sorted(i for hand in hands for i in hand) == list(range(len(sequences)))
    of_hand = [{families[i] for i in hand} for hand in hands]
    assert sum(map(len, of_hand)) == len(set().union(*of_hand))


@given(sequences=SEQUENCES, size=st.integers(2, 4), share=st.booleans())
def test_ranks_pack_everything_once_and_in_step(sequences: list[list[int]], size: int, share: bool) -> None:
    plans = [plan_own_packs(sequences, 50, Group(rank=rank, size=size), share=share, in_step=True) for rank in range(size)]
    assert len({len(plan) for plan in plans}) == 1
    assert sorted(i for plan in plans for pack in plan for i in pack) == list(range(len(sequences)))
    for rank, plan in enumerate(plans):
        assert plan_own_packs(sequences, 50, Group(rank=rank, size=size), share=share) == [pack for pack in plan if pack]


@pytest.mark.parametrize("share", [True, False])
def test_equal_work_for_ordinary_steps(share: bool) -> None:
    """Eight conversations that begin with the same system message, on two and four ranks."""
    system = list(range(30))
    sequences = [[*system, *range(1000 * i, 1000 * i + length)] for i, length in enumerate((40, 180, 95, 120, 60, 75, 150, 110))]
    for size in (2, 4):
        hands = deal_sequences(sequences, size, share=share)
        tokens = [_num_tokens(sequences, hand) for hand in hands]
        assert max(tokens) <= 1.15 * sum(tokens) / size


def _num_tokens(sequences: Sequence[Sequence[int]], hand: Sequence[int]) -> int:
    return sum(len(sequences[i]) for i in hand)


def test_relatives_stay_together() -> None:
    """Twenty questions behind two long prefixes: most are not computed by both ranks."""
    prefixes = [list(range(200)), list(range(500, 700))]
    sequences = [[*prefixes[i % 2], 1000 + i] for i in range(20)]
    hands = deal_sequences(sequences, 2)
    roots = [{i % 2 for i in hand} for hand in hands]
    assert [len(hand) for hand in hands] == [10, 10]
    assert sum(map(len, roots)) <= 3


def test_alone_as_before() -> None:
    sequences = [[1, 2, 3], [4] * 30, [5] * 10]
    assert plan_own_packs(sequences, 32, Group()) == plan_packs(sequences, 32)
