"""What a model is made of, read from its configuration alone: the network is built without memory for its weights.

>>> network = read_network(Path("llama-3.1-8b/config.json"))
>>> describe(network, method="lora", lora=LoraConfig(rank=16)).num_parameters
8030261248
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunesmith.config import ADAPTER_METHODS, LoraConfig, Method
from tunesmith.engine.adapters import decoder_layers, freeze_all_but_last
from tunesmith.engine.fast import ATTENTION_CLASSES
from tunesmith.errors import AssetError, ConfigError, first_line
from tunesmith.train.defaults import RANKS


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One parameter."""

    rows: int
    """Its first dimension, which sharding divides."""
    row_size: int
    is_linear: bool
    """The matrix of a linear layer of the body: what four bits are for."""
    is_trained: bool

    @property
    def count(self) -> int:
        return self.rows * self.row_size


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Sizes of a decoder layer that decide what its forward pass keeps and computes."""

    hidden: int
    norms: int
    queries: int
    """All heads' entries together."""
    keys: int
    """Of keys; values have as many."""
    heads: int
    intermediate: int
    is_gated: bool
    """The MLP multiplies two products (gate and up)."""
    normalises_heads: bool
    window: int | None
    """Tokens that a token sees, itself included; None: all before it."""
    adapter_ranks: int
    """Sum of the ranks of the layer's adapters."""
    is_trained: bool
    """Some of its weights train, or those of its adapters."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model under one method of training."""

    name: str
    num_parameters: int
    """Of the model; adapters come on top."""
    root: tuple[Weights, ...]
    """What is in no decoder layer: embedding, last norm, output head. Tied weights are there once."""
    groups: tuple[tuple[Weights, ...], ...]
    """Of each decoder layer, from the embedding's side on, adapters included."""
    layers: tuple[Layer, ...]
    vocabulary: int
    hidden: int
    scales_logits: bool
    caps_logits: bool
    is_fused: bool
    """Its layers take the engine's fast way (`engine/fast.py`), which keeps less."""
    context_length: int

    @property
    def weights(self) -> Iterator[Weights]:
        """All of them."""
        for group in (self.root, *self.groups):
            yield from group

    @property
    def num_trained(self) -> int:
        return sum(one.count for one in self.weights if one.is_trained)

    @property
    def head_is_trained(self) -> bool:
        return any(one.is_trained and one.rows == self.vocabulary for one in self.root)


def read_network(config_file: Path) -> PreTrainedModel:
    """Build the decoder of a `config.json` on the meta device: exact shapes, no weights, no code but transformers' own.

    Raises:
        AssetError: it is no configuration of a dense decoder that transformers knows.
    """
    try:
        written = json.loads(config_file.read_text(encoding="utf-8"))
        config = AutoConfig.for_model(**_fields(written))
        with torch.device("meta"):
            network: PreTrainedModel = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError, StrictDataclassError) as error:
        raise _unusable(config_file, f"transformers cannot build a decoder from it ({first_line(error)})") from error
    if network._is_stateful or any("Linear" in type(layer).__name__ for layer in DynamicCache(config=network.config).layers):
        raise _unusable(config_file, f"{type(network).__name__} carries a state from token to token")
    if any(parameter.dim() > 2 for parameter in decoder_layers(network).parameters()):
        raise _unusable(config_file, f"{type(network).__name__} is a mixture of experts or has other weights that are no matrices")
    return network


def _fields(written: Any) -> dict[str, Any]:
    if not isinstance(written, dict) or "model_type" not in written:
        raise ValueError("no key model_type")
    if written["model_type"] not in CONFIG_MAPPING:
        raise ValueError(f"it knows no model_type {written['model_type']!r}")
    return {key: value for key, value in written.items() if key != "quantization_config"}  # how weights are stored


def _unusable(config_file: Path, found: str) -> AssetError:
    expected = "the config.json of a dense decoder-only language model"
    return AssetError(str(config_file), found, expected=expected, remedy="check the file, or name another model's")


def describe(
    network: PreTrainedModel, *, method: Method, lora: LoraConfig | None = None, trainable_layers: int = 4, context: int | None = None
) -> Architecture:
    """Weights by layer, and which of them train under `method`.

    Args:
        network: from `read_network`; which of its parameters require gradients changes.
        lora: for lora and qlora; a rank left open is that of up to 50,000 examples.
        context: tokens an example may have; None is what the configuration says.

    Raises:
        ConfigError: there are fewer layers than are to train, or a target of adapters is no linear layer.
    """
    if method == "freeze":
        freeze_all_but_last(network, trainable_layers)
    else:
        network.requires_grad_(method == "full")
    body, text = decoder_layers(network), network.config.get_text_config()
    seen: set[int] = set()
    adapters = (lora or LoraConfig()) if method in ADAPTER_METHODS else None
    _check_targets(network, adapters)
    groups = tuple(tuple(_weights_of(layer, seen, adapters)) for layer in body)
    root = tuple(_weights_of(network, seen, None))
    base = sum(parameter.numel() for parameter in network.parameters())
    return Architecture(
        name=type(network).__name__,
        num_parameters=base,
        root=root,
        groups=groups,
        layers=tuple(_layer(layer, number, network, adapters) for number, layer in enumerate(body)),
        vocabulary=network.get_output_embeddings().weight.shape[0],
        hidden=text.hidden_size,
        scales_logits=any((getattr(text, name, None) or 1.0) != 1.0 for name in ("logit_scale", "logits_scaling")),
        caps_logits=getattr(text, "final_logit_softcapping", None) is not None,
        is_fused=_is_fused(body[0], method, adapters),
        context_length=context or int(getattr(text, "max_position_embeddings", None) or 2048),
    )


