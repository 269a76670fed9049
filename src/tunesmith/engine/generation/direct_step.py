"""A decode step written out: the layers of well-known decoders without their modules' Python between the products.

With one token for each of some forty sequences a layer takes less than a millisecond, so what a module's call, its checks
and its small tensors cost would be a third of a step. Here a layer is four products and four native calls. It serves networks
whose modules are of the classes named below and take the fast way (engine/fast.py), on a CPU; any other runs as it is.

Rows of several adapters share the products with the base's weights; each adapter's own go over its rows only.

Legend: B sequences, H query heads, K key and value heads, D head dimension, R turned entries of a head, E width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.engine.generation.adapter_switch import AS_IT_IS
from tunesmith.engine.generation.decode_attention import HEAD_DIMS
from tunesmith.engine.generation.slots import Step
from tunesmith.engine.kernels import native
from tunesmith.engine.kernels.products import PackedWeight, PlainWeight, pack_weight
from tunesmith.engine.linear import Adapters, LinearGroup

LAYER_CLASSES = {
    "LlamaModel": "LlamaDecoderLayer",
    "MistralModel": "MistralDecoderLayer",
    "Qwen2Model": "Qwen2DecoderLayer",
    "Qwen3Model": "Qwen3DecoderLayer",
}
"""Embed; x += attention(norm(x)) and x += mlp(norm(x)) in every layer; norm. Positions are what `rotary_emb` makes of them."""

Kernel = Callable[..., None]


class AdapterRows(NamedTuple):
    """The rows of a step that belong to one adapter."""

    adapter: str | None
    rows: slice | None = None
    """None: all of them."""
    computed: slice = slice(None)
    """These, with some of the neighbours', so that few numbers of rows occur."""
    kept: slice = slice(None)
    """Of the computed ones."""


def adapter_rows(counts: Sequence[tuple[str | None, int]], num_rows: int, multiple: int = 1) -> list[AdapterRows]:
    """Lay out a step: each adapter and its number of rows, in their order, of `num_rows` in all, those without a sequence last.

    Args:
        multiple: adapters compute as many rows at once as this divides, as far as there are so many.
    """
    if len(counts) == 1:
        return [AdapterRows(counts[0][0])]
    found = []
    for (adapter, count), end in zip(counts, accumulate(count for _, count in counts), strict=True):
        size = min(count + -count % multiple, num_rows)
        first = min(end - count, num_rows - size)
        kept = slice(end - count - first, end - first)
        found.append(AdapterRows(adapter, slice(end - count, end), slice(first, first + size), kept))
    return found


class DirectStep:
    """Computes what the decoder of a network computes for one token of each sequence, with its weights as they are when this is made.

    An adapter's are read when it is first asked for.
    """

    def __init__(self, network: PreTrainedModel, packed: Mapping[LinearGroup, PackedWeight]) -> None:
        """For a network for which `can_step_directly` holds; `packed` are weights laid out by `PackedWeights`."""
        decoder: Any = network.get_decoder()
        self._embed, self._rotary = decoder.embed_tokens, decoder.rotary_emb
        self._layers = [_read_layer(layer, packed) for layer in decoder.layers]
        self._norms = [norm for layer in self._layers for norm in (layer.before_attention, layer.before_mlp)] + [_Norm.of(decoder.norm)]
        self._kernels = _Kernels.of(decoder.norm.weight.dtype, self._layers[0].activation)
        self._products = [product for layer in self._layers for product in layer.products]
        self._served: dict[str | None, bool] = {AS_IT_IS: True}
        self.takes_any_rows = self._any_rows()
        """A number of rows that has not occurred before costs nothing."""

    def _any_rows(self) -> bool:
        return all(product.takes_any_rows for product in self._products)

    def serves(self, adapter: str | None) -> bool:
        """Rows of this adapter can be among those of a step: it is plain LoRA, or None."""
        if adapter not in self._served:
            self._served[adapter] = all(product.read(adapter) for product in self._products)
            self.takes_any_rows = self._any_rows()
        return self._served[adapter]

    def hidden(self, token_ids: Tensor, position_ids: Tensor, step: Step, adapters: Sequence[AdapterRows]) -> Tensor:
        """(rows, E) last hidden states of tokens (rows,), the first B of which are the sequences'; writes to their slots."""
        x = self._embed(token_ids)  # (rows, E)
        turning = _Turning(*(part[0].contiguous() for part in self._rotary(x[None], position_ids=position_ids[None])))
        attend = _Attention(step, turning, self._kernels)
        norms = iter(self._norms)
        y = torch.empty_like(x)
        self._add_norm(x, None, next(norms), y)
        for layer in self._layers:
            self._add_norm(x, layer.output(attend(layer, layer.projections(y, adapters)), adapters), next(norms), y)
            self._add_norm(x, layer.down(self._gated(layer.gate_up(y, adapters)), adapters), next(norms), y)
        return y

    def _add_norm(self, x: Tensor, more: Tensor | None, norm: _Norm, y: Tensor) -> None:
        """Add to the stream x (rows, E), and write its norm to y."""
        addresses = (x.data_ptr(), 0 if more is None else more.data_ptr(), norm.weight.data_ptr(), y.data_ptr())
        self._kernels.add_norm(*addresses, *x.shape, norm.eps, norm.offset, torch.get_num_threads())

    def _gated(self, gate_up: Tensor) -> Tensor:
        rows, size = gate_up.shape[0], gate_up.shape[1] // 2
        out = gate_up.new_empty(rows, size)
        self._kernels.gated(gate_up.data_ptr(), out.data_ptr(), rows, size, torch.get_num_threads())
        return out


