"""Shared prefixes: whatever is shared, every path spells its sequence."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.engine.forest import SHARE_WORTH, Forest, alone, grow, is_long_prefix, is_worth_sharing
from tunesmith.engine.packing import plan_packs

SYSTEM, QUESTION, OTHER = tuple(range(100, 130)), tuple(range(200, 240)), tuple(range(300, 320))


def spelled(forest: Forest, sequences: Sequence[Sequence[int]], path: Sequence[int]) -> list[int]:
    pieces = [forest.segments[segment] for segment in path]
    return [token for piece in pieces for token in sequences[piece.owner][piece.start : piece.end]]


def sequences_with_common_heads() -> st.SearchStrategy[list[list[int]]]:
    """A few runs of tokens strung together, so that heads, whole sequences, and neighbours coincide."""
    runs = st.integers(0, 3).flatmap(lambda run: st.sampled_from([1, 2, 15, 16, 17]).map(lambda length: [run] * length))
    sequence = st.lists(runs, min_size=1, max_size=4).map(lambda parts: [token for part in parts for token in part])
    return st.lists(sequence, min_size=1, max_size=12)


@given(sequences_with_common_heads(), st.sampled_from([is_worth_sharing, is_long_prefix, lambda tokens, branches: branches > 1]))
def test_laws_of_the_forest(sequences: list[list[int]], is_kept: object) -> None:
    forest = grow(sequences, is_kept)
    assert forest == grow(sequences, is_kept)
    assert forest.num_tokens <= sum(map(len, sequences))
    for sequence, path in zip(sequences, forest.paths, strict=True):
        assert spelled(forest, sequences, path) == sequence
        assert [forest.segments[segment].parent for segment in path] == [None, *path[:-1]]
    used = {segment for path in forest.paths for segment in path}
    for number, segment in enumerate(forest.segments):
        assert segment.length > 0
        assert segment.parent is None or segment.parent < number
        assert number in used
    assert_families_lie_together(forest)


def assert_families_lie_together(forest: Forest) -> None:
    """Each segment is followed by all its descendants: its parent is the last one before it or an ancestor of that."""
    line: list[int] = []
    for number, segment in enumerate(forest.segments):
        while line and line[-1] != segment.parent:
            line.pop()
        assert line or segment.parent is None
        line.append(number)


@given(sequences_with_common_heads())
def test_a_shared_segment_saves_enough(sequences: list[list[int]]) -> None:
    forest = grow(sequences)
    for number, segment in enumerate(forest.segments):
        children = sum(other.parent == number for other in forest.segments)
        ends = sum(path[-1] == number for path in forest.paths)
        assert children + ends == 1 or (children + ends - 1) * segment.length >= SHARE_WORTH
        assert children + ends > 0


@pytest.mark.parametrize(("length", "is_shared"), [(SHARE_WORTH - 1, False), (SHARE_WORTH, True)])
def test_where_sharing_begins(length: int, is_shared: bool) -> None:
    forest = grow([[*range(length), 1000], [*range(length), 1001]])
    assert len(forest.segments) == (3 if is_shared else 2)


def test_a_short_head_of_many_is_shared() -> None:
    assert grow([[7, 8, 1000 + i] for i in range(9)]).num_tokens == 2 + 9
    assert grow([[7, 8, 1000 + i] for i in range(8)]).num_tokens == 3 * 8


def test_nested_prefixes() -> None:
    sequences = [(*SYSTEM, *QUESTION, 1), (*SYSTEM, *QUESTION, 2, 3), (*SYSTEM, *OTHER), (9,)]
    forest = grow(sequences)
    lengths = [[forest.segments[segment].length for segment in path] for path in forest.paths]
    assert lengths == [[30, 40, 1], [30, 40, 2], [30, 20], [1]]
    assert len(forest.segments) == 6
    assert forest.paths[0][:2] == forest.paths[1][:2]
    assert forest.paths[0][0] == forest.paths[2][0]


def test_one_that_others_begin_with_and_equals_end_in_a_shared_segment() -> None:
    forest = grow([QUESTION, (*QUESTION, 5), QUESTION])
    assert forest.paths[0] == forest.paths[2] == (0,)
    assert forest.paths[1] == (0, 1)
    assert forest.num_tokens == len(QUESTION) + 1


def test_nothing_shared_is_one_segment_each() -> None:
    sequences = [[1, 2], [1, 2, 3], [4]]
    assert grow(sequences).num_tokens == alone(sequences).num_tokens == 6
    assert sorted(grow(sequences).paths) == [(0,), (1,), (2,)]
    assert alone(sequences).paths == ((0,), (1,), (2,))


def packed_tokens(sequences: Sequence[Sequence[int]], pack: Sequence[int]) -> int:
    return grow([sequences[i] for i in pack]).num_tokens


@given(sequences_with_common_heads(), st.integers(20, 150))
def test_a_plan_counts_what_is_shared_once_and_keeps_its_limit(sequences: list[list[int]], max_tokens: int) -> None:
    packs = plan_packs(sequences, max_tokens)
    assert sorted(index for pack in packs for index in pack) == list(range(len(sequences)))
    assert all(len(pack) == 1 or packed_tokens(sequences, pack) <= max_tokens for pack in packs)
    assert packs == plan_packs(sequences, max_tokens)


@given(sequences_with_common_heads(), st.integers(20, 150), st.integers(1, 4), st.booleans())
def test_families_are_never_parted(sequences: list[list[int]], max_tokens: int, size: int, share: bool) -> None:
    families = [index // size for index in range(len(sequences))]
    packs = plan_packs(sequences, max_tokens, families=families, share=share)
    homes = [{number for number, pack in enumerate(packs) for i in pack if families[i] == family} for family in set(families)]
    assert all(len(home) == 1 for home in homes)
    for pack in packs:
        tokens = packed_tokens(sequences, pack) if share else sum(len(sequences[i]) for i in pack)
        assert len({families[i] for i in pack}) == 1 or tokens <= max_tokens


def test_without_sharing_every_token_counts() -> None:
    sequences = [(*QUESTION, 1000 + i) for i in range(4)]
    assert plan_packs(sequences, 50) == [[0, 1, 2, 3]]
    assert plan_packs(sequences, 90, share=False) == [[0, 1], [2, 3]]


def test_relatives_come_together() -> None:
    """Endings of one question are neighbours even where their lengths are not."""
    sequences = [[*range(100 * q, 100 * q + 30), *range(5000 + 10 * e, 5000 + 10 * e + 1 + 3 * e)] for e in range(3) for q in range(4)]
    packs = plan_packs(sequences, 42)
    assert sorted(sorted(pack) for pack in packs) == [[q, q + 4, q + 8] for q in range(4)]


def test_ten_thousand_questions_are_planned() -> None:
    """As many as HellaSwag has; a plan that compares all with all would not come back."""
    source = random.Random(0)
    sequences = []
    for _ in range(10_042):
        question = source.choices(range(50_000), k=source.randint(20, 100))
        sequences += [(*question, *source.choices(range(50_000), k=source.randint(5, 30))) for _ in range(4)]
    packs = plan_packs(sequences, 2048, families=[i // 4 for i in range(len(sequences))])
    assert len({index for pack in packs for index in pack}) == len(sequences)
    assert len(packs) < 0.6 * sum(map(len, sequences)) / 2048
