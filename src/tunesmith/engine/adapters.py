"""Which weights train: adapters, the last layers, or all; and the files they are saved in."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import peft
from peft.tuners.trainable_tokens import TrainableTokensLayer
from peft.utils.other import TrainableTokensWrapper
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tunesmith.config import LoraConfig
from tunesmith.engine.quantize import cast, peft_for
from tunesmith.engine.vocabulary import token_layers, write_trained
from tunesmith.errors import AssetError, ConfigError, first_line


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


ADAPTER_FILE, PICKLED_FILE = "adapter_model.safetensors", "adapter_model.bin"
"""Of an adapter's folder: its weights, and those that peft would unpickle where there are no others."""


def load_adapter(
    network: PreTrainedModel | peft.PeftModel, adapter_dir: Path, *, name: str = "default", trainable: bool = False
) -> peft.PeftModel:
    """Put a saved adapter on the network, in the network's compute type; a trainable one in float32, for its masters.

    Args:
        network: with adapters or without; those it has stay as they are, and one of them goes on acting.
        name: of the adapter within the network; letters, digits, `-` and `_`.

    Raises:
        AssetError: the folder holds no adapter that fits, or only a pickled one, which is never opened.
    """
    assert re.fullmatch(r"[\w-]+", name), name
    assert name not in "lora_", "peft would take it for a part of a parameter's name"
    _check_adapter_folder(adapter_dir)
    settings: dict[str, Any] = {"is_trainable": trainable, "autocast_adapter_dtype": trainable, "torch_device": str(network.device)}
    with _unusable_adapters_named(adapter_dir), without_deprecations(), peft_for(network):
        if isinstance(network, peft.PeftModel):
            adapted = network
            found = adapted.load_adapter(str(adapter_dir), name, **settings)
            missing = [key for key in found.missing_keys if re.search(rf"\.{re.escape(name)}(\.|$)", key)]
            if missing:
                raise KeyError(f"its weights lack {missing[0]}")
        else:
            adapted = peft.PeftModel.from_pretrained(network, str(adapter_dir), name, **settings)
    if not trainable:
        cast(adapted, network.dtype)
    return adapted


def changes_linear_layers_only(adapter_dir: Path) -> bool:
    """By the adapter's own settings: neither rows of new tokens nor whole modules train beside it, so others can share its network.

    Raises:
        AssetError: the folder holds no adapter.
    """
    _check_adapter_folder(adapter_dir)
    with _unusable_adapters_named(adapter_dir):
        settings: Any = peft.PeftConfig.from_pretrained(str(adapter_dir))
        if not isinstance(settings, peft.LoraConfig):
            raise TypeError(f"it is of the kind {settings.peft_type}")
    return not (settings.trainable_token_indices or settings.modules_to_save or settings.bias != "none")


def _check_adapter_folder(adapter_dir: Path) -> None:
    """Before peft, which unpickles what is not there as safetensors, and asks the hub for what is not there at all."""
    if (adapter_dir / ADAPTER_FILE).is_file() and (adapter_dir / "adapter_config.json").is_file():
        return
    if (adapter_dir / PICKLED_FILE).is_file():
        remedy = "convert it with peft's own `save_pretrained` if you trust its author"
        raise _unusable_adapter(adapter_dir, f"its weights are pickled ({PICKLED_FILE}), which can run code when loaded", remedy)
    raise _unusable_adapter(adapter_dir, "they are not there", "restore the folder, or train again")


@contextmanager
def _unusable_adapters_named(adapter_dir: Path) -> Iterator[None]:
    """Errors of peft and of the file's reader, and the warning that weights are missing, which would stay at their random start."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            yield
    except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError, UserWarning) as error:
        raise _unusable_adapter(adapter_dir, f"peft cannot load it ({first_line(error)})", "restore the folder, or train again") from error


def _unusable_adapter(adapter_dir: Path, found: str, remedy: str) -> AssetError:
    return AssetError(str(adapter_dir), found, expected=f"adapter_config.json and {ADAPTER_FILE} for this base model", remedy=remedy)


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