def _is_fused(layer: nn.Module, method: Method, lora: LoraConfig | None) -> bool:
    """As `engine/linear.py` decides: layers in four bits and adapters with variants go their own way."""
    is_plain = method != "qlora" and (lora is None or not (lora.dora or lora.dropout))
    return is_plain and any(type(module).__name__ in ATTENTION_CLASSES for module in layer.modules())


def _linear_layers(module: nn.Module) -> Iterator[tuple[str, nn.Linear | Conv1D]]:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear | Conv1D):
            yield name, layer


def _check_targets(network: PreTrainedModel, lora: LoraConfig | None) -> None:
    """Every name must be found, as when an adapter is made."""
    if lora is None or lora.targets == "all-linear":
        return
    names = {name.rpartition(".")[2] for name, _ in _linear_layers(decoder_layers(network))}
    for target in lora.targets.split(","):
        if target.strip().rpartition(".")[2] not in names:
            expected = f"all-linear or some of {', '.join(sorted(names))}"
            raise ConfigError("lora targets", f"{target.strip()!r} is no linear layer", expected=expected, remedy="correct --lora-targets")


def _has_adapter(name: str, lora: LoraConfig) -> bool:
    return lora.targets == "all-linear" or any(f".{name}".endswith(f".{target.strip()}") for target in lora.targets.split(","))


def _rank(lora: LoraConfig) -> int:
    return lora.rank or RANKS[0][1]


def _weights_of(module: nn.Module, seen: set[int], lora: LoraConfig | None) -> Iterator[Weights]:
    """Its parameters that have not been seen, and the adapters they get."""
    for name, layer in module.named_modules():
        for which, parameter in layer._parameters.items():
            if parameter is None or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            rows = parameter.shape[0] if parameter.dim() else 1
            is_linear = isinstance(layer, nn.Linear | Conv1D) and which == "weight"
            size = parameter.numel() // rows
            yield Weights(rows=rows, row_size=size, is_linear=is_linear and lora is not None, is_trained=parameter.requires_grad)
        if lora is not None and isinstance(layer, nn.Linear | Conv1D) and _has_adapter(name, lora):
            yield from _adapter(layer, lora)


def _adapter(layer: nn.Linear | Conv1D, lora: LoraConfig) -> Iterator[Weights]:
    """A (rank, in), B (out, rank), and the magnitudes of DoRA."""
    inputs, outputs = _sizes(layer)
    shapes = [(_rank(lora), inputs), (outputs, _rank(lora)), *([(outputs, 1)] if lora.dora else [])]
    for rows, size in shapes:
        yield Weights(rows=rows, row_size=size, is_linear=False, is_trained=True)


def _sizes(layer: nn.Linear | Conv1D) -> tuple[int, int]:
    """Inputs and outputs."""
    return (layer.nx, layer.nf) if isinstance(layer, Conv1D) else (layer.in_features, layer.out_features)


def _layer(module: nn.Module, number: int, network: PreTrainedModel, lora: LoraConfig | None) -> Layer:
    """From the layer's own modules where they say it, else from the configuration."""
    text = network.config.get_text_config()
    heads = text.num_attention_heads
    dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    shared = getattr(text, "num_key_value_heads", None) or heads
    names = {name.rpartition(".")[2] for name, _ in module.named_modules()}
    norms = [one for one in module.modules() if "norm" in type(one).__name__.lower() and _width(one) == text.hidden_size]
    adapted = [name for name, _ in _linear_layers(module) if lora is not None and _has_adapter(name, lora)]
    return Layer(
        hidden=text.hidden_size,
        norms=len(norms),
        queries=heads * dim,
        keys=shared * dim,
        heads=heads,
        intermediate=getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * text.hidden_size,
        is_gated="gate_proj" in names or "gate_up_proj" in names,
        normalises_heads="q_norm" in names,
        window=_window(text, number),
        adapter_ranks=len(adapted) * _rank(lora) if lora is not None else 0,
        is_trained=bool(adapted) or any(parameter.requires_grad for parameter in module.parameters()),
    )


def _width(norm: nn.Module) -> int:
    weight = getattr(norm, "weight", None)
    return weight.shape[-1] if isinstance(weight, torch.Tensor) else 0


def _window(text: Any, number: int) -> int | None:
    kinds = getattr(text, "layer_types", None)
    if kinds and kinds[number] != "sliding_attention":
        return None
    if not kinds and not getattr(text, "use_sliding_window", True):
        return None
    window: int | None = getattr(text, "sliding_window", None)
    return window
