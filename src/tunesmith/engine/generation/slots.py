"""Keys and values of running sequences, each in its own slot of a fixed cache, and attention over them.

One call of the model carries the new prompts, packed without padding, and one token of every running sequence:

    tokens   prompt prompt prompt | a b c        P prompt tokens, then B tokens of running sequences
    attend   each within itself   | each to its slot of the cache

It plugs into Hugging Face models through transformers' attention interface, like training (`engine/attention.py`); the
model is called without a cache of its own and without a mask.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from tunesmith.engine.attention import segment_attention
from tunesmith.engine.generation.decode_attention import decode_attention
from tunesmith.engine.segments import Segments

IMPLEMENTATION = "tunesmith_slots"
GROWTH = 256
"""The cache grows by this many tokens at a time: seldom, for growing copies it."""


SeenCalls = list[tuple[int, int | None]]
"""Layer and sliding window of attention calls."""


class SlotCache:
    """For every layer keys (slots, K, capacity, D) and values (slots, K, capacity, E).

    A layer's tensors are made when it first writes: their shapes are the architecture's business.
    """

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.capacity = 0
        """Tokens of each sequence there is room for."""
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def reserve(self, needed: int, *, likely: int = 0, kept: Mapping[int, int] | None = None) -> None:
        """Make room for sequences of `needed` tokens, or, for growing copies what is kept, for the `likely` ones if that is not much more.

        Args:
            needed: most tokens of a sequence now.
            likely: most tokens a sequence may come to.
            kept: tokens written so far in each slot in use. No other is copied: that would make memory of pages that none has touched.
        """
        if needed <= self.capacity:
            return
        self.capacity = -(-max(needed, min(likely, needed + GROWTH)) // GROWTH) * GROWTH
        for index, (keys, values) in self._layers.items():
            self._layers[index] = self._grown(keys, kept or {}), self._grown(values, kept or {})

    def _grown(self, old: Tensor, kept: Mapping[int, int]) -> Tensor:
        new = _zeros_like(old, self.num_slots, old.shape[1], self.capacity, old.shape[3])
        for slot, num_tokens in kept.items():
            new[slot, :, :num_tokens] = old[slot, :, :num_tokens]
        return new

    def layer(self, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Of a layer, made in the likeness of the keys and values (1, K, T, D) it computes.

        Zeros, not just any memory: what lies behind a sequence's end is multiplied by zero, and must not be a NaN.
        """
        if index not in self._layers:
            keys, values = (_zeros_like(new, self.num_slots, new.shape[1], self.capacity, new.shape[3]) for new in (key, value))
            self._layers[index] = keys, values
        return self._layers[index]

    def written(self, index: int) -> tuple[Tensor, Tensor]:
        """Of a layer that has written before."""
        return self._layers[index]

    def move(self, source: int, target: int, num_tokens: int) -> None:
        """Copy the beginning of one slot over another."""
        for layer in self._layers.values():
            for tensor in layer:
                tensor[target, :, :num_tokens] = tensor[source, :, :num_tokens]


def _zeros_like(model: Tensor, *shape: int) -> Tensor:
    """On a CPU memory that the system zeroes page by page as it is written to: most of a cache may never be.

    Pages of the usual size: numpy asks for huge ones, and then all of a cache is touched by the ends of its sequences.
    """
    if model.device.type != "cpu" or not hasattr(mmap, "MAP_PRIVATE"):
        return model.new_zeros(shape)
    memory = mmap.mmap(-1, math.prod(shape) * model.element_size(), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=model.dtype).view(shape)


class Prompts(NamedTuple):
    """The packed part of a call."""

    num_tokens: int
    """P, the tokens of the pack."""
    segments: Segments


class Decoding(NamedTuple):
    """The part of a call that decodes: B tokens."""

    slots: Tensor  # (B,)
    lengths: Tensor  # (B,) the new token included
    num_rows: int
    """Slots in use: all of them lie before this one."""
    longest: int
    """The largest of `lengths`."""


