"""Linear layers that share an input, and their low-rank adapters, as few wide matrix products.

Queries, keys and values come from one product, gate and up from another. Their adapters share the product with A; those with
B are added in place, each to its own columns. The weights of a group live side by side in one matrix of which the layers'
own weights are views, so nothing is held twice. Where the weights are gathered from other processes for each layer's turn
(sharded/), the matrix is put together at each use and nobody keeps it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, cast

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tunesmith.engine.kept import Normed, save_input, saved_input
from tunesmith.engine.kernels import low_rank
from tunesmith.engine.kernels.products import PackedWeight
from tunesmith.engine.owner import Owner


class Adapters(NamedTuple):
    """The adapters of a group, as they are now."""

    down: Tensor
    """(R, in), all A stacked, R the sum of the ranks."""
    ups: tuple[Tensor, ...]
    """(out, rank) of each layer: its B."""
    scales: tuple[float, ...]
    """What each B is multiplied by."""

    @property
    def scaled_ups(self) -> list[Tensor]:
        """(out, rank) of each layer: its B times its scale."""
        return [up * scale for up, scale in zip(self.ups, self.scales, strict=True)]

    @property
    def ranks(self) -> list[int]:
        return [up.shape[1] for up in self.ups]


class LinearGroup:
    """Layers with one input; each is a plain linear layer, or one under a plain LoRA adapter."""

    def __init__(self, owner: nn.Module, *names: str) -> None:
        """Name the layers by the module they belong to; adapters may be put on or taken off them later."""
        self.owner, self.names = Owner(owner), names
        self.layers: list[nn.Module] = []
        self.packed: PackedWeight | None = None
        """The weights laid out for fast products, while a network only generates; see packed_weights.py."""
        self.keeps_wide = True
        """Whether the layers' weights stay where they are, so that one wide matrix can stand for them."""
        self._wide: Tensor | None = None
        self._find()

    def _find(self) -> None:
        owner = self.owner()
        layers = [getattr(owner, name) for name in self.names]
        if any(now is not before for now, before in zip_longest(layers, self.layers)):
            self.layers = layers
            self.bases: list[Any] = [layer.base_layer if isinstance(layer, LoraLinear) else layer for layer in layers]
            self.sizes = [getattr(base, "out_features", 0) for base in self.bases]
            self._wide = None

    def is_supported(self) -> bool:
        """As things are now: one plain adapter acts or none, none is merged, biases everywhere or nowhere, no hooks."""
        if not self._has_plain_bases():
            return False
        acting = [_acting(layer) for layer in self.layers]
        if not any(acting):
            return True
        return len(acting[0]) == 1 and all(
            names == acting[0] and _is_plain(layer, names[0]) for layer, names in zip(self.layers, acting, strict=True)
        )

    def supports(self, adapter: str | None) -> bool:
        """The same if this adapter acted (None: none did), whichever does now. On a group without it, it does nothing."""
        if not self._has_plain_bases():
            return False
        having = [layer for layer in self.layers if isinstance(layer, LoraLinear) and adapter in layer.lora_A]
        return adapter is None or not having or (len(having) == len(self.layers) and all(_is_plain(layer, adapter) for layer in having))

    def _has_plain_bases(self) -> bool:
        self._find()
        if any(type(base) is not nn.Linear for base in self.bases) or len({base.bias is None for base in self.bases}) > 1:
            return False
        if any(_is_watched(layer) for layer in (*self.layers, *self.bases)) or torch.is_autocast_enabled(self.bases[0].weight.device.type):
            return False
        return not any(isinstance(layer, LoraLinear) and layer.merged for layer in self.layers)

    @property
    def acting(self) -> str | None:
        """Of a supported group: the adapter that acts now."""
        return next(iter(_acting(self.layers[0])), None)

    def weight(self) -> Tensor:
        """(out, in) of all layers; the layers' own weights are made views of it, if they stay where they are."""
        weights: list[Tensor] = [base.weight for base in self.bases]
        if len(weights) == 1:
            return weights[0].detach()
        if not self.keeps_wide:
            return torch.cat([w.detach() for w in weights])
        if self._wide is None or not _are_views(weights, self._wide):  # first call, or the network was moved or cast
            with torch.inference_mode(False):  # or else the weights could never train again
                self._wide = torch.cat([w.detach() for w in weights])
            for weight, part in zip(weights, self._wide.split(self.sizes), strict=True):
                weight.data = part
        return self._wide

    def bias(self) -> Tensor | None:
        return None if self.bases[0].bias is None else torch.cat([base.bias.detach() for base in self.bases])

    def adapters(self) -> Adapters | None:
        """Stack those that act now; None without any."""
        name = self.acting
        return None if name is None else self.stacked(name)

    def stacked(self, name: str) -> Adapters | None:
        """Stack the adapters of this name, whether or not they act; None where the layers have none."""
        layers: list[Any] = self.layers
        if not isinstance(layers[0], LoraLinear) or name not in layers[0].lora_A:
            return None
        down = torch.cat([layer.lora_A[name].weight.detach() for layer in layers])
        ups = tuple(layer.lora_B[name].weight.detach() for layer in layers)
        return Adapters(down, ups, tuple(float(layer.scaling[name]) for layer in layers))

    def parameters(self) -> list[Tensor]:
        """What autograd has to know of, in the order of `gradients`: weights, biases, A, B."""
        found: list[Tensor] = [base.weight for base in self.bases]
        found += [base.bias for base in self.bases if base.bias is not None]
        if (name := self.acting) is not None:
            layers: list[Any] = self.layers
            found += [layer.lora_A[name].weight for layer in layers]
            found += [layer.lora_B[name].weight for layer in layers]
        return found

    def forward(self, x: Tensor, out: Tensor | None = None) -> Saved:
        """(T, in) to (T, out) of all layers side by side, written to `out` where it is given."""
        weight, bias, adapters = self.weight(), self.bias(), self.adapters()
        if self.packed is not None:
            y = self.packed(x, bias)
        elif bias is None:
            y = torch.mm(x, weight.T, out=out)
        else:
            y = torch.addmm(bias, x, weight.T, out=out)
        kept = weight if self.keeps_wide else None
        if adapters is None:
            return Saved(y, None, kept, None)
        inner = low_rank.down(x, adapters.down)  # (T, R)
        for part, values, up, scale in zip(
            y.split(self.sizes, 1), inner.split(adapters.ranks, 1), adapters.ups, adapters.scales, strict=True
        ):
            low_rank.add_up(part, values, up, scale)
        return Saved(y, inner, kept, adapters)

    def input_gradient(self, dy: Tensor, saved: Saved, *, needed: bool) -> tuple[Tensor | None, Tensor | None]:
        """Gradient (T, in) of the input, and (T, R) of the adapters' inner values."""
        dx = torch.mm(dy, self.weight() if saved.weight is None else saved.weight) if needed else None
        if saved.adapters is None:
            return dx, None
        d_inner = dy.new_empty(len(dy), len(saved.adapters.down))
        parts = zip(dy.split(self.sizes, 1), saved.adapters.ups, saved.adapters.scales, d_inner.split(saved.adapters.ranks, 1), strict=True)
        for part, up, scale, out in parts:
            low_rank.down(part, up.T, scale, out=out)
        return (None if dx is None else low_rank.add_up(dx, d_inner, saved.adapters.down.T)), d_inner

    def gradients(self, dy: Tensor, d_inner: Tensor | None, x: Tensor, saved: Saved) -> list[Tensor | None]:
        """Of `parameters()`, None for the frozen ones."""
        found = self._base_gradients(dy, x)
        if d_inner is None or saved.inner is None or saved.adapters is None:
            return found
        ranks = saved.adapters.ranks
        downs = low_rank.gradient(d_inner, x).split(ranks)  # (R, in)
        parts = zip(dy.split(self.sizes, 1), saved.inner.split(ranks, 1), saved.adapters.scales, strict=True)
        ups = [low_rank.gradient(values, part, scale, transposed=True) for part, values, scale in parts]
        return [*found, *downs, *ups]

    def _base_gradients(self, dy: Tensor, x: Tensor) -> list[Tensor | None]:
        weights: list[Tensor | None] = [None] * len(self.bases)
        if any(base.weight.requires_grad for base in self.bases):
            parts = torch.mm(dy.T, x).split(self.sizes)
            weights = [part if base.weight.requires_grad else None for base, part in zip(self.bases, parts, strict=True)]
        if self.bases[0].bias is None:
            return weights
        if not any(base.bias.requires_grad for base in self.bases):
            return weights + [None] * len(self.bases)
        sums = dy.sum(0, dtype=torch.float32).to(dy.dtype).split(self.sizes)
        return weights + [part if base.bias.requires_grad else None for base, part in zip(self.bases, sums, strict=True)]


