"""Cross-entropy at the supervised positions only, in chunks: a (tokens x vocabulary) matrix never exists.

The gradient is computed chunk by chunk in the forward pass, while the chunk's logits are at hand, so nothing is
recomputed in the backward pass and one chunk is the most that lives at a time (the idea of Hsu et al. 2024, "Liger
Kernel", arXiv:2410.10989, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.engine.adapters import effective_head
from tunesmith.engine.forward import decoder_hidden
from tunesmith.engine.kernels import cross_entropy_
from tunesmith.engine.packing import Pack
from tunesmith.engine.sharded.calling import within

CHUNK_BYTES = 24 * 2**20
"""Most bytes of one chunk's logits. Half the rows make the products no slower."""
TRAINING_CHUNK_SHARE = 2
"""Of the output layer's own bytes, what one chunk's logits may take where that layer trains: as much as its gradient takes in
float32, which is needed as soon as there are two chunks."""
VOCABULARY_PART = 4096
"""Rows of the output layer whose gradients of a further chunk exist at a time."""


class Head(NamedTuple):
    """The output layer: logits = (weight @ hidden + bias) * scale, softly capped where the architecture does so."""

    weight: Tensor  # (V, E)
    bias: Tensor | None  # (V,)
    scale: float
    softcap: float | None


def output_head(network: PreTrainedModel) -> Head:
    """Read the output layer and what the architecture does to its logits (Cohere, Granite: scale; Gemma 2: soft cap)."""
    weight, bias = effective_head(network)
    config = network.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    scale /= getattr(config, "logits_scaling", None) or 1.0
    return Head(weight=weight, bias=bias, scale=scale, softcap=getattr(config, "final_logit_softcapping", None))


def head_logits(hidden: Tensor, head: Head) -> Tensor:
    """(m, V) logits of hidden states (m, E), in the compute type unless the architecture scales or caps them."""
    return _logits(hidden, head)[0]


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

    def body() -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = _SummedCrossEntropy.apply(
            _predicting_states(network, pack), *output_head(network), pack.labels, weight
        )
        return found

    return PackLoss(*within(network, body))


def supervised_nats(network: PreTrainedModel, pack: Pack) -> Tensor:
    """(M,) float32 with gradient: the loss of each supervised token, for objectives that combine sums over sequences.

    Call inside `attending_by_segments(network)`. Where the output layer trains, its logits are computed once more in the
    backward pass; else the gradient of every token is kept as a row (E) and only scaled there.
    """

    def body() -> Tensor:
        nats: Tensor = _TokenCrossEntropy.apply(_predicting_states(network, pack), *output_head(network), pack.labels)
        return nats

    return within(network, body)


def _predicting_states(network: PreTrainedModel, pack: Pack) -> Tensor:
    """(M, E) last hidden states where the next token is supervised."""
    return decoder_hidden(network, pack).index_select(0, pack.predicting)


class _SummedCrossEntropy(torch.autograd.Function):
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
        head, grads = Head(weight, bias, scale, softcap), _Gradients(ctx.needs_input_grad[:3], hidden)
        nats = _run_chunks(hidden, head, labels, loss_weight, grads)
        ctx.grads = grads.finished(head)
        ctx.mark_non_differentiable(nats)
        return nats.sum() * loss_weight, nats

    @staticmethod
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Any, ...]:
        gradients = [None if gradient is None else gradient.mul_(grad_total.to(gradient.dtype)) for gradient in ctx.grads]
        ctx.grads = None
        return (*gradients, *(None,) * 4)


class _TokenCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, scale: float, softcap: float | None, labels: Tensor
    ) -> Tensor:
        head = Head(weight, bias, scale, softcap)
        ctx.head_trains = any(ctx.needs_input_grad[1:3])
        grads = _Gradients((ctx.needs_input_grad[0] and not ctx.head_trains, False, False), hidden)
        nats = _run_chunks(hidden, head, labels, 1.0, grads)
        ctx.rows = grads.hidden
        ctx.scale, ctx.softcap = scale, softcap
        ctx.save_for_backward(*((hidden, weight, bias, labels) if ctx.head_trains else ()))
        return nats

    @staticmethod
    def backward(ctx: Any, grad_nats: Tensor) -> tuple[Any, ...]:
        if not ctx.head_trains:
            rows, ctx.rows = ctx.rows, None
            return (None if rows is None else rows * grad_nats[:, None].to(rows.dtype), *(None,) * 5)
        hidden, weight, bias, labels = ctx.saved_tensors
        head, grads = Head(weight, bias, ctx.scale, ctx.softcap), _Gradients(ctx.needs_input_grad[:3], hidden)
        _run_chunks(hidden, head, labels, grad_nats, grads)
        return (*grads.finished(head), *(None,) * 3)


