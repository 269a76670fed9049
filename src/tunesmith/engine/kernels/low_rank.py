"""The thin products of low-rank adapters: native in bfloat16 where the processor has dot products of pairs, else torch's.

All matrices may be parts of larger ones, with any steps between rows; `scale` multiplies the adapter's weight.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from tunesmith.engine.kernels import native

RANKS, SIZES = 16, 32
"""The kernels take ranks and sizes that are multiples of these."""


def down(x: Tensor, weight: Tensor, scale: float = 1.0, out: Tensor | None = None) -> Tensor:
    """x (T, K) times `scale * weight` (R, K) transposed: (T, R)."""
    (rows, size), rank = x.shape, len(weight)
    if not _usable(rank, size, x, weight):
        return torch.mm(x, _times(weight, scale).T, out=out)
    result = x.new_empty(rows, rank) if out is None else out
    native.call(
        "low_rank_down", x.dtype, x, x.stride(0), weight, *weight.stride(), float(scale), result, result.stride(0), rows, size, rank
    )
    return result


def add_up(y: Tensor, inner: Tensor, weight: Tensor, scale: float = 1.0) -> Tensor:
    """Add inner (T, R) times `scale * weight` (N, R) transposed to y (T, N), in place."""
    (rows, rank), size = inner.shape, len(weight)
    if not _usable(rank, size, y, inner, weight):
        return y.addmm_(inner, _times(weight, scale).T)
    steps = y, y.stride(0), inner, inner.stride(0), weight, *weight.stride()
    native.call("low_rank_up", y.dtype, *steps, float(scale), rows, size, rank)
    return y


def gradient(inner: Tensor, z: Tensor, scale: float = 1.0, *, transposed: bool = False) -> Tensor:
    """`scale` times inner (T, R) transposed times z (T, N): (R, N), or its transpose."""
    (rows, rank), size = inner.shape, z.shape[1]
    if not _usable(rank, size, inner, z):
        product = torch.mm(inner.T, z)
        return _times(product.T if transposed else product, scale)
    result = z.new_empty((size, rank) if transposed else (rank, size))
    oriented = result.T if transposed else result
    steps = inner, inner.stride(0), z, z.stride(0), result, *oriented.stride()
    native.call("low_rank_gradient", z.dtype, *steps, float(scale), rows, rank, size)
    return result


def _times(weight: Tensor, scale: float) -> Tensor:
    return weight if scale == 1.0 else weight * scale


def _usable(rank: int, size: int, *matrices: Tensor) -> bool:
    if rank % RANKS or size % SIZES or not _is_native() or native.is_off():
        return False
    return all(m.dtype == torch.bfloat16 and m.device.type == "cpu" and 1 in m.stride() for m in matrices)


@cache
def _is_native() -> bool:
    handle = native.library().handle
    return handle is not None and bool(handle.has_low_rank())
