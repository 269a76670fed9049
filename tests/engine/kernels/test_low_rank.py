"""The thin products of adapters: native equals plain torch to rounding, on whole matrices and on parts of larger ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tunesmith.engine.kernels import low_rank, native

SHAPES = [(64, 64, 16), (37, 96, 48), (1, 32, 32), (40, 64, 8), (40, 20, 16)]
"""Rows, size, rank; the last two are no multiples that the native kernels take."""


def normal(*shape: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator).to(dtype)


def part_of_wider(matrix: Tensor) -> Tensor:
    return torch.cat([matrix.new_full((len(matrix), 32), 7.0), matrix], dim=1)[:, 32:]


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.double(), expected, rtol=1.6e-2, atol=1e-2 * float(expected.abs().max()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("rows", "size", "rank"), SHAPES)
def test_each_product(rows: int, size: int, rank: int, dtype: torch.dtype) -> None:
    wide, inner = part_of_wider(normal(rows, size, dtype=dtype)), part_of_wider(normal(rows, rank, dtype=dtype))
    weight = normal(rank, size, dtype=dtype)
    near(low_rank.down(wide, weight, 0.5), 0.5 * wide.double() @ weight.double().T)
    out = part_of_wider(torch.zeros(rows, rank, dtype=dtype))
    low_rank.down(wide, weight.T.contiguous().T, out=out)
    near(out, wide.double() @ weight.double().T)
    near(low_rank.gradient(inner, wide, 0.5), 0.5 * inner.double().T @ wide.double())
    near(low_rank.gradient(inner, wide, transposed=True), wide.double().T @ inner.double())
    expected = wide.double() + 2.0 * inner.double() @ weight.double()
    near(low_rank.add_up(wide, inner, weight.T, 2.0), expected)


@pytest.mark.skipif(not low_rank._is_native(), reason="no compiler, or a processor without dot products of bfloat16 pairs")
def test_the_native_kernels_run(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    call = native.call
    monkeypatch.setattr(native, "call", lambda name, *rest: (called.append(name), call(name, *rest)))
    x, weight = normal(64, 64, dtype=torch.bfloat16), normal(16, 64, dtype=torch.bfloat16)
    low_rank.gradient(low_rank.down(x, weight), low_rank.add_up(x, low_rank.down(x, weight), weight.T))
    assert called == ["low_rank_down", "low_rank_down", "low_rank_up", "low_rank_gradient"]


@pytest.mark.skipif(not low_rank._is_native(), reason="no compiler, or a processor without dot products of bfloat16 pairs")
def test_threads_do_not_matter() -> None:
    x, weight = normal(70, 64, dtype=torch.bfloat16), normal(16, 64, dtype=torch.bfloat16)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            inner = low_rank.down(x, weight)
            results.append((inner, low_rank.add_up(x.clone(), inner, weight.T), low_rank.gradient(inner, x)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
