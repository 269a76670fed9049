"""Which weights train: adapters, the last layers, or all; and the files they are saved in."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import peft
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.utils.other import TrainableTokensWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunesmith.config import LoraConfig
from tunesmith.engine.quantize import cast, peft_for
from tunesmith.engine.vocabulary import token_layers, write_trained
from tunesmith.errors import ConfigError


def add_lora(network: PreTrainedModel, config: LoraConfig, base_reference: str, *, new_token_ids: Sequence[int] = ()) -> peft.PeftModel:
    """Put fresh low-rank adapters on the network. B starts at zero: the function is unchanged.

    They have the network's compute type, on four-bit layers float32. With `new_token_ids` the rows of these tokens in the
    embedding, and in the output head, train as well.

    Args:
        base_reference: what the adapter's own files name as the model it belongs to.

    Raises:
        ConfigError: one of the targets is not the name of a linear layer.
    """
    assert config.rank is not None, "left open: see tunesmith.train.defaults"
    assert config.alpha is not None, "left open: see tunesmith.train.defaults"
    targets = config.targets if config.targets == "all-linear" else _named_targets(network, config.targets)
    network.name_or_path = base_reference  # peft takes the name from here, and warns when its own settings say another
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        use_rslora=config.rslora,
        use_dora=config.dora,
        trainable_token_indices={name: list(new_token_ids) for name in token_layers(network)} if new_token_ids else None,
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_reference,
    )
    with without_deprecations(), peft_for(network):
        return peft.get_peft_model(network, settings, autocast_adapter_dtype=False)


def _named_targets(network: PreTrainedModel, targets: str) -> list[str]:
    """Every name must be found: peft alone would leave out what it does not find."""
    head = network.get_output_embeddings()
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear | Conv1D) and module is not head]
    wanted = [target.strip() for target in targets.split(",")]
    unknown = [target for target in wanted if not any(f".{name}".endswith(f".{target}") for name in linear)]
    if unknown:
        names = sorted({name.rpartition(".")[2] for name in linear})
        raise ConfigError(
            "lora targets",
            f"{unknown[0]!r} is not a linear layer of the model's body",
            expected=f"all-linear or some of {', '.join(names)}",
            remedy="correct --lora-targets",
        )
    return wanted


@contextmanager
def without_deprecations() -> Iterator[None]:
    """Peft asks transformers a question by a name that transformers deprecates; the user can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        yield


def load_adapter(network: PreTrainedModel, adapter_dir: Path, *, trainable: bool = False) -> peft.PeftModel:
    """Put a saved adapter on the network, in the network's compute type; a trainable one in float32, for its masters."""
    with without_deprecations(), peft_for(network):
        adapted = peft.PeftModel.from_pretrained(network, str(adapter_dir), is_trainable=trainable, autocast_adapter_dtype=trainable)
    if not trainable:
        cast(adapted, network.dtype)
    return adapted


def freeze_all_but_last(network: PreTrainedModel, count: int) -> None:
    """Leave the last `count` decoder layers and the final norm trainable.

    Raises:
        ConfigError: the model has fewer layers.
    """
    layers = decoder_layers(network)
    if count > len(layers):
        raise ConfigError("trainable_layers", str(count), expected=f"at most the model's {len(layers)}", remedy="lower --trainable-layers")
    network.requires_grad_(False)
    layers[-count:].requires_grad_(True)
    for name, module in network.get_decoder().named_children():  # `norm`, `final_layernorm`, `ln_f`; not an embedding's
        if "norm" in type(module).__name__.lower() and "embed" not in name:
            module.requires_grad_(True)


def decoder_layers(network: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers, from the embedding's side on."""
    return max((m for m in network.get_decoder().children() if isinstance(m, nn.ModuleList)), key=len)


@contextmanager
def as_base(network: PreTrainedModel | peft.PeftModel) -> Iterator[None]:
    """Within the block the adapter, if there is one, is switched off."""
    with network.disable_adapter() if isinstance(network, peft.PeftModel) else nullcontext():
        yield


class HeadWeights(NamedTuple):
    """What the output layer multiplies by and adds."""

    weight: Tensor  # (V, E)
    bias: Tensor | None  # (V,)


def effective_head(network: PreTrainedModel) -> HeadWeights:
    """The output layer's weights as they act: with the trained rows of new tokens in place, differentiable with respect to them.

    Raises:
        TypeError: the network has no linear output layer.
    """
    layer: Any = network.get_output_embeddings()
    if isinstance(layer, TrainableTokensWrapper):
        layer = layer.token_adapter
    if isinstance(layer, TrainableTokensLayer):
        base = layer.get_base_layer()
        is_plain = layer.disable_adapters or layer.merged or not layer.active_adapters
        return HeadWeights(base.weight if is_plain else layer.get_merged_weights(layer.active_adapters), None)
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"{type(network).__name__} has no linear output layer")
    return HeadWeights(layer.weight, layer.bias)


def save_adapter(network: peft.PeftModel, masters: Mapping[str, Tensor], directory: Path) -> None:
    """Write the adapter in PEFT's own format, in float32."""
    network.save_pretrained(str(directory), state_dict=dict(masters), save_embedding_layers=False)


def save_whole(start: PreTrainedModel, masters: Mapping[str, Tensor], directory: Path, new_token_ids: Sequence[int] = ()) -> None:
    """Write a folder `from_pretrained` loads: `start`, the float32 network training began with, under the trained weights."""
    write_trained(start, masters, new_token_ids)
    start.tie_weights()
    start.save_pretrained(directory)
