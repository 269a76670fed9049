"""A faster way through the decoder layers of well-known architectures, layer by layer and with the same results.

`speed_up(network)` gives norms, gated MLPs and attention blocks of Hugging Face models another `forward`: the matrix
products stay torch's, what lies between them is fused (kernels/), and layers that share an input share a product
(linear.py). A module is recognised by its class or by what it computes; any other keeps the forward it has. Weights,
names and saved files are as before.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tunesmith.engine.kept import BUFFERS, Normed, origin, remember, save_input, saved_input
from tunesmith.engine.kernels import ACTIVATIONS, gated_backward, gated_forward, rms_norm, rotary
from tunesmith.engine.linear import LinearGroup, Saved, linear
from tunesmith.engine.owner import Owner

OURS = "tunesmith_"
"""How the names of our attention functions begin; under any other a model's own forward runs."""

ATTENTION_CLASSES = frozenset(
    {"LlamaAttention", "MistralAttention", "Qwen2Attention", "Qwen3Attention", "GemmaAttention", "Gemma2Attention", "Gemma3Attention"}
)
"""Projections q, k, v; norms of q and k where there are any; rotary embedding; attention; projection o. In this order."""


@dataclass(frozen=True, kw_only=True)
class FastPath:
    """How many modules of a network take the fast way."""

    norms: int
    mlps: int
    attentions: int


def speed_up(network: PreTrainedModel) -> FastPath:
    """Replace the forward of every module that is recognised. Adapters may be put on the network afterwards."""
    kinds = {"norms": _speed_up_norm, "mlps": _speed_up_mlp, "attentions": _speed_up_attention}
    counts = dict.fromkeys(kinds, 0)
    for module in network.get_decoder().modules():
        for name, replace in kinds.items():
            counts[name] += replace(module)
    return FastPath(**counts)


def join_weights(network: PreTrainedModel) -> None:
    """Lay the weights of layers that share an input side by side now, not at the first forward pass."""
    for module in network.modules():
        for group in [value for value in vars(module).values() if isinstance(value, LinearGroup)]:
            if group.is_supported():
                group.weight()


def _replace_forward(module: nn.Module, forward: Callable[..., Any]) -> None:
    module.forward = partial(_forward_of, Owner(module), forward)


