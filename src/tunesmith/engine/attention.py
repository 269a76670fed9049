"""Attention inside each segment of a pack, plugged into Hugging Face models through transformers' attention interface.

Examples of a fine-tuning set are short (a hundred tokens), where fused attention kernels spend their time starting up.
Here segments of similar length share three batched matrix products; the heads that share one key and value head are
folded into rows, so keys and values are never repeated. Long segments go to PyTorch's fused kernel, one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel

from tunesmith.engine.packing import Bucket, Segments

IMPLEMENTATION = "tunesmith_segments"
LONG_SEGMENT = 640
"""Above this many tokens the fused kernel wins: the (L x L) probabilities no longer fit the cache, nor the memory."""


class _Pad(torch.autograd.Function):
    """(H, N, D) tokens into an (H, S·L, D) rectangle; both directions are gathers."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, bucket: Bucket) -> Tensor:
        ctx.bucket = bucket
        return tokens.index_select(1, bucket.pad_index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # What padding received is zero: only outputs of padding depend on it, and _Unpad discards those.
        return gradient.index_select(1, ctx.bucket.unpad_index), None


class _Unpad(torch.autograd.Function):
    """The inverse of `_Pad`: padding is discarded, and gets a zero gradient."""

    @staticmethod
    def forward(ctx: Any, rectangle: Tensor, bucket: Bucket) -> Tensor:
        ctx.bucket = bucket
        return rectangle.index_select(1, bucket.unpad_index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.index_select(1, ctx.bucket.pad_index).index_fill_(1, ctx.bucket.padding, 0.0), None


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,  # (1, H, T, D)
    key: Tensor,  # (1, K, T, D), K key and value heads
    value: Tensor,  # (1, K, T, D)
    attention_mask: Tensor | None,
    *,
    segments: Segments,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each segment (transformers' attention interface). Returns (1, T, H, D)."""
    del module, attention_mask  # the segments say all there is to say
    parts = []
    for bucket in segments.buckets:
        window = slice(bucket.start, bucket.start + bucket.num_tokens)
        attend = _fused if bucket.max_length > LONG_SEGMENT and softcap is None else _batched
        parts.append(
            attend(
                query[0, :, window],
                key[0, :, window],
                value[0, :, window],
                bucket=bucket,
                scaling=scaling,
                dropout=dropout,
                sliding_window=sliding_window,
                softcap=softcap,
            )
        )
    output = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)  # (H, T, D)
    return output.transpose(0, 1)[None], None


def _batched(
    query: Tensor,  # (H, N, D)
    key: Tensor,  # (K, N, D)
    value: Tensor,
    *,
    bucket: Bucket,
    scaling: float,
    dropout: float,
    sliding_window: int | None,
    softcap: float | None,
) -> Tensor:
    """Matrix product, masked softmax, matrix product over all segments of a bucket at once."""
    (num_heads, _, head_dim), num_kv_heads = query.shape, key.shape[0]
    num_segments, length = bucket.num_segments, bucket.max_length
    group = num_heads // num_kv_heads
    if bucket.padding.numel():
        query, key, value = (_Pad.apply(tensor, bucket) for tensor in (query, key, value))
    # Query heads of one key head become rows of one matrix: (K·S, G·L, D).
    rows = query.reshape(num_kv_heads, group, num_segments, length, head_dim).transpose(1, 2)
    rows = rows.reshape(num_kv_heads * num_segments, group * length, head_dim)
    keys = key.reshape(num_kv_heads * num_segments, length, head_dim)
    values = value.reshape(num_kv_heads * num_segments, length, head_dim)

    mask = _causal_mask(length, sliding_window, query)  # (L, L), 0 or -inf
    scores = torch.bmm(rows * scaling, keys.transpose(1, 2)).view(-1, length, length)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    probabilities = functional.softmax(scores + mask, dim=-1)
    if dropout:
        probabilities = functional.dropout(probabilities, dropout)
    mixed = torch.bmm(probabilities.view(num_kv_heads * num_segments, group * length, length), values)

    mixed = mixed.view(num_kv_heads, num_segments, group, length, head_dim).transpose(1, 2)
    output = mixed.reshape(num_heads, num_segments * length, head_dim)
    return _Unpad.apply(output, bucket) if bucket.padding.numel() else output


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bucket: Bucket,
    scaling: float,
    dropout: float,
    sliding_window: int | None,
    softcap: float | None,
) -> Tensor:
    """PyTorch's fused kernel, one segment after another: memory linear in the length."""
    del softcap
    parts, first = [], 0
    for length in bucket.lengths:
        window = slice(first, first + length)
        mask = _causal_mask(length, sliding_window, query) if sliding_window is not None and sliding_window < length else None
        parts.append(
            functional.scaled_dot_product_attention(
                query[None, :, window],
                key[None, :, window],
                value[None, :, window],
                attn_mask=mask,
                is_causal=mask is None,
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=True,
            )[0]
        )
        first += length
    return torch.cat(parts, dim=1)


def _causal_mask(length: int, sliding_window: int | None, like: Tensor) -> Tensor:
    """(L, L): 0 where a query row may see a key column, -inf elsewhere."""
    hidden = torch.ones(length, length, dtype=torch.bool, device=like.device).triu_(1)
    if sliding_window is not None and sliding_window < length:
        hidden |= torch.ones_like(hidden).tril_(-sliding_window)
    return torch.zeros(length, length, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))


AttentionInterface.register(IMPLEMENTATION, segment_attention)


@contextmanager
def attending_by_segments(network: PreTrainedModel) -> Iterator[None]:
    """Within the block the model expects `segments=` in its forward call and builds no mask of its own."""
    before = network.config._attn_implementation
    if before == IMPLEMENTATION:
        yield
        return
    network.set_attn_implementation(IMPLEMENTATION)
    try:
        yield
    finally:
        network.set_attn_implementation(before)
