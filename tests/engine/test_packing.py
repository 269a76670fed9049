"""Where the tokens of a pack lie, and which of them predict what."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import random_examples, rendered
from tunesmith.engine.packing import build_pack, plan_packs
from tunesmith.engine.segments import BUCKET_RATIO, build_segments

CPU = torch.device("cpu")


def strangers(lengths: Sequence[int]) -> list[list[int]]:
    """Sequences of these lengths that have nothing in common."""
    return [[1000 + index, *range(1, length)] for index, length in enumerate(lengths)]


def test_a_pack_written_out() -> None:
    examples = [rendered([10, 11], [0, 1]), rendered([20, 21, 22], [0, 1, 1]), rendered([30], [1])]
    pack = build_pack(examples, [0, 1, 2], CPU)
    assert pack.members == (1, 0, 2)
    assert pack.token_ids.tolist() == [[20, 21, 22, 10, 11, 30]]
    assert pack.position_ids.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert pack.predicting.tolist() == [0, 1, 3]
    assert pack.labels.tolist() == [21, 22, 11]
    assert pack.segment_of_label.tolist() == [0, 0, 1]
    assert (pack.num_tokens, pack.num_supervised) == (6, 3)


def test_a_supervised_first_token_is_predicted_by_nothing() -> None:
    pack = build_pack([rendered([1, 2], [1, 1]), rendered([3, 4], [1, 0])], [0, 1], CPU)
    assert pack.predicting.tolist() == [0]
    assert pack.labels.tolist() == [2]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 120))
def test_plan_packs_takes_every_example_once(lengths: list[int], max_tokens: int) -> None:
    packs = plan_packs(strangers(lengths), max_tokens)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    for pack in packs:
        assert len(pack) == 1 or sum(lengths[i] for i in pack) <= max_tokens
        assert [lengths[i] for i in pack] == sorted((lengths[i] for i in pack), reverse=True)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=20), st.integers(20, 60))
def test_plan_packs_is_even_and_needs_no_more_packs(lengths: list[int], max_tokens: int) -> None:
    def filled(limit: int) -> list[int]:
        totals = [0]
        for length in sorted(lengths, reverse=True):
            totals = [*totals, length] if totals[-1] + length > limit else [*totals[:-1], totals[-1] + length]
        return totals

    packs = plan_packs(strangers(lengths), max_tokens)
    assert len(packs) == len(filled(max_tokens))
    smallest = next(limit for limit in range(max(lengths), max_tokens + 1) if len(filled(limit)) == len(packs))
    assert max(sum(lengths[i] for i in pack) for pack in packs) <= smallest


def test_plan_packs_is_decided_by_lengths_and_places_alone() -> None:
    assert plan_packs(strangers([5, 9, 5, 2, 9]), 14) == [[1], [4], [0, 2, 3]]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=25))
def test_buckets_cover_the_pack_and_padding_is_undone(lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    buckets = build_segments(lengths, [None] * len(lengths), CPU).buckets
    assert [length for bucket in buckets for length in bucket.lengths] == lengths
    assert [bucket.start for bucket in buckets] == [sum(b.num_tokens for b in buckets[:i]) for i in range(len(buckets))]
    for bucket in buckets:
        assert min(bucket.lengths) >= BUCKET_RATIO * bucket.max_length
        tokens = torch.arange(bucket.num_tokens)
        rectangle = tokens[bucket.pad_index]
        assert rectangle[bucket.unpad_index].tolist() == tokens.tolist()
        rows = rectangle.view(bucket.num_cells, bucket.max_length)
        first = 0
        for row, length in zip(rows.tolist(), bucket.lengths, strict=True):
            assert row[:length] == list(range(first, first + length))
            first += length
        assert len(bucket.padding) == rectangle.numel() - bucket.num_tokens
        assert not set(bucket.padding.tolist()) & set(bucket.unpad_index.tolist())


def test_packing_does_not_depend_on_the_order_of_members() -> None:
    examples = random_examples([5, 9, 9, 3], 100)
    one, other = build_pack(examples, [0, 1, 2, 3], CPU), build_pack(examples, [3, 2, 1, 0], CPU)
    assert one.members == other.members == (1, 2, 0, 3)
    assert torch.equal(one.token_ids, other.token_ids)


def test_filling_up_changes_nothing_but_the_length() -> None:
    examples = [rendered(list(ids), [1] * len(ids)) for ids in (range(10, 47), range(10, 30), range(60, 65))]
    plain, filled = (build_pack(examples, range(3), CPU, round_to=round_to) for round_to in (1, 32))
    assert filled.token_ids.shape[1] % 32 == 0
    assert filled.num_tokens == plain.num_tokens == filled.token_ids.shape[1] - filled.num_padding
    for mine, theirs in zip(filled.places, plain.places, strict=True):
        assert filled.token_ids[0, mine].tolist() == plain.token_ids[0, theirs].tolist()
        assert filled.position_ids[0, mine].tolist() == plain.position_ids[0, theirs].tolist()
    assert filled.labels.tolist() == plain.labels.tolist()
