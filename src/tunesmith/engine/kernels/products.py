"""Products with weights laid out beforehand the way the processor reads them: ours with AVX512-BF16, else oneDNN's.

Measured on SmolLM2-135M in bfloat16, two cores, all its layers: 40 rows 20.6 ms, oneDNN's layout 26.1; 1,024 rows 497 ms, oneDNN's
514, plain weights 566. And no number of rows costs the compilation of a kernel.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from tunesmith.engine.kernels import native

COLUMNS = 48
"""Outputs in a panel of products.cpp."""
EXPECTED_ROWS = 64
"""For which number of rows oneDNN lays weights out."""


class PackedWeight(Protocol):
    """A copy of a weight (out, in)."""

    takes_any_rows: bool
    """A number of rows that has not occurred before costs nothing."""

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(T, in) to (T, out)."""
        ...


def pack_weight(weight: Tensor) -> PackedWeight | None:
    """Lay out a weight (out, in) in bfloat16 on a CPU; None for any other, or where nobody can."""
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return None
    weight = weight.detach().contiguous()
    if native.usable(weight) and weight.shape[1] % 2 == 0 and native.library().handle.has_packed_product():  # type: ignore[union-attr]
        return NativeWeight(weight)
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return OneDnnWeight(weight)
    return None


class PlainWeight:
    """The weight itself, for torch's own products."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight.detach()
        self.takes_any_rows = weight.dtype != torch.bfloat16

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        return torch.nn.functional.linear(x, self._weight, bias)


class NativeWeight:
    """For products.cpp."""

    takes_any_rows = True

    def __init__(self, weight: Tensor) -> None:
        self._outs, self._ins = weight.shape
        self._panels = weight.new_empty(-(-self._outs // COLUMNS) * COLUMNS * self._ins)
        native.call("lay_out", weight.dtype, weight, self._panels, self._outs, self._ins)
        self._run = native.plain("packed_product", weight.dtype, "aaaaiiii")

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        x = x.contiguous()
        rows = x.shape[0]
        y = x.new_empty(rows, self._outs)
        address = 0 if bias is None else bias.data_ptr()
        self._run(x.data_ptr(), self._panels.data_ptr(), address, y.data_ptr(), rows, self._ins, self._outs, torch.get_num_threads())
        return y


class OneDnnWeight:
    """For torch's bridge to oneDNN."""

    takes_any_rows = False

    def __init__(self, weight: Tensor) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, EXPECTED_ROWS)

    def __call__(self, x: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, bias, "none", [], "")
        return y
