"""What a run starts from: a base model, or an earlier run whose training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import peft
import torch
from transformers import PreTrainedModel

from tunesmith import assets
from tunesmith.config import ADAPTER_METHODS, LoraConfig, TrainConfig
from tunesmith.engine.adapters import add_lora, freeze_all_but_last, load_adapter
from tunesmith.engine.loading import LoadedModel, choose_device, choose_dtype, load_model, weights_fingerprint
from tunesmith.engine.masters import TrainedWeights
from tunesmith.engine.memory import give_back_blocks_from
from tunesmith.engine.merging import merge
from tunesmith.engine.vocabulary import add_new_tokens, train_new_rows
from tunesmith.errors import ConfigError
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.train.optimizer import keeps_halves
from tunesmith.tuned import base_directory, stored_renderer

LARGE_BESIDE_ADAPTERS = 2**20
"""Bytes of blocks that go back to the system when they are freed: the wider activations of some hundred tokens."""
LARGE_BESIDE_GRADIENTS = 2**22
"""The same where whole matrices train: their gradients would otherwise come and go page by page in every step, for a fifth of
the time. Those of the embedding and the logits do."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the weights come from."""

    reference: str
    """As the user named the base model (of a continued adapter: the base under it)."""
    directory: Path
    """The base model's folder."""
    name: str
    licence: str | None
    origin: str
    parent: RunDirectory | None = None
    """The earlier run, when this one continues it."""

    @property
    def adapter_method(self) -> str | None:
        """The parent's method, when the parent trained an adapter."""
        method = self.parent.manifest()["method"] if self.parent else None
        return method if method in ADAPTER_METHODS else None

    @property
    def adapter_dir(self) -> Path | None:
        """The parent's adapter, when the parent trained one."""
        return self.parent.model_dir if self.parent and self.adapter_method else None

    @property
    def adapter_reference(self) -> str:
        """The model that an adapter's own files name: a hub id is one for everybody, all else is a folder of this machine."""
        is_hub_id = self.reference.count("/") == 1 and not Path(self.reference).exists()
        return self.reference if is_hub_id else str(self.directory)

    @cached_property
    def weights(self) -> str:
        """Fingerprint of the base model's weights. Reads through its files."""
        return weights_fingerprint(self.directory)

    def record(self) -> dict[str, Any]:
        """For `run.json`: enough to open the base model again."""
        return {
            "reference": self.reference,
            "directory": str(self.directory.resolve()),
            "name": self.name,
            "licence": self.licence,
            "origin": self.origin,
            "weights": self.weights,
        }


def find_start(reference: str, say: Callable[[str], None] | None = None) -> Start:
    """Resolve `TrainConfig.model`.

    Raises:
        AssetError: there is no such model.
        RunError: the earlier run has not finished.
    """
    if not is_run(reference):
        model = assets.resolve_model(reference, on_progress=say)
        return Start(reference=reference, directory=model.directory, name=model.name, licence=model.licence, origin=model.origin)
    parent = open_run(Path(reference))
    base = parent.record()["model"]
    if parent.manifest()["method"] in ADAPTER_METHODS:
        return Start(
            reference=base["reference"],
            directory=base_directory(parent.record()),
            name=base["name"],
            licence=base["licence"],
            origin=base["origin"],
            parent=parent,
        )
    return Start(
        reference=str(parent.path),
        directory=parent.model_dir,
        name=parent.name,
        licence=base["licence"],
        origin=f"run {parent.name}",
        parent=parent,
    )


def recorded_start(record: Mapping[str, Any]) -> Start:
    """What a run started from, by its `run.json`: the very folder, even if the name means another by now.

    Raises:
        AssetError: the folder is gone and the model cannot be had again.
        RunError: the earlier run that this one continues is gone.
    """
    model = record["model"]
    return Start(
        reference=model["reference"],
        directory=base_directory(record),
        name=model["name"],
        licence=model["licence"],
        origin=model["origin"],
        parent=open_run(Path(record["parent"])) if record["parent"] else None,
    )


def load_start(start: Start, config: TrainConfig) -> LoadedModel:
    """Load what stays frozen in the compute type, what trains in float32, with the new tokens.

    The parent's adapter is folded in, unless the run goes on training that adapter.

    Raises:
        ConfigError: a new token is in the vocabulary already.
    """
    give_back_blocks_from(LARGE_BESIDE_ADAPTERS if config.method in ADAPTER_METHODS else LARGE_BESIDE_GRADIENTS)
    quantize = (start.adapter_method or config.method) == "qlora"
    loaded = load_model(start.directory, dtype=loading_dtype(config), device=torch.device("cpu"), quantize=quantize)
    add_new_tokens(loaded, config.new_tokens)
    if start.adapter_dir and config.method not in ADAPTER_METHODS:
        merge(load_adapter(loaded.network, start.adapter_dir))
    return loaded


