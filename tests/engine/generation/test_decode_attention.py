"""One new token for each sequence, against attention written out for each of them alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tunesmith.engine.generation.decode_attention import decode_attention

SLOTS, KV_HEADS, GROUP, LENGTH, DIM = 7, 2, 3, 20, 8


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("sliding_window", [None, 1, 6, 100])
@pytest.mark.parametrize(
    ("slots", "lengths"),
    [([0, 1, 2, 3, 4, 5, 6], [1, 20, 7, 6, 13, 2, 9]), ([5, 0, 3], [20, 1, 12]), ([2], [9]), ([6, 1], [19, 18])],
    ids=["all", "some, in disorder", "one", "long ones"],
)
def test_it_is_attention(slots: list[int], lengths: list[int], sliding_window: int | None, softcap: float | None) -> None:
    torch.manual_seed(0)
    query = torch.randn(len(slots), KV_HEADS * GROUP, DIM)
    keys, values = torch.randn(SLOTS, KV_HEADS, LENGTH + 5, DIM), torch.randn(SLOTS, KV_HEADS, LENGTH + 5, DIM + 1)
    found = decode_attention(
        query,
        keys[:, :, :LENGTH],
        values[:, :, :LENGTH],
        torch.tensor(slots),
        torch.tensor(lengths),
        scaling=0.3,
        sliding_window=sliding_window,
        softcap=softcap,
    )
    for row, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
        first = 0 if sliding_window is None else max(0, length - sliding_window)
        expected = _alone(query[row], keys[slot, :, first:length], values[slot, :, first:length], softcap)
        torch.testing.assert_close(found[row], expected)


def _alone(query: Tensor, keys: Tensor, values: Tensor, softcap: float | None) -> Tensor:
    """(H, D), (K, n, D), (K, n, E) -> (H, E)."""
    scores = torch.einsum("hd,hnd->hn", query, keys.repeat_interleave(GROUP, 0)) * 0.3
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    return torch.einsum("hn,hne->he", scores.softmax(-1), values.repeat_interleave(GROUP, 0))