class _Kernels(NamedTuple):
    add_norm: Kernel
    gated: Kernel
    attend: Kernel

    @classmethod
    def of(cls, dtype: torch.dtype, activation: str) -> _Kernels:
        return cls(
            native.plain("add_norm", dtype, "aaaaiiffi"),
            native.plain(f"gated_forward_{activation}", dtype, "aaiii"),
            native.plain("decode_rows", dtype, "aaaa" + "aaaa" + "aaa" + "iiiiiii" + "fff" + "i"),
        )


class _Norm(NamedTuple):
    weight: Tensor
    eps: float
    offset: float

    @classmethod
    def of(cls, module: Any) -> _Norm:
        return cls(module.weight.detach(), module.fast_eps, module.fast_offset)


class _LowRank:
    """An adapter of a group of layers."""

    def __init__(self, adapters: Adapters) -> None:
        # The B of all layers as one product: with few rows its zeros cost less than further calls.
        weights = (adapters.down, torch.block_diag(*adapters.scaled_ups))
        self._down, self._up = (pack_weight(weight) or PlainWeight(weight) for weight in weights)
        self.takes_any_rows = self._down.takes_any_rows and self._up.takes_any_rows

    def __call__(self, x: Tensor) -> Tensor:
        return self._up(self._down(x, None), None)


class _Product:
    """A group of linear layers, and its adapters by name."""

    def __init__(self, group: LinearGroup, packed: PackedWeight | None) -> None:
        self._group = group
        self._base, self._bias = packed or PlainWeight(group.weight()), group.bias()
        self.takes_any_rows = self._base.takes_any_rows
        self._low_ranks: dict[str | None, _LowRank] = {}
        self._take(AS_IT_IS, group.adapters())

    def read(self, adapter: str | None) -> bool:
        """Take an adapter's weights; False where it needs a forward of its own."""
        if not self._group.supports(adapter):
            return False
        self._take(adapter, None if adapter is None else self._group.stacked(adapter))
        return True

    def _take(self, adapter: str | None, weights: Adapters | None) -> None:
        if weights is not None:
            self._low_ranks[adapter] = _LowRank(weights)
            self.takes_any_rows = self.takes_any_rows and self._low_ranks[adapter].takes_any_rows

    def __call__(self, x: Tensor, adapters: Sequence[AdapterRows]) -> Tensor:
        y = self._base(x, self._bias)
        for adapter, rows, computed, kept in adapters:
            low_rank = self._low_ranks.get(adapter)
            if low_rank is not None and rows is None:
                y.add_(low_rank(x))
            elif low_rank is not None:
                y[rows].add_(low_rank(x[computed])[kept])
        return y


class _Layer(NamedTuple):
    number: int
    before_attention: _Norm
    projections: _Product
    query_norm: _Norm | None
    key_norm: _Norm | None
    heads: int
    kv_heads: int
    scaling: float
    window: int | None
    output: _Product
    before_mlp: _Norm
    gate_up: _Product
    activation: str
    down: _Product

    @property
    def products(self) -> tuple[_Product, ...]:
        return self.projections, self.output, self.gate_up, self.down


class _Turning(NamedTuple):
    cosine: Tensor  # (rows, R)
    sine: Tensor  # (rows, R)


