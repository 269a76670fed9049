"""The fused operations, each as one differentiable function: native where it can be, plain torch elsewhere.

What is saved for the backward pass is the input as it was, in the compute type; everything else is computed again there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tunesmith.engine.kernels import native, regions

ACTIVATIONS = ("silu", "gelu_tanh")
"""What a gate may be activated with (`gelu_tanh`: the tanh approximation)."""


def rms_norm(x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * (weight + offset) over the last dimension (Zhang and Sennrich 2019, arXiv:1910.07467).

    `offset` is 1 for Gemma's norms, else 0. Computed in float32 and rounded once.
    """
    result: Tensor = _RmsNorm.apply(x.contiguous(), weight, float(eps), float(offset))
    return result


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
        size = x.shape[-1]
        rows = x.numel() // size
        if native.usable(x, weight):
            y = torch.empty_like(x)
            scale = torch.empty(rows, dtype=torch.float32)
            native.call("rms_norm_forward", x.dtype, x, weight, y, scale, rows, size, eps, offset)
        else:
            y, scale = regions.rms_norm_forward(x, weight, eps, offset)
        ctx.save_for_backward(x, weight, scale)
        ctx.offset = offset
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x, weight, scale = ctx.saved_tensors
        size = x.shape[-1]
        dy = dy.contiguous()
        if native.usable(dy, x, weight):
            dx = torch.empty_like(x)
            dweight = torch.empty(size, dtype=torch.float32) if ctx.needs_input_grad[1] else None
            native.call("rms_norm_backward", x.dtype, dy, x, weight, scale, dx, dweight, x.numel() // size, size, ctx.offset)
            return dx, None if dweight is None else dweight.to(weight.dtype), None, None
        dx, dweight = regions.rms_norm_backward(dy, x, weight, scale.view(*x.shape[:-1], 1), ctx.offset)
        return dx, dweight if ctx.needs_input_grad[1] else None, None, None


def gated(gate_up: Tensor, activation: str) -> Tensor:
    """act(gate) * up, for (T, 2F) rows of [gate | up] (Shazeer 2020, arXiv:2002.05202). Returns (T, F)."""
    result: Tensor = _Gated.apply(gate_up, activation)
    return result


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor, activation: str) -> Tensor:
        ctx.save_for_backward(gate_up)
        ctx.activation = activation
        return gated_forward(gate_up, activation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor, None]:
        (gate_up,) = ctx.saved_tensors
        return gated_backward(dout.contiguous(), gate_up, ctx.activation)[0], None


def gated_forward(gate_up: Tensor, activation: str) -> Tensor:
    """`gated` without autograd."""
    rows, size = gate_up.shape[0], gate_up.shape[1] // 2
    if native.usable(gate_up):
        out = gate_up.new_empty(rows, size)
        native.call(f"gated_forward_{activation}", gate_up.dtype, gate_up, out, rows, size)
        return out
    return regions.gated_forward(gate_up, activation)


def gated_backward(dout: Tensor, gate_up: Tensor, activation: str, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Gradient (T, 2F) of [gate | up], and the forward's result (T, F) once more, for who did not keep it.

    The gradient is written to `out`, which may be `gate_up` itself.
    """
    rows, size = gate_up.shape[0], gate_up.shape[1] // 2
    if native.usable(dout, gate_up):
        grad, product = torch.empty_like(gate_up) if out is None else out, torch.empty_like(dout)
        native.call(f"gated_backward_{activation}", gate_up.dtype, dout, gate_up, grad, product, rows, size)
        return grad, product
    grad, product = regions.gated_backward(gate_up, dout, activation)
    return grad if out is None else out.copy_(grad), product


def rotary(rows: Tensor, cosine: Tensor, sine: Tensor, num_rotated: int, num_heads: int) -> Tensor:
    """Turn the first `num_rotated` of the heads in token-major rows and lay all of them out head-major.

    Args:
        rows: (T, num_heads * D), queries, then keys, then values.
        cosine: (T, R), R <= D: only the first R entries of a head are turned (Su et al. 2021, arXiv:2104.09864; pairs are
            the two halves, as transformers' `rotate_half` has it).
        sine: (T, R).
        num_rotated: heads that are turned, queries and keys.
        num_heads: all heads.

    Returns: (num_heads, T, D).
    """
    result: Tensor = _Rotary.apply(rows.contiguous(), cosine.contiguous(), sine.contiguous(), num_rotated, num_heads)
    return result


class _Rotary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, cosine: Tensor, sine: Tensor, num_rotated: int, num_heads: int) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        ctx.num_rotated = num_rotated
        tokens, dim = rows.shape[0], rows.shape[1] // num_heads
        if native.usable(rows, cosine, sine):
            heads = rows.new_empty(num_heads, tokens, dim)
            sizes = (tokens, num_rotated, num_heads, dim, cosine.shape[1], rows.shape[1])
            native.call("rotary_forward", rows.dtype, rows, heads, cosine, sine, *sizes)
            return heads
        heads = rows.view(tokens, num_heads, dim).transpose(0, 1)
        return torch.cat([regions.turn(heads[:num_rotated], cosine, sine), heads[num_rotated:]])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        cosine, sine = ctx.saved_tensors
        grad = grad.contiguous()
        num_heads, tokens, dim = grad.shape
        if native.usable(grad, cosine, sine):
            rows = grad.new_empty(tokens, num_heads * dim)
            sizes = (tokens, ctx.num_rotated, num_heads, dim, cosine.shape[1], num_heads * dim)
            native.call("rotary_backward", grad.dtype, grad, rows, cosine, sine, *sizes)
            return rows, None, None, None, None
        turned = torch.cat([regions.turn(grad[: ctx.num_rotated], cosine, -sine), grad[ctx.num_rotated :]])
        return turned.transpose(0, 1).reshape(tokens, num_heads * dim), None, None, None, None


def cross_entropy_(logits: Tensor, labels: Tensor, weight: float, needs_grad: bool) -> Tensor:
    """(m,) float32 nats of the labels; the (m, V) logits are overwritten by `weight` times the gradient (softmax minus one-hot).

    Without `needs_grad` their content is undefined afterwards.

    Raises:
        IndexError: a label is no token of the vocabulary.
    """
    labels = labels.long().contiguous()
    if labels.device.type == "cpu" and len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[1]:
        raise IndexError(f"labels from {int(labels.min())} to {int(labels.max())}, for {logits.shape[1]} logits")
    if native.usable(logits):
        nats = torch.empty(len(labels), dtype=torch.float32)
        native.call("cross_entropy", logits.dtype, logits, labels, nats, *logits.shape, float(weight), int(needs_grad))
        return nats
    logarithms = torch.log_softmax(logits.float(), dim=-1)
    rows = torch.arange(len(labels), device=labels.device)
    nats = -logarithms[rows, labels]
    if needs_grad:
        probabilities = logarithms.exp_()
        probabilities[rows, labels] -= 1.0
        logits.copy_(probabilities.mul_(weight))
    return nats


def argmax(rows: Tensor) -> Tensor:
    """(n,) int64: the place of the highest number in each of (n, V) rows, the first of several."""
    if not native.usable(rows):
        return rows.argmax(-1)
    places = torch.empty(len(rows), dtype=torch.long)
    native.call("argmax", rows.dtype, rows, places, *rows.shape)
    return places
