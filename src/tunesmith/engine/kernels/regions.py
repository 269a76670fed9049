"""What lies between the matrix products, in plain torch: run as it stands on CPUs, compiled to one kernel each on GPUs.

Regions are small on purpose: each compiles in seconds, once for all shapes, and inductor keeps it on disk; a whole model
takes minutes. `compiled_if_worth` switches compilation on for runs that are long enough to earn those seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

P = ParamSpec("P")
R = TypeVar("R")

FEWEST_STEPS = 50
"""Compiling the regions takes some ten seconds the first time; shorter runs are over before it has paid."""


class _Switch:
    """Seen by all threads: autograd runs the backward pass of a GPU in one of its own."""

    is_on = False


@contextmanager
def compiled_if_worth(num_steps: int) -> Iterator[None]:
    """Within the block regions are compiled on GPUs if there are steps enough."""
    before, _Switch.is_on = _Switch.is_on, num_steps >= FEWEST_STEPS
    try:
        yield
    finally:
        _Switch.is_on = before


REGIONS: dict[str, Callable[..., Any]] = {}
"""The plain functions by name."""


def region(function: Callable[P, R]) -> Callable[P, R]:
    """Compiled when its tensors are on a GPU and that pays; its first argument is one of them."""
    REGIONS[function.__name__] = function

    @cache
    def compiled() -> Callable[P, R]:
        # `dynamic`: packs come in many lengths, and a compilation for each would never be paid back.
        return torch.compile(function, dynamic=True, fullgraph=True)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        tensor = args[0]
        assert isinstance(tensor, Tensor)
        return (compiled() if tensor.is_cuda and _Switch.is_on else function)(*args, **kwargs)

    return run


@region
def rms_norm_forward(x: Tensor, weight: Tensor, eps: float, offset: float) -> tuple[Tensor, Tensor]:
    """The normalised rows, in their type, and 1 / sqrt(mean(x^2) + eps) of each, (…, 1) float32."""
    wide = x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (wide * scale * (weight.float() + offset)).to(x.dtype), scale


@region
def rms_norm_backward(dy: Tensor, x: Tensor, weight: Tensor, scale: Tensor, offset: float) -> tuple[Tensor, Tensor]:
    """Gradients of the input and of the weight."""
    normed = x.float() * scale
    weighted = dy.float() * (weight.float() + offset)
    inner = (weighted * normed).mean(-1, keepdim=True)
    dx = (scale * (weighted - normed * inner)).to(x.dtype)
    return dx, (dy.float() * normed).flatten(0, -2).sum(0).to(weight.dtype)


@region
def gated_forward(gate_up: Tensor, activation: str) -> Tensor:
    """act(gate) * up of rows [gate | up]."""
    gate, up = gate_up.float().chunk(2, dim=1)
    return (_activate(gate, activation) * up).to(gate_up.dtype)


@region
def gated_backward(gate_up: Tensor, dout: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Gradient of [gate | up], and the forward's result."""
    gate, up = gate_up.float().chunk(2, dim=1)
    value, wide = _activate(gate, activation), dout.float()
    slope = _silu_slope(gate) if activation == "silu" else _gelu_tanh_slope(gate)
    return torch.cat([wide * up * slope, wide * value], dim=1).to(gate_up.dtype), (value * up).to(dout.dtype)


def _activate(gate: Tensor, activation: str) -> Tensor:
    return functional.silu(gate) if activation == "silu" else functional.gelu(gate, approximate="tanh")


def _silu_slope(x: Tensor) -> Tensor:
    sigmoid = torch.sigmoid(x)
    return sigmoid * (1 + x * (1 - sigmoid))


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    """Derivative of the tanh approximation (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2)."""
    factor = math.sqrt(2 / math.pi)
    tanh = torch.tanh(factor * (x + 0.044715 * x**3))
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * factor * (1 + 3 * 0.044715 * x * x)


@region
def turn(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding of the first entries of each head, as many as `cosine` has columns."""
    size = cosine.shape[1]
    rotated, rest = heads[..., :size], heads[..., size:]
    first, second = rotated.float().chunk(2, dim=-1)
    turned = rotated.float() * cosine.float() + torch.cat([-second, first], dim=-1) * sine.float()
    return torch.cat([turned.to(heads.dtype), rest], dim=-1)
