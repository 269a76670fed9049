"""Attention over a forest of segments in one native call; see attention.cpp for how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tunesmith.engine.kernels import native


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """For every segment of a pack the ranges of tokens it sees, from the root on, its own last. On the CPU.

    The ranges of segment s are those numbered `first[s] … first[s + 1]`; there are R of them in all.
    """

    first: Tensor
    """(segments + 1,) int64."""
    start: Tensor
    """(R,) int64, first token of each range in the pack."""
    length: Tensor
    """(R,) int64."""
    is_shared: Tensor
    """(T,) uint8: 1 where the token's segment has descendants."""
    any_shared: bool


def build_paths(starts: Sequence[int], lengths: Sequence[int], parents: Sequence[int | None]) -> Paths:
    """Follow every segment up to its root; a parent's number is below its children's."""
    paths: list[list[int]] = []
    for segment, parent in enumerate(parents):
        paths.append([*([] if parent is None else paths[parent]), segment])
    flat = [segment for path in paths for segment in path]
    is_shared = torch.zeros(sum(lengths), dtype=torch.uint8)
    for parent in {parent for parent in parents if parent is not None}:
        is_shared[starts[parent] : starts[parent] + lengths[parent]] = 1
    return Paths(
        first=torch.tensor([0, *(len(path) for path in paths)]).cumsum(0),
        start=torch.tensor([starts[segment] for segment in flat]),
        length=torch.tensor([lengths[segment] for segment in flat]),
        is_shared=is_shared,
        any_shared=bool(is_shared.any()),
    )


def forest_attention(query: Tensor, key: Tensor, value: Tensor, paths: Paths, scaling: float, window: int | None) -> Tensor:
    """Each token attends to its segment up to itself and to the segment's ancestors, at most `window` tokens back.

    Args:
        query: (H, T, D).
        key: (K, T, D), H a multiple of K.
        value: (K, T, D).

    Returns: (T, H, D). Call only when `native.usable` says so.
    """
    result: Tensor = _ForestAttention.apply(query.contiguous(), key.contiguous(), value.contiguous(), paths, float(scaling), window or 0)
    return result


class _ForestAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, paths: Paths, scaling: float, window: int) -> Tensor:
        heads, tokens, dim = query.shape
        out = query.new_empty(tokens, heads, dim)
        normaliser = torch.empty(heads, tokens, dtype=torch.float32)
        ctx.paths, ctx.scaling, ctx.window = paths, scaling, window
        native.call("attention_forward", query.dtype, query, key, value, out, normaliser, *_described(query, key, paths, window), scaling)
        ctx.save_for_backward(query, key, value, out, normaliser)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, normaliser = ctx.saved_tensors
        grads = torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
        inputs = (grad.contiguous(), query, key, value, out, normaliser)
        shared = (ctx.paths.is_shared, int(ctx.paths.any_shared))
        forest = _described(query, key, ctx.paths, ctx.window)
        native.call("attention_backward", query.dtype, *inputs, *grads, *shared, *forest, ctx.scaling)
        return (*grads, None, None, None)


def _described(query: Tensor, key: Tensor, paths: Paths, window: int) -> tuple[Any, ...]:
    (heads, tokens, dim), kv_heads = query.shape, key.shape[0]
    return paths.first, paths.start, paths.length, len(paths.first) - 1, tokens, heads, kv_heads, dim, window
