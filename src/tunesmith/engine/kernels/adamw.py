"""float32 numbers in two halves of 16 bits, and AdamW on weights kept so: native where it can be, plain torch elsewhere.

>>> halves = split(torch.tensor([1.0, 0.1]))
>>> halves.high                                  # rounded to bfloat16: what the network computes with
tensor([1.0000, 0.1001], dtype=torch.bfloat16)
>>> join(halves)
tensor([1.0000, 0.1000])

The bits of the float32 number are (high << 16) + low, low being signed: exact, for every float32 number there is.
`high` is the bfloat16 number nearest to it; of two equally near ones the one farther from zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tunesmith.engine.kernels import native

BLOCK = 4096
"""Numbers whose squares are added up in float32; the sums of blocks are added up in float64. As in adamw.cpp."""


class Halves(NamedTuple):
    """float32 numbers."""

    high: Tensor
    """bfloat16"""
    low: Tensor
    """int16"""


CHUNK = 2**20
"""Numbers put together or taken apart at a time, so that this takes hardly any memory."""


def split(values: Tensor) -> Halves:
    """float32 into halves, without loss."""
    bits = values.contiguous().view(torch.int32)
    halves = Halves(torch.empty_like(bits, dtype=torch.int16), torch.empty_like(bits, dtype=torch.int16))
    for high, low, part in zip(*(t.view(-1).split(CHUNK) for t in (*halves, bits)), strict=True):
        low.copy_(part)  # the lower 16 bits, the highest of them as a sign
        high.copy_(part.sub(low).bitwise_right_shift_(16))
    return halves._replace(high=halves.high.view(torch.bfloat16))


def join(halves: Halves) -> Tensor:
    """The float32 numbers, in memory of their own."""
    highs, lows = halves.high.contiguous().view(torch.int16), halves.low.contiguous()
    bits = torch.empty_like(lows, dtype=torch.int32)
    for part, high, low in zip(*(t.view(-1).split(CHUNK) for t in (bits, highs, lows)), strict=True):
        torch.add(high.to(torch.int32).bitwise_left_shift_(16), low, out=part)
    return bits.view(torch.float32)


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Settings of one update (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2)."""

    rate: float
    weight_decay: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    scale: float = 1.0
    """Every gradient is multiplied by it."""


class Moments(NamedTuple):
    """Running means for each weight, no wider than what they gain by it."""

    mean: Tensor
    """bfloat16, of the gradients: an update renews a tenth of it, far more than rounding takes."""
    square_high: Tensor
    """bfloat16, of the gradients' squares, the upper 16 bits of a float32 number. An update renews a thousandth part, which is less
    than bfloat16 can tell apart."""
    square_low: Tensor
    """uint8, the next 8 bits: rounding takes less than a hundredth of what an update renews."""


def new_moments(weight: Tensor) -> Moments:
    """Of the weight's shape; they hold nothing yet, and their memory is first touched by the first update."""
    mean, high, low = (torch.empty_like(weight, dtype=dtype) for dtype in (torch.bfloat16, torch.bfloat16, torch.uint8))
    return Moments(mean, high, low)


def narrowed(mean: Tensor, square: Tensor) -> Moments:
    """float32 moments, rounded."""
    bits = square.contiguous().view(torch.int32).add(0x80).bitwise_right_shift_(8)
    return Moments(mean.bfloat16(), bits.bitwise_right_shift(8).to(torch.int16).view(torch.bfloat16), bits.to(torch.uint8))


def widened_square(moments: Moments) -> Tensor:
    """float32, of the gradients' squares."""
    bits = moments.square_high.contiguous().view(torch.int16).to(torch.int32).bitwise_left_shift_(16)
    return bits.add_(moments.square_low.to(torch.int32).bitwise_left_shift_(8)).view(torch.float32)


@torch.no_grad()
def adamw_(weight: Halves, moments: Moments, gradient: Tensor, step: int, settings: AdamW) -> None:
    """Update weights and moments in place; in step 1 the moments need not hold anything.

    Args:
        gradient: bfloat16 or float32.
        step: this update's number, from 1 on.
    """
    beta, beta_square = settings.betas
    step_size, root = settings.rate / (1 - beta**step), math.sqrt(1 - beta_square**step)
    keep = 1 - settings.rate * settings.weight_decay
    if native.usable(gradient) and all(part.is_contiguous() for part in (*weight, *moments)):
        factors = (settings.scale, keep, 1 - beta, beta_square, 1 - beta_square, step_size, root, settings.eps)
        native.call("adamw", gradient.dtype, *weight, *moments, gradient, gradient.numel(), int(step == 1), *map(float, factors))
        return
    gradient = gradient.float() * settings.scale
    mean, square = (torch.zeros_like(gradient),) * 2 if step == 1 else (moments.mean.float(), widened_square(moments))
    mean = mean.lerp(gradient, 1 - beta)
    square = square.mul(beta_square).addcmul_(gradient, gradient, value=1 - beta_square)
    new = join(weight).mul_(keep).addcdiv_(mean, (square.sqrt() / root).add_(settings.eps), value=-step_size)
    for part, value in zip((*weight, *moments), (*split(new), *narrowed(mean, square)), strict=True):
        part.copy_(value)


def norm(tensors: Iterable[Tensor]) -> float:
    """Euclidean norm of all numbers together; does not depend on the number of threads."""
    return math.sqrt(sum(_square_sum(tensor) for tensor in tensors))


def _square_sum(tensor: Tensor) -> float:
    if native.usable(tensor):
        sums = torch.empty(-(-tensor.numel() // BLOCK))
        native.call("square_sums", tensor.dtype, tensor, sums, tensor.numel())
    else:
        sums = tensor.float().square()
    return float(sums.sum(dtype=torch.float64))
