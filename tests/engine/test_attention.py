"""The attention function by itself, against attention written out, with gradients for every token."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.engine.attention import segment_attention
from tunesmith.engine.packing import build_segments

LENGTHS = [20, 15, 14, 9, 8, 8, 3, 1, 1]
HEADS, KV_HEADS, WIDTH = 6, 2, 4


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
    segments = build_segments(LENGTHS, torch.device("cpu"))
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
    segments = build_segments([12], torch.device("cpu"))
    found = [
        segment_attention(torch.nn.Identity(), query, key, value, None, segments=segments, scaling=1.0, dropout=0.5)[0] for _ in range(300)
    ]
    assert float(torch.stack(found).mean()) == pytest.approx(1.0, abs=0.02)
    assert float(found[0].std()) > 0.1