def loading_dtype(config: TrainConfig) -> torch.dtype:
    """Of the base weights: LoRA reads nothing more exact out of them than it computes with.

    Others do: weights that train have float32 masters, DoRA measures the columns it starts from, four bits are made of float32.
    """
    is_plain_lora = config.method == "lora" and not config.lora.dora
    return choose_dtype(config.dtype, choose_device(config.device)) if is_plain_lora else torch.float32


def choose_renderer(start: Start, template: str, data_template: str, loaded: LoadedModel) -> Renderer:
    """The template asked for, else the parent's, else the data set's, else the model's own.

    Raises:
        RunError: the parent's template or tokenizer give other tokens than they did.
    """
    if template == "auto" and start.parent:
        return stored_renderer(start.parent, loaded.tokenizer)
    return Renderer.for_model(loaded.tokenizer, data_template if template == "auto" else template, loaded.stop_ids)


def resolve_lora(start: Start, config: TrainConfig) -> LoraConfig:
    """A continued adapter keeps its shape.

    Raises:
        ConfigError: another shape was asked for, or a shape where no adapter trains, or the other kind of base weights.
    """
    given = {field: getattr(config.lora, field) for field in LoraConfig.model_fields if config.lora != LoraConfig()}
    given = {field: value for field, value in given.items() if value != LoraConfig.model_fields[field].default}
    if config.method not in ADAPTER_METHODS:
        if given:
            found = f"settings of LoRA ({', '.join(given)}) beside --method {config.method}, which trains no adapter"
            raise ConfigError("lora", found, expected="--method lora or qlora", remedy="leave them out, or change --method")
        return config.lora
    if start.parent is None or start.adapter_method is None:
        return config.lora
    if config.method != start.adapter_method:
        raise ConfigError(
            f"--method {config.method}",
            f"{start.parent.path} trained its adapter with --method {start.adapter_method}, on other base weights",
            expected=f"--method {start.adapter_method}, or full, which folds the adapter in",
            remedy="change --method",
        )
    parent_lora = LoraConfig(**start.parent.record()["config"]["lora"])
    if any(value != getattr(parent_lora, field) for field, value in given.items()):
        raise ConfigError(
            "lora", f"{config.lora!r}", expected=f"{parent_lora!r}, the adapter of {start.parent.path}", remedy="leave out the LoRA options"
        )
    return parent_lora


def resolve_new_tokens(start: Start, config: TrainConfig) -> tuple[str, ...]:
    """A continued adapter keeps its tokens; a run's whole model has them in its own vocabulary.

    Raises:
        ConfigError: others were asked for.
    """
    if start.parent is None:
        return config.new_tokens
    inherited = tuple(start.parent.record()["config"].get("new_tokens", ()))
    if config.new_tokens not in ((), inherited):
        raise ConfigError(
            "--new-tokens",
            f"{','.join(config.new_tokens)} beside an earlier run",
            expected="tokens where training starts from a base model",
            remedy=f"leave them out: {start.parent.path} has {','.join(inherited) or 'none'}",
        )
    return inherited if start.adapter_method else ()


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """A network with some of its weights trainable."""

    network: PreTrainedModel
    peft_network: peft.PeftModel | None
    weights: TrainedWeights
    num_parameters: int
    new_token_ids: tuple[int, ...] = ()
    """Tokens whose rows in embedding and output head train by themselves."""


def make_trainee(start: Start, loaded: LoadedModel, config: TrainConfig) -> Trainee:
    """Choose what trains, move to the device, and keep float32 masters of the trained weights."""
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    network = loaded.network
    num_parameters = network.num_parameters()
    new_ids = tuple(loaded.tokenizer.convert_tokens_to_ids(list(config.new_tokens)))
    torch.manual_seed(config.seed)  # the adapter's initial weights
    peft_network = None
    if config.method in ADAPTER_METHODS:
        peft_network = (
            load_adapter(network, start.adapter_dir, trainable=True)
            if start.adapter_dir
            else add_lora(network, config.lora, start.adapter_reference, new_token_ids=new_ids)
        )
        num_parameters += sum(p.numel() for p in network.parameters() if p.requires_grad)
    elif config.method == "freeze":
        freeze_all_but_last(network, config.trainable_layers)
        if new_ids:
            train_new_rows(network, new_ids)
    else:
        network.requires_grad_(True)
    network.to(device)
    weights = TrainedWeights(peft_network or network, dtype, in_halves=keeps_halves(config, dtype, device))
    if config.activation_checkpointing:
        checkpoint_activations(network)
    return Trainee(network=network, peft_network=peft_network, weights=weights, num_parameters=num_parameters, new_token_ids=new_ids)


def checkpoint_activations(network: PreTrainedModel) -> None:
    """Compute in the backward pass again what lies within each decoder layer."""
    settings = {"use_reentrant": False}
    if hasattr(network, "activation_checkpointing_enable"):  # the name in later versions of transformers 5
        network.activation_checkpointing_enable(settings)
    else:
        network.gradient_checkpointing_enable(settings)
    # It lets embeddings require gradients, for the other kind of checkpointing: then all layers of a frozen body run backward too.
    network.disable_input_require_grads()
