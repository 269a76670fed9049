"""Attention of one new token for each of several sequences over what is cached of them.

Legend: B sequences, H query heads, K key and value heads, L cached tokens at most, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tunesmith.engine.kernels import native

HEAD_DIMS = (32, 64, 80, 96, 128, 256)
"""Those that kernels/decoding.cpp is compiled for."""


def decode_attention(
    query: Tensor,  # (B, H, D)
    keys: Tensor,  # (slots, K, L, D), the new tokens' keys written already
    values: Tensor,  # (slots, K, L, E), E = D in most architectures
    slots: Tensor,  # (B,) int64, each another row of the cache
    lengths: Tensor,  # (B,) int64, at most L: tokens to attend to, the new one included
    *,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Attend to the last `sliding_window` of each sequence's cached tokens (None: all). Returns (B, H, E).

    The cache is read where it lies: every row of it takes part, those that no sequence names with one token, to no effect.
    So callers keep the rows in use together, and pass a view no longer than needed.
    """
    query = query.contiguous()
    if _is_native(query, keys, values):
        return _native(query, keys, values, slots, lengths, scaling, sliding_window, softcap)
    num_rows, num_kv_heads, _, head_dim = keys.shape
    group = query.shape[1] // num_kv_heads
    rows = query.new_zeros(num_rows, *query.shape[1:]).index_copy_(0, slots, query * scaling)
    ends = lengths.new_ones(num_rows).index_copy_(0, slots, lengths)
    first = max(0, int(lengths.min()) - sliding_window) if sliding_window is not None else 0  # before it, none looks
    if num_rows > len(slots):
        ends.clamp_(min=first + 1)
    keys, values = keys[:, :, first:].flatten(0, 1), values[:, :, first:].flatten(0, 1)  # views: (slots·K, L, D)

    # Query heads of one key head become rows of one matrix, so keys and values are never repeated.
    scores = torch.bmm(rows.view(num_rows * num_kv_heads, group, head_dim), keys.transpose(1, 2))  # (slots·K, G, L)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    place = torch.arange(first, first + keys.shape[1], device=keys.device)
    hidden = place >= ends[:, None]  # (slots, L)
    if sliding_window is not None:
        hidden |= place < (ends - sliding_window)[:, None]
    scores = scores.view(num_rows, num_kv_heads * group, -1).masked_fill_(hidden[:, None], float("-inf"))
    mixed = torch.bmm(scores.softmax(-1).view(num_rows * num_kv_heads, group, -1), values)
    return mixed.view(num_rows, num_kv_heads * group, -1).index_select(0, slots)


def _is_native(query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """The kernel wants a token's numbers side by side, a usual number of them, and keys and values laid out alike."""
    alike = keys.shape == values.shape and keys.stride() == values.stride() and keys.shape[3] in HEAD_DIMS
    return alike and keys.dtype == query.dtype and keys.stride()[2:] == (keys.shape[3], 1) and native.usable(query)


def _native(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    slots: Tensor,
    lengths: Tensor,
    scaling: float,
    sliding_window: int | None,
    softcap: float | None,
) -> Tensor:
    """The same in one call, every sequence over just its own length."""
    lengths = lengths.contiguous()
    first = torch.zeros_like(lengths) if sliding_window is None else (lengths - sliding_window).clamp_(min=0)
    out = torch.empty_like(query)
    sizes = (*query.shape[:2], keys.shape[1], keys.shape[3], keys.stride(0), keys.stride(1))
    where = (slots.contiguous(), first, lengths)
    native.call("decode_attention", query.dtype, query, keys, values, out, *where, *sizes, float(scaling), softcap or 0.0)
    return out