class _Attention:
    """Turns queries and keys, writes keys and values into the cache and attends, for every layer of one step."""

    def __init__(self, step: Step, turning: _Turning, kernels: _Kernels) -> None:
        assert step.decoding is not None
        self._step, self._turning, self._run = step, turning, kernels.attend
        self._slots, self._lengths = step.decoding.slots.contiguous(), step.decoding.lengths.contiguous()
        self._first: dict[int | None, Tensor] = {}

    def __call__(self, layer: _Layer, rows: Tensor) -> Tensor:
        """(rows, (H + 2K) D) to (rows, H D); rows behind the last sequence become zeros."""
        if self._step.seen is not None:
            self._step.seen.append((layer.number, layer.window))
        keys, values = self._step.cache.written(layer.number)
        dim = keys.shape[3]
        out = rows.new_zeros(len(rows), layer.heads * dim)
        places = (self._slots, self._first_of(layer.window), self._lengths)
        query_norm, key_norm = layer.query_norm, layer.key_norm
        self._run(
            *(tensor.data_ptr() for tensor in (rows, keys, values, out, *self._turning)),
            *(0 if norm is None else norm.weight.data_ptr() for norm in (query_norm, key_norm)),
            *(tensor.data_ptr() for tensor in places),
            *(len(self._slots), layer.heads, layer.kv_heads, dim, self._turning.cosine.shape[1], keys.stride(0), keys.stride(1)),
            *((0.0, 0.0) if key_norm is None else (key_norm.eps, key_norm.offset)),
            layer.scaling,
            torch.get_num_threads(),
        )
        return out

    def _first_of(self, window: int | None) -> Tensor:
        """(B,) the first token that each sequence attends to."""
        if window not in self._first:
            lengths = self._lengths
            self._first[window] = torch.zeros_like(lengths) if window is None else (lengths - window).clamp_(min=0)
        return self._first[window]


def can_step_directly(network: PreTrainedModel) -> bool:
    """As things are now: classes we know, fast modules throughout, and nobody who waits for one of them to be called."""
    decoder: Any = network.get_decoder()
    layer_class = LAYER_CLASSES.get(type(decoder).__name__)
    if layer_class is None or not native.usable(decoder.norm.weight) or _is_watched(decoder, "forward"):
        return False
    layers = decoder.layers
    return _is_fast_norm(decoder.norm) and all(
        type(layer).__name__ == layer_class and _is_fast(layer, layers[0].self_attn.layer_idx + i) for i, layer in enumerate(layers)
    )


def _is_fast(layer: Any, index: int) -> bool:
    attention, mlp = layer.self_attn, layer.mlp
    if not (hasattr(attention, "fast_projections") and hasattr(mlp, "fast_gate_up")) or attention.layer_idx != index:
        return False
    if _is_watched(layer, "forward") or _is_watched(attention) or _is_watched(mlp) or attention.head_dim not in HEAD_DIMS:
        return False
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    norms += [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
    groups = (attention.fast_projections, attention.fast_output, mlp.fast_gate_up, mlp.fast_down)
    dtype = layer.input_layernorm.weight.dtype
    return all(map(_is_fast_norm, norms)) and all(group.is_supported() and group.weight().dtype == dtype for group in groups)


def _is_fast_norm(norm: Any) -> bool:
    return hasattr(norm, "fast_eps") and not _is_watched(norm)


def _is_watched(module: nn.Module, *own: str) -> bool:
    """Hooks, or attributes of its own such as a forward, ask that the module itself be called."""
    return bool(module._forward_hooks or module._forward_pre_hooks) or any(name in module.__dict__ for name in own)


def _read_layer(layer: Any, packed: Mapping[LinearGroup, PackedWeight]) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp

    def product(group: LinearGroup) -> _Product:
        return _Product(group, packed.get(group))

    is_mistral = type(attention).__name__ == "MistralAttention"  # which keeps its window in the configuration
    return _Layer(
        number=attention.layer_idx,
        before_attention=_Norm.of(layer.input_layernorm),
        projections=product(attention.fast_projections),
        query_norm=_Norm.of(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=_Norm.of(attention.k_norm) if hasattr(attention, "k_norm") else None,
        heads=attention.fast_projections.sizes[0] // attention.head_dim,
        kv_heads=attention.fast_projections.sizes[1] // attention.head_dim,
        scaling=attention.scaling,
        window=getattr(attention.config if is_mistral else attention, "sliding_window", None),
        output=product(attention.fast_output),
        before_mlp=_Norm.of(layer.post_attention_layernorm),
        gate_up=product(mlp.fast_gate_up),
        activation=mlp.fast_activation,
        down=product(mlp.fast_down),
    )