@dataclass(kw_only=True, slots=True)
class Step:
    """What the attention of every layer needs to know about one call of the model.

    Every written token has a place in the cache: token `source[i]` of the call becomes token `positions[i]` of slot `slots[i]`.
    """

    cache: SlotCache
    prompts: Prompts | None
    decoding: Decoding | None
    source: Tensor  # (W,)
    slots: Tensor  # (W,)
    positions: Tensor  # (W,)
    seen: SeenCalls | None = None
    """Collects each call's layer and sliding window, when there is a list."""


def slot_attention(
    module: torch.nn.Module,
    query: Tensor,  # (1, H, P + B, D)
    key: Tensor,  # (1, K, P + B, D)
    value: Tensor,  # (1, K, P + B, E)
    attention_mask: Tensor | None,
    *,
    slots: Step,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Write the new keys and values, then attend (transformers' attention interface). Returns (1, P + B, H, E).

    Raises:
        TypeError: the layer has attention sinks (gpt-oss).
    """
    del attention_mask, dropout  # each token knows what it may see; nothing is trained here
    if s_aux is not None:
        raise TypeError("there are attention sinks")
    step = slots
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: int = module.layer_idx  # type: ignore[assignment]
    if step.seen is not None:
        step.seen.append((layer, sliding_window))
    keys, values = step.cache.layer(layer, key, value)
    for cached, new in ((keys, key), (values, value)):
        written = new[0].index_select(1, step.source)  # (K, W, D)
        cached[step.slots, :, step.positions] = written.transpose(0, 1)
    settings: dict[str, Any] = {"scaling": scaling, "sliding_window": sliding_window, "softcap": softcap}
    parts = []
    num_packed = 0
    if step.prompts is not None:
        num_packed = step.prompts.num_tokens
        window = (slice(None), slice(None), slice(num_packed))
        packed = segment_attention(module, query[window], key[window], value[window], None, segments=step.prompts.segments, **settings)
        parts.append(packed[0])
    if step.decoding is not None:
        new = query[0, :, num_packed : num_packed + len(step.decoding.slots)]
        parts.append(_decode(new.transpose(0, 1), keys, values, step.decoding, settings)[None])
    if filling := query.shape[2] - sum(part.shape[1] for part in parts):
        parts.append(query.new_zeros(1, filling, query.shape[1], value.shape[3]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), None


def _decode(query: Tensor, keys: Tensor, values: Tensor, decoding: Decoding, settings: dict[str, Any]) -> Tensor:
    window = (slice(decoding.num_rows), slice(None), slice(decoding.longest))
    return decode_attention(query, keys[window], values[window], decoding.slots, decoding.lengths, **settings)


AttentionInterface.register(IMPLEMENTATION, slot_attention)


class SlotAttention:
    """Switches a network to `slot_attention` and back, as often as tokens are decoded.

    transformers' own switch walks over all modules; here that happens once, to learn which settings it changes.

    Raises:
        TypeError: the architecture does not attend through transformers' interface.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        submodels = [module for module in network.modules() if isinstance(module, PreTrainedModel)]
        self._configs = list({id(submodel.config): submodel.config for submodel in submodels}.values())
        before = network.config._attn_implementation
        network.set_attn_implementation(IMPLEMENTATION)  # checks that the architecture allows it
        is_possible = all(config._attn_implementation == IMPLEMENTATION for config in self._configs)
        network.set_attn_implementation(before)
        if not is_possible:
            raise TypeError(f"{type(network).__name__} does not take attention functions")

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within the block the model expects `slots=` in its forward call and builds no mask of its own."""
        before = [config._attn_implementation for config in self._configs]
        for config in self._configs:
            config._attn_implementation_internal = IMPLEMENTATION
        try:
            yield
        finally:
            for config, implementation in zip(self._configs, before, strict=True):
                config._attn_implementation_internal = implementation
