"""A small network in float32 with every kind of layer of a large one, to try on it what the large one's code computes.

Whether a network computes the same in a pack as alone depends on the code of its layers, not on their numbers nor on how
often a kind of layer comes again. So the first layers are enough, up to the one with which all kinds have been seen (sliding
and full attention, with and without rotary embedding, dense and sparse), and the first rows of the embedding and the output
head. In float32, so that rounding hides no difference, whatever the type of the whole.

A network that holds no numbers yet (on the meta device) is tried on random ones, always the same.

>>> excerpt(gemma3).config.num_hidden_layers       # of 18: five of sliding attention, then one of full
6
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.engine.adapters import decoder_layers
from tunesmith.engine.quantize import cast

LEAST_LAYERS = 2
"""So that one layer reads what another made of a pack."""
MOST_TOKENS = 1024
"""Rows kept of embedding and output head."""


@torch.no_grad()
def excerpt(network: PreTrainedModel) -> PreTrainedModel:
    """Copy the first layers and tokens, in float32 and evaluation mode. What is float32 already is shared: only read the result."""
    layers = list(decoder_layers(network))
    kept = layers[: _num_needed(layers, getattr(network.config.get_text_config(), "layer_types", None))]
    dropped: dict[int, Any] = {id(layer): None for layer in layers[len(kept) :]}
    tables = _vocabulary_tables(network)
    result: PreTrainedModel = copy.deepcopy(network, {**dropped, **_copies(network, layers[len(kept) :], tables)})
    _shorten(result, len(kept))
    if tables:
        result.config.get_text_config().vocab_size = min(MOST_TOKENS, len(tables[0]))
        result.get_input_embeddings().padding_idx = None  # its row may be gone
    cast(result, torch.float32)
    _fill(result)
    return result.eval()


def _fill(network: PreTrainedModel) -> None:
    """Give weights that are not there yet numbers with which activations neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    filled: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is None or not weight.is_meta:
                continue
            if id(weight) not in filled:
                numbers = torch.randn(weight.shape, generator=generator)
                numbers = 1 + numbers / 8 if weight.ndim == 1 else numbers / weight.shape[-1] ** 0.5
                filled[id(weight)] = nn.Parameter(numbers, requires_grad=False)
            module._parameters[name] = filled[id(weight)]


def _shorten(network: PreTrainedModel, count: int) -> None:
    config = network.config.get_text_config()
    if len(decoder_layers(network)) > count:
        del decoder_layers(network)[count:]
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[:count]
        config.num_hidden_layers = count


def _copies(network: PreTrainedModel, dropped: Sequence[nn.Module], tables: Sequence[Tensor]) -> dict[int, Any]:
    """What stands for each parameter in the copy, by its identity: in float32 at once, tables of the vocabulary cut."""
    unwanted = {id(parameter) for layer in dropped for parameter in layer.parameters()}
    found: dict[int, Any] = {}
    for parameter in network.parameters():
        if id(parameter) in unwanted or not parameter.is_floating_point() or type(parameter) is not nn.Parameter:
            continue
        is_table = any(parameter is table for table in tables)
        found[id(parameter)] = nn.Parameter((parameter[:MOST_TOKENS] if is_table else parameter).detach().float(), requires_grad=False)
    return found


def _vocabulary_tables(network: PreTrainedModel) -> list[Tensor]:
    """Embedding and plain linear output head, which can be cut; nothing where something else has a row for every token."""
    embedding, head = network.get_input_embeddings(), network.get_output_embeddings()
    if not isinstance(embedding, nn.Embedding) or type(head) is not nn.Linear:
        return []
    tables = [embedding.weight, head.weight, *([] if head.bias is None else [head.bias])]
    size = len(embedding.weight)
    others = [t for t in (*network.parameters(), *network.buffers()) if not any(t is table for table in tables)]
    if network.config.get_text_config().vocab_size != size or len(head.weight) != size or any(size in t.shape for t in others):
        return []
    return tables


def _num_needed(layers: Sequence[nn.Module], types: Sequence[str] | None) -> int:
    """Layers from the first on until all kinds have been seen."""
    kinds = [(types[i] if types else None, _kind(layer)) for i, layer in enumerate(layers)]
    return min(len(layers), max(LEAST_LAYERS, *(1 + kinds.index(kind) for kind in kinds)))


def _kind(layer: nn.Module) -> Any:
    """Equal for layers that run the same code: their modules' classes, shapes, and plain settings but for their own number."""
    return tuple((name, type(module), _settings(module), _shapes(module)) for name, module in layer.named_modules())


def _settings(module: nn.Module) -> tuple[Any, ...]:
    plain = {k: v for k, v in vars(module).items() if not k.startswith("_") and isinstance(v, bool | int | float | str | None)}
    return tuple(sorted((k, repr(v)) for k, v in plain.items() if not ("layer" in k and type(v) is int)))


def _shapes(module: nn.Module) -> tuple[Any, ...]:
    return tuple(sorted((name, None if p is None else tuple(p.shape)) for name, p in module._parameters.items()))
