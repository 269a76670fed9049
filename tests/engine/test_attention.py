"""The attention function by itself, against attention written out, with gradients for every token."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.attention import segment_attention
from tunesmith.engine.bucket_attention import Scoring, bucket_attention
from tunesmith.engine.flex_attention import flex_segments
from tunesmith.engine.segments import build_segments

LENGTHS = [20, 15, 14, 9, 8, 8, 3, 1, 1]
HEADS, KV_HEADS, WIDTH = 6, 2, 4

Forest = tuple[list[int], list[int | None]]
"""Lengths and parents of segments."""


def written_out(query: Tensor, key: Tensor, value: Tensor, scaling: float, window: int | None, softcap: float | None) -> Tensor:
    """(1, T, H, D), one segment, one head and one row after another."""
    total = query.shape[2]
    output = torch.zeros(1, total, HEADS, WIDTH, dtype=query.dtype)
    starts = list(itertools.accumulate([0, *LENGTHS]))
    for (first, end), head in itertools.product(itertools.pairwise(starts), range(HEADS)):
        keys, values = key[0, head // (HEADS // KV_HEADS)], value[0, head // (HEADS // KV_HEADS)]
        for row in range(first, end):
            seen = slice(max(first, row - window + 1) if window else first, row + 1)
            scores = keys[seen] @ query[0, head, row] * scaling
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            output[0, row, head] = scores.softmax(0) @ values[seen]
    return output


@pytest.mark.parametrize(("window", "softcap"), [(None, None), (8, None), (1, None), (None, 1.5), (8, 1.5)])
def test_against_attention_written_out(attention: str, window: int | None, softcap: float | None) -> None:
    torch.manual_seed(0)
    total = sum(LENGTHS)
    options: dict[str, Any] = {"dtype": torch.float64, "requires_grad": True}
    query = torch.randn(1, HEADS, total, WIDTH, **options)
    key, value = (torch.randn(1, KV_HEADS, total, WIDTH, **options) for _ in range(2))
    segments = build_segments(LENGTHS, [None] * len(LENGTHS), torch.device("cpu"))
    found, weights = segment_attention(
        torch.nn.Identity(), query, key, value, None, segments=segments, scaling=0.3, sliding_window=window, softcap=softcap
    )
    expected = written_out(query, key, value, 0.3, window, softcap)
    assert weights is None
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, (query, key, value), upstream), torch.autograd.grad(expected, (query, key, value), upstream), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_dropout_keeps_the_mean(attention: str) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(1, HEADS, 12, WIDTH), torch.randn(1, KV_HEADS, 12, WIDTH), torch.ones(1, KV_HEADS, 12, WIDTH)
    segments = build_segments([12], [None], torch.device("cpu"))
    found = [
        segment_attention(torch.nn.Identity(), query, key, value, None, segments=segments, scaling=1.0, dropout=0.5)[0] for _ in range(300)
    ]
    assert float(torch.stack(found).mean()) == pytest.approx(1.0, abs=0.02)
    assert float(found[0].std()) > 0.1


FORESTS: dict[str, Forest] = {
    "pair": ([10, 4, 6], [None, 0, 0]),
    "question": ([20, 3, 3, 2, 1], [None, 0, 0, 0, 0]),
    "system message": ([9, *[12] * 8, 30], [None, *[0] * 8, 0]),
    "few shots, questions, endings": ([30, 8, 2, 3, 9, 1, 1, 7, 2, 2], [None, 0, 1, 1, 0, 4, 4, 0, 7, 7]),
    "a chain beside strangers": ([3, 4, 5, 6, 14, 14, 9], [None, 0, 1, 2, None, None, None]),
}


def tree_written_out(
    query: Tensor, key: Tensor, value: Tensor, starts: Sequence[int], forest: Forest, scaling: float, window: int | None
) -> Tensor:
    """(1, T, H, D): every token of a segment against all tokens of its line, one after another."""
    lengths, parents = forest
    output = torch.zeros(1, sum(lengths), HEADS, WIDTH, dtype=query.dtype)
    for segment, parent in enumerate(parents):
        line, ancestor = [segment], parent
        while ancestor is not None:
            line, ancestor = [ancestor, *line], parents[ancestor]
        places = [token for s in line for token in range(starts[s], starts[s] + lengths[s])]
        for offset, head in itertools.product(range(lengths[segment]), range(HEADS)):
            end = len(places) - lengths[segment] + offset + 1
            seen = places[max(0, end - window) if window else 0 : end]
            keys, values = key[0, head // (HEADS // KV_HEADS), seen], value[0, head // (HEADS // KV_HEADS), seen]
            output[0, places[end - 1], head] = (keys @ query[0, head, places[end - 1]] * scaling).softmax(0) @ values
    return output


@pytest.mark.parametrize("window", [None, 5, 1])
@pytest.mark.parametrize("family_ratio", [0.0, 2.0, 1e9], ids=["apart", "some together", "whole families"])
@pytest.mark.parametrize("name", FORESTS)
def test_forest_against_attention_written_out(
    name: str, family_ratio: float, window: int | None, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.engine.segments.FAMILY_RATIO", family_ratio)
    torch.manual_seed(0)
    lengths, parents = FORESTS[name]
    options: dict[str, Any] = {"dtype": torch.float64, "requires_grad": True}
    query = torch.randn(1, HEADS, sum(lengths), WIDTH, **options)
    key, value = (torch.randn(1, KV_HEADS, sum(lengths), WIDTH, **options) for _ in range(2))
    segments = build_segments(lengths, parents, torch.device("cpu"))
    found, _ = segment_attention(torch.nn.Identity(), query, key, value, None, segments=segments, scaling=0.3, sliding_window=window)
    expected = tree_written_out(query, key, value, segments.starts, FORESTS[name], 0.3, window)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (query, key, value), upstream)
    for one, other in zip(torch.autograd.grad(found, (query, key, value), upstream), wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("name", FORESTS)
def test_flex_attention_is_the_same_function(name: str, window: int | None, softcap: float | None) -> None:
    """Forward only, uncompiled: what PyTorch offers on a CPU."""
    torch.manual_seed(0)
    lengths, parents = FORESTS[name]
    query = torch.randn(1, HEADS, sum(lengths), 16)
    key, value = (torch.randn(1, KV_HEADS, sum(lengths), 16) for _ in range(2))
    segments = build_segments(lengths, parents, torch.device("cpu"))
    found = flex_segments(query, key, value, segments, 0.3, window, softcap)
    expected = bucket_attention(query[0], key[0], value[0], segments, Scoring(0.3, 0.0, window, softcap))
    torch.testing.assert_close(found[0], expected)


@pytest.mark.parametrize("name", FORESTS)
def test_masks_are_made_once(name: str, in_buckets: None) -> None:
    lengths, parents = FORESTS[name]
    segments = build_segments(lengths, parents, torch.device("cpu"))
    query, key = torch.randn(1, HEADS, sum(lengths), WIDTH), torch.randn(1, KV_HEADS, sum(lengths), WIDTH)
    for _ in range(3):
        for window in (None, 5, 10_000):  # the last one reaches everywhere, as None does
            segment_attention(torch.nn.Identity(), query, key, key, None, segments=segments, scaling=1.0, sliding_window=window)
    assert len(segments.cache) == 2 * len(segments.buckets)


def test_ancestors_gradients_are_summed_in_float32() -> None:
    """Three children add to one key, which each of them sees."""
    torch.manual_seed(0)
    lengths, parents = [1, *[400] * 3], [None, 0, 0, 0]
    options: dict[str, Any] = {"dtype": torch.bfloat16}
    query, key = torch.zeros(1, HEADS, sum(lengths), WIDTH, **options), torch.zeros(1, KV_HEADS, sum(lengths), WIDTH, **options)
    value = torch.zeros(1, KV_HEADS, sum(lengths), WIDTH, requires_grad=True, **options)
    segments = build_segments(lengths, parents, torch.device("cpu"))
    output, _ = segment_attention(torch.nn.Identity(), query, key, value, None, segments=segments, scaling=1.0)
    output.backward(torch.ones_like(output))
    # Of a uniform attention: each row gives the first token one part in as many as it sees.
    expected = (HEADS // KV_HEADS) * (1 + 3 * sum(1 / (row + 2) for row in range(400)))
    assert value.grad is not None
    assert value.grad[0, 0, segments.starts[0], 0].item() == pytest.approx(expected, rel=0.02)
