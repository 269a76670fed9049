"""What a forward pass keeps for the backward pass, kept small and in one place.

Input of a linear layer that a norm has made is computed again from the norm's input, which is kept anyway. The widest
activations, of the gated layers, lie in buffers that are used again in every pass: allocated one by one between kernels and
small objects that stay, packs of ever other lengths would leave holes in the process' memory that nothing fits into.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tunesmith.engine.kernels import rms_norm


class Normed(NamedTuple):
    """How a norm's output is computed; see `kernels.rms_norm`."""

    x: Tensor
    weight: Tensor
    eps: float
    offset: float

    def again(self) -> Tensor:
        """(T, E) rows of the output, the very same numbers."""
        with torch.no_grad():
            return rms_norm(self.x, self.weight, self.eps, self.offset).flatten(0, -2)


def remember(output: Tensor, how: Normed) -> Tensor:
    """Tell whoever gets this very tensor how to compute it."""
    output.normed = how  # type: ignore[attr-defined]
    return output


def origin(x: Tensor) -> Normed | None:
    """How `x` was computed, if a norm made it."""
    return getattr(x, "normed", None)


def save_input(ctx: Any, x: Tensor, made: Normed | None, *others: Tensor) -> None:
    """Keep x (T, E), or what it is made of, and the others for the backward pass."""
    ctx.made = None if made is None else made._replace(x=x.new_empty(0), weight=x.new_empty(0))
    ctx.save_for_backward(*((x,) if made is None else (made.x, made.weight)), *others)


class SavedInput(NamedTuple):
    """Of a layer, as it was kept."""

    source: Tensor | Normed

    def get(self) -> Tensor:
        """x (T, E), computed again where a norm made it."""
        return self.source if isinstance(self.source, Tensor) else self.source.again()


def saved_input(ctx: Any) -> tuple[SavedInput, list[Tensor]]:
    """The input, and the others. To be called once: what is checkpointed is computed again for it."""
    if ctx.made is None:
        x, *others = ctx.saved_tensors
        return SavedInput(x), others
    x, weight, *others = ctx.saved_tensors
    return SavedInput(ctx.made._replace(x=x, weight=weight)), others


LEAST_ROWS = 1024
"""A buffer has room for so many tokens at least; memory that no pack has reached is not the process' yet."""
AT_ONCE = 8
"""Buffers allocated together: large enough that the C library asks the system for them, outside of its own heap."""


class Buffers:
    """Matrices that are taken in a forward pass and handed back in the backward pass, on CPUs.

    One that is never handed back, because no backward pass came, is freed like any tensor. What activation checkpointing will
    let go of at once comes from nowhere else than a tensor does.
    """

    def __init__(self) -> None:
        self._free: defaultdict[tuple[int, torch.dtype], list[Tensor]] = defaultdict(list)

    def take(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(at least `rows`, columns) of the type and on the device of `like`, content undefined."""
        if like.device.type != "cpu" or _lets_go():
            return like.new_empty(rows, columns)
        free = self._free[columns, like.dtype]
        if not free or len(free[-1]) < rows:
            capacity = max(LEAST_ROWS, 1 << (rows - 1).bit_length())
            together = torch.empty(AT_ONCE, capacity, columns, dtype=like.dtype)
            free[:] = [part.data for part in together.unbind()]  # `data`: writing to one is no change to the others for autograd
        return free.pop()

    def hand_back(self, matrix: Tensor) -> None:
        """Who took it needs it no more."""
        if matrix.device.type == "cpu" and matrix.untyped_storage().nbytes() > matrix.nbytes:  # one of several
            self._free[matrix.shape[1], matrix.dtype].append(matrix)

    def clear(self) -> None:
        """Free all that nobody has taken."""
        self._free.clear()


def _lets_go() -> bool:
    """Whether what is saved now goes through somebody's hooks: activation checkpointing keeps nothing of it."""
    return torch._C._autograd._top_saved_tensors_default_hooks(True) is not None


BUFFERS = Buffers()
"""Of this process: networks take turns."""
