"""What a run starts from where the weights are spread over the ranks of a group (`engine/sharded`).

The same two steps as in `train/start.py`: `load_hollow_start` gives the network without its numbers, enough to render, to check
and to plan; `make_sharded_trainee` chooses what trains and reads each rank's part.
"""

from __future__ import annotations

from typing import Any

import peft
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from transformers import PreTrainedModel

from tunesmith.config import ADAPTER_METHODS, TrainConfig
from tunesmith.distributed.group import Group
from tunesmith.engine.adapters import add_lora, freeze_all_but_last, load_adapter
from tunesmith.engine.attention import packs_faithfully
from tunesmith.engine.loading import LoadedModel, choose_device, choose_dtype
from tunesmith.engine.memory import give_back_blocks_from
from tunesmith.engine.sharded.four_bits import put_into_four_bits
from tunesmith.engine.sharded.hollow import load_hollow, retyped, with_stand_ins
from tunesmith.engine.sharded.reading import GrownFolder, WeightFolder
from tunesmith.engine.sharded.spreading import own_rows, plain_name, spread
from tunesmith.engine.sharded.weights import ShardedWeights
from tunesmith.engine.vocabulary import ROWS, add_new_tokens, token_layers
from tunesmith.errors import ConfigError
from tunesmith.train.start import LARGE_BESIDE_ADAPTERS, LARGE_BESIDE_GRADIENTS, Start, Trainee, checkpoint_activations, loading_dtype
from tunesmith.train.strategy import unspreadable

MAGNITUDE = ".lora_magnitude_vector."
"""Within the name of a parameter that peft keeps the norms of a layer's rows in (DoRA, Liu et al. 2024, arXiv:2402.09353)."""


def load_hollow_start(start: Start, config: TrainConfig) -> LoadedModel:
    """In the place of `load_start`: no weight is read yet.

    Raises:
        ConfigError: the settings ask for what is not done with spread weights, or a new token is in the vocabulary already.
    """
    refuse_unspreadable(start, config)
    give_back_blocks_from(LARGE_BESIDE_ADAPTERS if config.method in ADAPTER_METHODS else LARGE_BESIDE_GRADIENTS)
    loaded = load_hollow(start.directory, dtype=loading_dtype(config))
    add_new_tokens(loaded, config.new_tokens)
    return loaded


def make_sharded_trainee(start: Start, loaded: LoadedModel, config: TrainConfig, group: Group) -> Trainee:
    """In the place of `make_trainee`, on every rank: choose what trains, and read this rank's part of the weights.

    Raises:
        ConfigError: the architecture runs in padded batches.
        AssetError: the folder's weights are not those of the network, name by name.
    """
    device = choose_device(config.device)
    network = loaded.network
    if reason := packs_faithfully(network).reason:
        raise _refused(f"{type(network).__name__} {reason}", "an architecture that runs several examples in one sequence")
    num_parameters = network.num_parameters()
    folder = _weight_folder(start, loaded, config)
    if config.method == "qlora":
        put_into_four_bits(network)
    peft_network = _choose(network, start, config, folder)
    if peft_network is not None:
        if start.adapter_dir is None:
            _start_where_weights_are(network, folder, group)
        num_parameters += sum(p.numel() for p in network.parameters() if p.requires_grad)
    compute_dtype = choose_dtype(config.dtype, device)
    retyped(network, lambda parameter: torch.float32 if parameter.requires_grad else compute_dtype)
    if config.activation_checkpointing:
        checkpoint_activations(network)
    mesh = init_device_mesh(device.type, (group.size,))
    spread(network, folder, mesh, compute_dtype, offload=config.cpu_offload)
    weights = ShardedWeights(peft_network or network, network)
    return Trainee(network=network, peft_network=peft_network, weights=weights, num_parameters=num_parameters)


def _weight_folder(start: Start, loaded: LoadedModel, config: TrainConfig) -> WeightFolder:
    """The base model's, with rows for new tokens."""
    if not config.new_tokens:
        return WeightFolder(start.directory)
    network, tokenizer = loaded.network, loaded.tokenizer
    weights = [layer.weight for layer in token_layers(network).values()]
    return GrownFolder(
        start.directory,
        names={name for name, p in network.named_parameters(remove_duplicate=False) if any(p is weight for weight in weights)},
        num_rows=network.get_input_embeddings().weight.shape[0],
        new=tokenizer.convert_tokens_to_ids(list(config.new_tokens)),
        num_old=len(tokenizer) - len(config.new_tokens),
        dtype=loading_dtype(config),
    )


def _choose(network: PreTrainedModel, start: Start, config: TrainConfig, folder: WeightFolder) -> peft.PeftModel | None:
    """Mark what trains; adapters have the numbers that a single process gives them, or an earlier run."""
    torch.manual_seed(config.seed)
    if config.method not in ADAPTER_METHODS:
        if config.method == "freeze":
            freeze_all_but_last(network, config.trainable_layers)
        else:
            network.requires_grad_(True)
        return None
    with with_stand_ins(network):
        if start.adapter_dir:
            peft_network = load_adapter(network, start.adapter_dir, trainable=True)
        else:
            new_ids = folder.new if isinstance(folder, GrownFolder) else ()
            peft_network = add_lora(network, config.lora, start.adapter_reference, new_token_ids=new_ids)
    for parameter in network.parameters():
        if parameter.is_meta:
            parameter.requires_grad_(False)
    return peft_network


@torch.no_grad()
def _start_where_weights_are(network: PreTrainedModel, folder: WeightFolder, group: Group) -> None:
    """Give what peft takes from the weights, of which there were none, its numbers: rows of new tokens, and of DoRA each row's norm.

    Raises:
        ConfigError: DoRA on layers whose outputs are no rows.
    """
    for name, parameter in network.named_parameters():
        if ROWS in name:
            assert isinstance(folder, GrownFolder)
            parameter.copy_(folder.new_row(plain_name(f"{name.partition(ROWS)[0]}.weight")))
        elif MAGNITUDE in name:
            layer: Any = network.get_submodule(name.partition(MAGNITUDE)[0])
            if not isinstance(layer.get_base_layer(), nn.Linear):
                raise _refused(f"DoRA on a layer of the kind {type(layer.get_base_layer()).__name__}", "plain LoRA")
            own = own_rows(len(parameter), group.rank, group.size)
            parameter[own.start : own.stop] = folder.rows(f"{name.partition(MAGNITUDE)[0]}.weight", *own).float().norm(dim=1)


def refuse_unspreadable(start: Start, config: TrainConfig) -> None:
    """Say what one process, or a whole model in each of several, can do and spread weights cannot.

    Raises:
        ConfigError: the settings ask for some of it.
    """
    if refused := unspreadable(config):
        raise _refused(*refused)
    if start.adapter_dir and config.method not in ADAPTER_METHODS:
        raise _refused(f"folding the adapter of {start.adapter_dir.parent} into its base model", f"--method {start.adapter_method}")
    if config.cpu_offload and choose_device(config.device).type != "cuda":
        raise ConfigError(
            "--cpu-offload", "weights are in the CPU's memory already", expected="training on GPUs", remedy="leave out --cpu-offload"
        )


def _refused(found: str, expected: str) -> ConfigError:
    return ConfigError(
        "--strategy fsdp", f"{found} is not supported with weights spread over processes", expected=expected, remedy="use --strategy ddp"
    )