def _forward_of(owner: Owner, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return forward(owner(), *args, **kwargs)


def _speed_up_norm(module: Any) -> bool:
    """A root-mean-square norm, recognised by its class name and proved by trying."""
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    weight = getattr(module, "weight", None)
    if not type(module).__name__.endswith("RMSNorm") or not isinstance(eps, float) or not isinstance(weight, nn.Parameter):
        return False
    offset = _offset_of(module, eps) if weight.ndim == 1 and _takes_one_input(module) else None
    if offset is None:
        return False
    module.fast_eps, module.fast_offset = eps, offset
    _replace_forward(module, _norm_forward)
    return True


def _takes_one_input(module: Any) -> bool:
    return len(inspect.signature(type(module).forward).parameters) == 2  # self and the input


@torch.no_grad()
def _offset_of(module: Any, eps: float) -> float | None:
    """0 for Llama's kind, 1 for Gemma's; None if it computes something else."""
    if module.weight.is_meta:
        module = _with_numbers(module)
    x = torch.linspace(-2, 3, len(module.weight), dtype=module.weight.dtype, device=module.weight.device)[None]
    expected = type(module).forward(module, x).float()
    for offset in (0.0, 1.0):
        if torch.allclose(rms_norm(x, module.weight, eps, offset).float(), expected, rtol=2e-2, atol=1e-3):
            return offset
    return None


def _with_numbers(module: Any) -> Any:
    """A norm whose weights are not read yet, with others to try it on."""
    trial = copy.copy(module)
    trial._parameters = {"weight": nn.Parameter(torch.linspace(0.5, 1.5, len(module.weight), dtype=module.weight.dtype))}
    return trial


def _norm_forward(self: Any, x: Tensor) -> Tensor:
    if x.dtype != self.weight.dtype:
        return type(self).forward(self, x)  # type: ignore[no-any-return]
    y = rms_norm(x, self.weight, self.fast_eps, self.fast_offset)
    return remember(y, Normed(x, self.weight, self.fast_eps, self.fast_offset)) if torch.is_grad_enabled() else y


def _speed_up_mlp(module: Any) -> bool:
    """down(act(gate(x)) * up(x)), as Llama, Mistral, Qwen and Gemma have it; recognised by its layers and proved by trying."""
    layers = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    activation = _activation_of(module.act_fn) if hasattr(module, "act_fn") and all(isinstance(x, nn.Module) for x in layers) else None
    if activation is None or not _is_gated(module):
        return False
    module.fast_activation = activation
    module.fast_gate_up, module.fast_down = LinearGroup(module, "gate_proj", "up_proj"), LinearGroup(module, "down_proj")
    _replace_forward(module, _mlp_forward)
    return True


@torch.no_grad()
def _activation_of(function: Callable[[Tensor], Tensor]) -> str | None:
    """The kernel's name for what a gate is activated with; None if there is none."""
    x = torch.linspace(-5, 5, 101)
    with_ones = torch.stack([x, torch.ones_like(x)], dim=1)
    matching = (name for name in ACTIVATIONS if torch.allclose(gated_forward(with_ones, name)[:, 0], function(x), atol=1e-6))
    return next(matching, None)


class _Flip(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-1)


@torch.no_grad()
def _is_gated(module: Any) -> bool:
    """The forward of the module's class does nothing else: no norm (BitNet), limit (DeepSeek 4), top-k (Gemma 3n) or factor (Falcon H1).

    Tried with other layers in place of the three: x itself for the gate, x backwards for up, nothing for down.
    """
    others = module._modules.keys() - {"gate_proj", "up_proj", "down_proj", "act_fn"}
    if others or module._parameters or not _takes_one_input(module):
        return False
    trial = copy.copy(module)
    trial._modules = {**module._modules, "gate_proj": nn.Identity(), "up_proj": _Flip(), "down_proj": nn.Identity()}
    x = torch.linspace(-40, 41, 64)[None, None]
    return torch.equal(type(module).forward(trial, x), module.act_fn(x) * x.flip(-1))


def _mlp_forward(self: Any, x: Tensor) -> Tensor:
    gate_up, down = self.fast_gate_up, self.fast_down
    if not (gate_up.is_supported() and down.is_supported()) or x.dtype != gate_up.bases[0].weight.dtype:
        return type(self).forward(self, x)  # type: ignore[no-any-return]
    rows = x.reshape(-1, x.shape[-1])
    if torch.is_grad_enabled():
        y: Tensor = _Mlp.apply(rows, origin(x), gate_up, down, self.fast_activation, *gate_up.parameters(), *down.parameters())
    else:
        y = down.forward(gated_forward(gate_up.forward(rows).y, self.fast_activation)).y
    return y.view(*x.shape[:-1], y.shape[-1])


class _Mlp(torch.autograd.Function):
    """Keeps the input and [gate | up] for the backward pass; what the activation gives is computed again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, made: Normed | None, gate_up: LinearGroup, down: LinearGroup, activation: str, *parameters: Tensor
    ) -> Tensor:
        del parameters  # read through the groups; named here for autograd
        buffer = BUFFERS.take(len(x), sum(gate_up.sizes), x)
        first = gate_up.forward(x, out=buffer[: len(x)])
        second = down.forward(gated_forward(first.y, activation))
        ctx.groups, ctx.activation, ctx.num_first = (gate_up, down), activation, len(gate_up.parameters())
        save_input(ctx, x, made, buffer)
        empty = x.new_empty(0)
        ctx.saved = (first._replace(y=empty), second._replace(y=empty))
        return second.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        gate_up, down = ctx.groups
        first, second = ctx.saved
        dy = dy.contiguous()
        kept, (buffer,) = saved_input(ctx)
        hidden = buffer[: len(dy)]
        needed = ctx.needs_input_grad[5:]
        needed_first, needed_second = needed[: ctx.num_first], needed[ctx.num_first :]
        d_product, d_inner_down = down.input_gradient(dy, second, needed=True)
        d_hidden, product = gated_backward(d_product, hidden, ctx.activation, out=hidden)
        down_gradients = _if_needed(needed_second, down, dy, d_inner_down, product, second)
        del product, d_product
        dx, d_inner_up = gate_up.input_gradient(d_hidden, first, needed=ctx.needs_input_grad[0])
        up_gradients: list[Tensor | None] = [None] * len(needed_first)
        if any(needed_first):
            up_gradients = gate_up.gradients(d_hidden, d_inner_up, kept.get(), first)
        BUFFERS.hand_back(buffer)
        return (dx, None, None, None, None, *up_gradients, *down_gradients)


def _if_needed(
    needed: tuple[bool, ...], group: LinearGroup, dy: Tensor, d_inner: Tensor | None, x: Tensor, saved: Saved
) -> list[Tensor | None]:
    """Of the parameters of the forward pass, which may have been other ones than the group has by now (adapters switched off or on)."""
    return group.gradients(dy, d_inner, x, saved) if any(needed) else [None] * len(needed)


def _speed_up_attention(module: Any) -> bool:
    """The attention block of the classes named above."""
    if type(module).__name__ not in ATTENTION_CLASSES:
        return False
    module.fast_projections = LinearGroup(module, "q_proj", "k_proj", "v_proj")
    module.fast_output = LinearGroup(module, "o_proj")
    _replace_forward(module, _attention_forward)
    return True


def _attention_forward(
    self: Any,
    hidden_states: Tensor,
    position_embeddings: Any = None,
    attention_mask: Any = None,
    past_key_values: Any = None,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    projections, output = self.fast_projections, self.fast_output
    name = self.config._attn_implementation
    is_ours = name.startswith(OURS) and hidden_states.shape[0] == 1 and past_key_values is None
    if not (is_ours and projections.is_supported() and output.is_supported() and hidden_states.dtype == projections.bases[0].weight.dtype):
        named = {"position_embeddings": position_embeddings, "attention_mask": attention_mask, "past_key_values": past_key_values}
        return type(self).forward(self, hidden_states, **named, **kwargs)  # type: ignore[no-any-return]
    heads, kv_heads = projections.sizes[0] // self.head_dim, projections.sizes[1] // self.head_dim
    rows = linear(projections, hidden_states[0], origin(hidden_states))
    if hasattr(self, "q_norm"):
        rows = _norm_heads(self, rows, heads, kv_heads)
    cosine, sine = position_embeddings
    states = rotary(rows, cosine[0], sine[0], heads + kv_heads, heads + 2 * kv_heads)[None]  # (1, H + 2K, T, D)
    mixed, _ = ALL_ATTENTION_FUNCTIONS[name](
        self,
        *states.split([heads, kv_heads, kv_heads], dim=1),
        attention_mask,
        dropout=self.attention_dropout if self.training else 0.0,
        scaling=self.scaling,
        sliding_window=_sliding_window(self),
        softcap=getattr(self, "attn_logit_softcapping", None),
        **kwargs,
    )  # (1, T, H, D)
    return linear(output, mixed.reshape(-1, heads * self.head_dim))[None], None


def _norm_heads(module: Any, rows: Tensor, heads: int, kv_heads: int) -> Tensor:
    """Normalise every query and key head (Qwen 3, Gemma 3)."""
    dim = module.head_dim
    query, key, value = rows.split([heads * dim, kv_heads * dim, kv_heads * dim], dim=1)
    query = module.q_norm(query.reshape(-1, heads, dim)).flatten(1)
    key = module.k_norm(key.reshape(-1, kv_heads, dim)).flatten(1)
    return torch.cat([query, key, value], dim=1)


def _sliding_window(module: Any) -> int | None:
    """Mistral's is in the configuration, the others keep it in the module."""
    window: int | None = getattr(module.config if type(module).__name__ == "MistralAttention" else module, "sliding_window", None)
    return window
