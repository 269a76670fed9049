"""Products with weights laid out beforehand, against float32 products of the same numbers."""

from __future__ import annotations

import pytest
import torch

from tunesmith.engine.kernels import native
from tunesmith.engine.kernels.products import COLUMNS, NativeWeight, OneDnnWeight, PackedWeight, PlainWeight, pack_weight

WAYS = {"ours": NativeWeight, "oneDNN": OneDnnWeight, "plain": PlainWeight}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, compiled: None) -> type:
    if request.param == "ours" and not native.library().handle.has_packed_product():  # type: ignore[union-attr]
        pytest.skip("this processor has no products in bfloat16")
    return WAYS[request.param]


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9, 33, 64])
@pytest.mark.parametrize("outs", [1, 16, COLUMNS, COLUMNS + 17, 5 * COLUMNS])
@pytest.mark.parametrize("with_bias", [False, True])
def test_it_is_the_product(way: type, rows: int, outs: int, with_bias: bool) -> None:
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(shape, dtype=torch.bfloat16) for shape in ((rows, 34), (outs, 34), (outs,)))
    packed: PackedWeight = way(weight)
    found = packed(x, bias if with_bias else None)
    expected = x.float() @ weight.float().T + (bias.float() if with_bias else 0)
    assert found.shape == (rows, outs)
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=2e-2)


def test_threads_do_not_matter(way: type) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(9, 64, dtype=torch.bfloat16), torch.randn(7 * COLUMNS + 1, 64, dtype=torch.bfloat16)
    packed, before, found = way(weight), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(packed(x, None))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_rows_that_do_not_lie_together(way: type) -> None:
    x, weight = torch.randn(6, 40, dtype=torch.bfloat16), torch.randn(20, 20, dtype=torch.bfloat16)
    packed = way(weight)
    torch.testing.assert_close(packed(x[:, 10:30], None), packed(x[:, 10:30].contiguous(), None))


def test_who_lays_out_what(compiled: None) -> None:
    """In float32 nobody does; an odd number of inputs, or no native kernels, are left to oneDNN."""
    assert pack_weight(torch.randn(4, 4)) is None
    assert not isinstance(pack_weight(torch.randn(4, 5, dtype=torch.bfloat16)), NativeWeight)
    with native.plain_torch():
        assert not isinstance(pack_weight(torch.randn(4, 4, dtype=torch.bfloat16)), NativeWeight)
