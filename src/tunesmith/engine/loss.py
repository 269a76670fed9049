"""Cross-entropy at the supervised positions only, in chunks: a (tokens x vocabulary) matrix never exists.

The gradient is computed chunk by chunk in the forward pass, while the chunk's logits are at hand, so nothing is
recomputed in the backward pass and one chunk is the most that lives at a time (the idea of Hsu et al. 2024, "Liger
Kernel", arXiv:2410.10989, section 3.2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.engine.packing import Pack

CHUNK_BYTES = 64 * 2**20
"""Most bytes of one chunk's float32 logits."""


class Head(NamedTuple):
    """The output layer: logits = (weight @ hidden + bias) * scale, softly capped where the architecture does so."""

    weight: Tensor  # (V, E)
    bias: Tensor | None  # (V,)
    scale: float
    softcap: float | None


def output_head(network: PreTrainedModel) -> Head:
    """Read the output layer and what the architecture does to its logits (Cohere, Granite: scale; Gemma 2: soft cap)."""
    layer = network.get_output_embeddings()
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{type(network).__name__} has no linear output layer")
    config = network.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    scale /= getattr(config, "logits_scaling", None) or 1.0
    return Head(weight=layer.weight, bias=layer.bias, scale=scale, softcap=getattr(config, "final_logit_softcapping", None))


class PackLoss(NamedTuple):
    """What one forward pass over a pack gives."""

    total: Tensor
    """Scalar float32: the sum over supervised tokens of nats times `weight`; carries the gradient."""
    nats: Tensor
    """(M,) float32, detached: the loss of each supervised token, in the pack's order."""


def pack_loss(network: PreTrainedModel, pack: Pack, *, weight: float = 1.0) -> PackLoss:
    """Run the model over a pack and sum the losses of its supervised tokens.

    Call inside `attending_by_segments(network)`. `weight` is usually 1 / (supervised tokens in the whole step), so that
    micro-batches add up to the step's mean.
    """
    hidden = network.get_decoder()(
        input_ids=pack.token_ids, position_ids=pack.position_ids, use_cache=False, segments=pack.segments
    ).last_hidden_state  # (1, T, E)
    total, nats = _ChunkedCrossEntropy.apply(hidden[0].index_select(0, pack.predicting), *output_head(network), pack.labels, weight)
    return PackLoss(total, nats)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,  # (M, E)
        weight: Tensor,  # (V, E)
        bias: Tensor | None,
        scale: float,
        softcap: float | None,
        labels: Tensor,  # (M,)
        loss_weight: float,
    ) -> tuple[Tensor, Tensor]:
        head = Head(weight, bias, scale, softcap)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        nats = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and needs_bias else None
        size = max(1, CHUNK_BYTES // (4 * weight.shape[0]))
        for start in range(0, len(labels), size):
            window = slice(start, start + size)
            logits, slope = _logits(hidden[window], head)
            nats[window], grad_logits = _cross_entropy(logits, labels[window], needs_hidden or needs_weight or needs_bias)
            if grad_logits is None:
                continue
            grad_logits = (grad_logits if slope is None else grad_logits * slope).mul_(loss_weight * scale).to(hidden.dtype)
            if grad_hidden is not None:
                torch.mm(grad_logits, weight, out=grad_hidden[window])
            if grad_weight is not None:
                grad_weight += grad_logits.T @ hidden[window]
            if grad_bias is not None:
                grad_bias += grad_logits.sum(0)
        ctx.grads = (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if bias is None or grad_bias is None else grad_bias.to(bias.dtype),
        )
        ctx.mark_non_differentiable(nats)
        return nats.sum() * loss_weight, nats

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Any, ...]:
        gradients = [None if gradient is None else gradient * grad_total.to(gradient.dtype) for gradient in ctx.grads]
        ctx.grads = None
        return (*gradients, *(None,) * 4)


def _logits(hidden: Tensor, head: Head) -> tuple[Tensor, Tensor | None]:
    """(m, V) float32 logits, and the derivative of the soft cap where there is one."""
    logits = nn.functional.linear(hidden, head.weight, head.bias).float()
    if head.scale != 1.0:
        logits *= head.scale
    if head.softcap is None:
        return logits, None
    squashed = torch.tanh(logits / head.softcap)
    return squashed * head.softcap, 1 - squashed * squashed


def _cross_entropy(logits: Tensor, labels: Tensor, needs_grad: bool) -> tuple[Tensor, Tensor | None]:
    """(m,) nats and, when asked for, their (m, V) gradient: softmax minus one-hot, written over the logits."""
    rows = torch.arange(len(labels), device=labels.device)
    normaliser = torch.logsumexp(logits, dim=-1)
    nats = normaliser - logits[rows, labels]
    if not needs_grad:
        return nats, None
    probabilities = logits.sub_(normaliser[:, None]).exp_()
    probabilities[rows, labels] -= 1.0
    return nats, probabilities
