"""What a run starts from where the weights are spread over the ranks of a group (`engine/sharded`).

The same two steps as in `train/start.py`: `load_hollow_start` gives the network without its numbers, enough to render, to check
and to plan; `make_sharded_trainee` chooses what trains and reads each rank's part.
"""

from __future__ import annotations

import peft
import torch
from torch.distributed.device_mesh import init_device_mesh
from transformers import PreTrainedModel

from tunesmith.config import ADAPTER_METHODS, TrainConfig
from tunesmith.distributed.group import Group
from tunesmith.engine.adapters import add_lora, freeze_all_but_last
from tunesmith.engine.attention import packs_faithfully
from tunesmith.engine.loading import LoadedModel, choose_device, choose_dtype
from tunesmith.engine.memory import give_back_blocks_from
from tunesmith.engine.sharded.four_bits import put_into_four_bits
from tunesmith.engine.sharded.hollow import load_hollow, retyped, with_stand_ins
from tunesmith.engine.sharded.spreading import spread
from tunesmith.engine.sharded.weights import ShardedWeights
from tunesmith.errors import ConfigError
from tunesmith.train.start import LARGE_BESIDE_ADAPTERS, LARGE_BESIDE_GRADIENTS, Start, Trainee, checkpoint_activations, loading_dtype


def load_hollow_start(start: Start, config: TrainConfig) -> LoadedModel:
    """In the place of `load_start`: no weight is read yet.

    Raises:
        ConfigError: the settings ask for what is not done with spread weights.
    """
    refuse_unspreadable(start, config)
    give_back_blocks_from(LARGE_BESIDE_ADAPTERS if config.method in ADAPTER_METHODS else LARGE_BESIDE_GRADIENTS)
    return load_hollow(start.directory, dtype=loading_dtype(config))


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
    if config.method == "qlora":
        put_into_four_bits(network)
    peft_network = _choose(network, start, config)
    if peft_network is not None:
        num_parameters += sum(p.numel() for p in network.parameters() if p.requires_grad)
    compute_dtype = choose_dtype(config.dtype, device)
    retyped(network, lambda parameter: torch.float32 if parameter.requires_grad else compute_dtype)
    if config.activation_checkpointing:
        checkpoint_activations(network)
    mesh = init_device_mesh(device.type, (group.size,))
    spread(network, start.directory, mesh, compute_dtype, offload=config.cpu_offload)
    weights = ShardedWeights(peft_network or network, network)
    return Trainee(network=network, peft_network=peft_network, weights=weights, num_parameters=num_parameters)


def _choose(network: PreTrainedModel, start: Start, config: TrainConfig) -> peft.PeftModel | None:
    """Mark what trains; fresh adapters have the numbers that a single process gives them."""
    torch.manual_seed(config.seed)
    if config.method == "freeze":
        freeze_all_but_last(network, config.trainable_layers)
    elif config.method == "full":
        network.requires_grad_(True)
    else:
        with with_stand_ins(network):
            peft_network = add_lora(network, config.lora, start.adapter_reference)
        for parameter in network.parameters():
            if parameter.is_meta:
                parameter.requires_grad_(False)
        return peft_network
    return None


def refuse_unspreadable(start: Start, config: TrainConfig) -> None:
    """Say what one process, or a whole model in each of several, can do and spread weights cannot.

    Raises:
        ConfigError: the settings ask for some of it.
    """
    if config.method in ADAPTER_METHODS and config.lora.dora:
        raise _refused("DoRA, which measures whole columns of the weights,", "plain LoRA")
    if config.optimizer == "adafactor":  # torch's works on rows and columns in place, which parts of a matrix do not have
        raise _refused("Adafactor", "AdamW")
    if config.new_tokens:
        raise _refused(f"new tokens ({', '.join(config.new_tokens)})", "the model's own vocabulary")
    if start.adapter_dir is not None:
        raise _refused(f"going on with the adapter of {start.adapter_dir.parent}", "a base model, or a run that trained a whole one")
    if config.cpu_offload and choose_device(config.device).type != "cuda":
        raise ConfigError(
            "--cpu-offload", "weights are in the CPU's memory already", expected="training on GPUs", remedy="leave out --cpu-offload"
        )


def _refused(found: str, expected: str) -> ConfigError:
    return ConfigError(
        "--strategy fsdp", f"{found} is not supported with weights spread over processes", expected=expected, remedy="use --strategy ddp"
    )
