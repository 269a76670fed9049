"""Attention over the buckets of a pack by batched matrix products.

Examples of a fine-tuning set are short (a hundred tokens), where fused attention kernels spend their time starting up.
Here cells of similar length (see `engine/segments.py`) share three batched matrix products; the heads that share one key
and value head are folded into rows, so keys and values are never repeated. Long cells go to PyTorch's fused kernel, one
by one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tunesmith.engine.segments import Bucket, Segments

LONG_SEGMENT = 640
"""Above the square of so many products per head the fused kernel wins: they no longer fit the cache, nor the memory."""


class Scoring(NamedTuple):
    """How a layer turns products into probabilities."""

    scaling: float
    dropout: float
    window: int | None
    """Tokens that a token sees, itself included; None: all before it."""
    softcap: float | None


class _Spread(torch.autograd.Function):
    """(H, T, D) tokens into one rectangle for each bucket: (H, S·L, D), or (H, S·C, D) with ancestors before own tokens."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, segments: Segments, with_ancestors: bool) -> tuple[Tensor, ...]:
        ctx.segments, ctx.with_ancestors = segments, with_ancestors
        return tuple(_rectangle(tokens, bucket, with_ancestors) for bucket in segments.buckets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # What padding received is zero: only outputs of padding depend on it, and _Collect discards those.
        own, from_below = [], []
        for bucket, gradient in zip(ctx.segments.buckets, gradients, strict=True):
            part = gradient
            if ctx.with_ancestors and bucket.tree is not None and bucket.tree.num_ancestors:
                wide = gradient.unflatten(1, (bucket.num_cells, bucket.num_keys))  # (H, S, C, D)
                from_below.append((bucket, wide))
                part = wide[:, :, bucket.tree.num_ancestors :].flatten(1, 2)
            own.append(part.index_select(1, bucket.unpad_index) if bucket.padding.numel() else part)
        total = own[0] if len(own) == 1 else torch.cat(own, dim=1)
        return (_add_to_ancestors(total, from_below) if from_below else total), None, None


def _rectangle(tokens: Tensor, bucket: Bucket, with_ancestors: bool) -> Tensor:
    if with_ancestors and bucket.tree is not None and bucket.tree.num_ancestors:
        return tokens.index_select(1, bucket.tree.index)
    own = tokens.narrow(1, bucket.start, bucket.num_tokens)
    return own.index_select(1, bucket.pad_index) if bucket.padding.numel() else own


def _add_to_ancestors(total: Tensor, from_below: list[tuple[Bucket, Tensor]]) -> Tensor:
    """Sums in float32 at least, and in a fixed order: no atomic additions, so a run can be repeated to the bit."""
    exact = torch.promote_types(total.dtype, torch.float32)
    summed = total.to(exact, copy=True)
    for bucket, wide in from_below:
        assert bucket.tree is not None
        for block in bucket.tree.blocks:
            columns = wide.narrow(2, block.column, block.length)
            rows = columns if len(block.rows) == bucket.num_cells else columns.index_select(1, block.rows)
            summed.narrow(1, block.start, block.length).add_(rows.sum(1, dtype=exact))
    return summed.to(total.dtype)


class _Unpad(torch.autograd.Function):
    """(H, S·L, D) into (H, N, D): padding is discarded, and gets a zero gradient. Both directions are gathers."""

    @staticmethod
    def forward(ctx: Any, rectangle: Tensor, bucket: Bucket) -> Tensor:
        ctx.bucket = bucket
        return rectangle.index_select(1, bucket.unpad_index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(1, ctx.bucket.pad_index).index_fill_(1, ctx.bucket.padding, 0.0), None


def bucket_attention(query: Tensor, key: Tensor, value: Tensor, segments: Segments, how: Scoring) -> Tensor:
    """Bucket by bucket. (H, T, D) and twice (K, T, D) -> (H, T, D)."""
    queries = _Spread.apply(query, segments, False)
    keys, values = (_Spread.apply(tensor, segments, True) for tensor in (key, value))
    parts = []
    for which, bucket in enumerate(segments.buckets):
        is_long = bucket.max_length * bucket.num_keys > LONG_SEGMENT**2 and how.softcap is None
        attend = _fused if is_long else _batched
        part = attend(queries[which], keys[which], values[which], bucket, _mask(segments, which, how, query.dtype, is_long), how)
        parts.append(_Unpad.apply(part, bucket) if bucket.padding.numel() else part)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _mask(segments: Segments, which: int, how: Scoring, dtype: torch.dtype, is_long: bool) -> Tensor | None:
    """None where the fused kernel's own causal mask will do."""
    bucket = segments.buckets[which]
    if is_long and bucket.tree is None and (how.window is None or how.window >= bucket.max_length):
        return None
    return segments.mask(which, how.window, dtype)


def _batched(
    query: Tensor,  # (H, S·L, D)
    key: Tensor,  # (K, S·C, D)
    value: Tensor,
    bucket: Bucket,
    mask: Tensor | None,  # (L, L) or (S, L, C)
    how: Scoring,
) -> Tensor:
    """Matrix product, masked softmax, matrix product over all cells of a bucket at once. Returns (H, S·L, D)."""
    assert mask is not None
    (num_heads, _, head_dim), num_kv_heads = query.shape, key.shape[0]
    num_cells, length, num_keys, group = bucket.num_cells, bucket.max_length, bucket.num_keys, num_heads // num_kv_heads
    # Query heads of one key head become rows of one matrix: (K·S, G·L, D).
    rows = query.reshape(num_kv_heads, group, num_cells, length, head_dim).transpose(1, 2)
    rows = rows.reshape(num_kv_heads * num_cells, group * length, head_dim)
    keys = key.reshape(num_kv_heads * num_cells, num_keys, head_dim)
    values = value.reshape(num_kv_heads * num_cells, num_keys, value.shape[2])

    scores = torch.bmm(rows * how.scaling, keys.transpose(1, 2))
    if how.softcap is not None:
        scores = how.softcap * torch.tanh(scores / how.softcap)
    scores = scores.view(-1, length, length) if bucket.tree is None else scores.view(num_kv_heads, num_cells, group, length, num_keys)
    probabilities = functional.softmax(scores + (mask if bucket.tree is None else mask[:, None]), dim=-1)
    if how.dropout:
        probabilities = functional.dropout(probabilities, how.dropout)
    mixed = torch.bmm(probabilities.view(num_kv_heads * num_cells, group * length, num_keys), values)

    mixed = mixed.view(num_kv_heads, num_cells, group, length, -1).transpose(1, 2)
    return mixed.reshape(num_heads, num_cells * length, -1)


def _fused(query: Tensor, key: Tensor, value: Tensor, bucket: Bucket, mask: Tensor | None, how: Scoring) -> Tensor:
    """PyTorch's fused kernel, one cell after another: memory linear in the length. Returns (H, S·L, D)."""
    parts = []
    for cell in range(bucket.num_cells):
        rows = query.narrow(1, cell * bucket.max_length, bucket.max_length)
        keys, values = (tensor.narrow(1, cell * bucket.num_keys, bucket.num_keys) for tensor in (key, value))
        own_mask = mask if mask is None or mask.ndim == 2 else mask[cell]
        part = functional.scaled_dot_product_attention(
            rows[None],
            keys[None],
            values[None],
            attn_mask=own_mask,
            is_causal=own_mask is None,
            dropout_p=how.dropout,
            scale=how.scaling,
            enable_gqa=True,
        )
        parts.append(part[0])
    return torch.cat(parts, dim=1)
