"""Attention within segments and to ancestors by PyTorch's FlexAttention, which skips blocks where nothing is visible.

For CUDA, where it is compiled to one kernel. On a CPU it runs uncompiled, forward only: slow, but the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from tunesmith.engine.segments import Places, Segments, sees


def flex_segments(
    query: Tensor,  # (1, H, T, D)
    key: Tensor,  # (1, K, T, D), K key and value heads
    value: Tensor,
    segments: Segments,
    scaling: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """Returns (1, H, T, D)."""
    is_cuda = query.is_cuda
    attend = _compiled() if is_cuda else flex_attention
    capped = None if softcap is None else _soft_cap(softcap)
    mask = _block_mask(segments, window)
    output: Tensor = attend(query, key, value, score_mod=capped, block_mask=mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1])
    return output


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=True)


@cache
def _soft_cap(softcap: float) -> Callable[..., Tensor]:
    def cap(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head, query, key
        return softcap * torch.tanh(score / softcap)

    return cap


def _block_mask(segments: Segments, window: int | None) -> BlockMask:
    """Made once for each pack and window: every layer asks for the same ones."""
    window = None if window is None or window > segments.max_position else window
    if ("blocks", window) not in segments.cache:
        length = len(segments.places.number)
        device = segments.places.number.device
        segments.cache["blocks", window] = create_block_mask(mask_mod(segments.places, window), None, None, length, length, device=device)
    block_mask: BlockMask = segments.cache["blocks", window]
    return block_mask


def mask_mod(places: Places, window: int | None) -> Callable[..., Tensor]:
    """FlexAttention's question, may this query see that key, asked of the pack's places."""
    number, family_end, position = places

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        return sees(number[query], position[query], Places(number[key], family_end[key], position[key]), window)

    return visible