class Saved(NamedTuple):
    """What a forward pass leaves for the backward pass."""

    y: Tensor
    inner: Tensor | None
    """(T, R), x times all A."""
    weight: Tensor | None
    """None where it is put together again."""
    adapters: Adapters | None


def _acting(layer: nn.Module) -> list[str]:
    """Names of the adapters that change what the layer computes now."""
    if not isinstance(layer, LoraLinear) or layer.disable_adapters:
        return []
    return [name for name in layer.active_adapters if name in layer.lora_A]


def _is_plain(layer: nn.Module, name: str) -> bool:
    """A LoRA adapter without variants (DoRA), dropout at work and bias, in the type of the weight."""
    assert isinstance(layer, LoraLinear)
    if name in layer.lora_variant:
        return False
    dropout = layer.lora_dropout[name]
    has_dropout = isinstance(dropout, nn.Dropout) and dropout.training and dropout.p > 0
    same_type = layer.lora_A[name].weight.dtype == cast(nn.Linear, layer.base_layer).weight.dtype
    return same_type and not has_dropout and cast(nn.Linear, layer.lora_B[name]).bias is None


def _is_watched(layer: nn.Module) -> bool:
    """Somebody waits for the layer itself to be called: by hooks, or by a forward of its own."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or "forward" in layer.__dict__


def _are_views(weights: Sequence[Tensor], wide: Tensor) -> bool:
    address, step = wide.data_ptr(), wide.stride(0) * wide.element_size()
    for weight in weights:
        if weight.data_ptr() != address or weight.dtype != wide.dtype:
            return False
        address += weight.shape[0] * step
    return True


def linear(group: LinearGroup, x: Tensor, made: Normed | None = None) -> Tensor:
    """All layers of the group on (T, in) inputs, side by side: (T, out). `made` says how x can be computed again."""
    if not torch.is_grad_enabled():
        return group.forward(x).y
    result: Tensor = _Linear.apply(x, made, group, *group.parameters())
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Normed | None, group: LinearGroup, *parameters: Tensor) -> Tensor:
        del parameters  # read through the group; named here for autograd
        saved = group.forward(x)
        ctx.group, ctx.saved = group, saved._replace(y=saved.y.new_empty(0))
        if any(ctx.needs_input_grad[3:]):
            save_input(ctx, x, made)
        return saved.y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dy = dy.contiguous()
        dx, d_inner = ctx.group.input_gradient(dy, ctx.saved, needed=ctx.needs_input_grad[0])
        gradients: list[Tensor | None] = [None] * (len(ctx.needs_input_grad) - 3)
        if any(ctx.needs_input_grad[3:]):
            kept, _ = saved_input(ctx)
            gradients = ctx.group.gradients(dy, d_inner, kept.get(), ctx.saved)
        return (dx, None, None, *gradients)