class _Gradients:
    """Of the hidden states and the output layer. What is added up over several chunks is added up in float32."""

    def __init__(self, needs: Sequence[bool], hidden: Tensor) -> None:
        """`needs`: of hidden states, weight and bias."""
        self.needs = needs
        self.hidden = torch.empty_like(hidden) if needs[0] else None
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    @property
    def are_needed(self) -> bool:
        return any(self.needs)

    def add(self, window: slice, grad_logits: Tensor, hidden: Tensor, weight: Tensor) -> None:
        if self.hidden is not None:
            torch.mm(grad_logits, weight, out=self.hidden[window])
        if self.needs[1]:
            self.weight = _plus_product(self.weight, grad_logits, hidden[window])
        if self.needs[2]:
            more = grad_logits.sum(0, dtype=torch.float32)
            self.bias = more if self.bias is None else self.bias.add_(more)

    def finished(self, head: Head) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """In the parameters' own types; zero where there was no token."""
        weight = None if not self.needs[1] else torch.zeros_like(head.weight) if self.weight is None else self.weight.to(head.weight.dtype)
        if head.bias is None or not self.needs[2]:
            return self.hidden, weight, None
        return self.hidden, weight, torch.zeros_like(head.bias) if self.bias is None else self.bias.to(head.bias.dtype)


def _plus_product(so_far: Tensor | None, grad_logits: Tensor, hidden: Tensor) -> Tensor:
    """(V, E) `so_far` and grad_logits.T @ hidden. The first chunk is often the only one, and stays as it is."""
    if so_far is None:
        return grad_logits.T @ hidden
    total = so_far.float()
    for part, columns in zip(total.split(VOCABULARY_PART), grad_logits.split(VOCABULARY_PART, dim=1), strict=True):
        part.add_(columns.T @ hidden)
    return total


def _rows_at_once(hidden: Tensor, head: Head, *, head_trains: bool) -> int:
    """Of one chunk."""
    most_bytes = max(CHUNK_BYTES, TRAINING_CHUNK_SHARE * head.weight.nbytes) if head_trains else CHUNK_BYTES
    return max(1, most_bytes // (hidden.element_size() * head.weight.shape[0]))


def _run_chunks(hidden: Tensor, head: Head, labels: Tensor, loss_weight: float | Tensor, grads: _Gradients) -> Tensor:
    """(M,) nats; adds each chunk's gradients, times `loss_weight` (one number, or one for each token), to `grads`."""
    nats = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
    size = _rows_at_once(hidden, head, head_trains=grads.needs[1])
    for start in range(0, len(labels), size):
        window = slice(start, start + size)
        logits, slope = _logits(hidden[window], head)
        uniform = loss_weight if isinstance(loss_weight, float) else 1.0
        nats[window] = cross_entropy_(logits, labels[window], uniform * head.scale, grads.are_needed)
        if not grads.are_needed:
            continue
        if slope is not None:
            logits *= slope
        if isinstance(loss_weight, Tensor):
            logits *= loss_weight[window, None].to(logits.dtype)
        grads.add(window, logits.to(hidden.dtype), hidden, head.weight)
    return nats


def _logits(hidden: Tensor, head: Head) -> tuple[Tensor, Tensor | None]:
    """(m, V) logits, and the derivative of the soft cap where there is one.

    In the compute type, for that is what the matrix product gives; float32 where something is done to them after it.
    """
    logits = nn.functional.linear(hidden, head.weight, head.bias)
    if head.scale == 1.0 and head.softcap is None:
        return logits, None
    logits = logits.float().mul_(head.scale)
    if head.softcap is None:
        return logits, None
    squashed = torch.tanh(logits / head.softcap)
    return squashed * head.softcap, 1 - squashed * squashed
