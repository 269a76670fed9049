"""How the ranks of a group hold a model: each all of it (`ddp`), or each a part (`fsdp`).

What only spread weights need is imported when they are: torch takes seconds to.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from tunesmith.config import TrainConfig
from tunesmith.distributed.group import Group
from tunesmith.engine.loading import LoadedModel, choose_device
from tunesmith.engine.room import room
from tunesmith.engine.sharded.calling import is_sharded
from tunesmith.errors import ConfigError
from tunesmith.runs import RunDirectory
from tunesmith.train.checkpoint import Progress
from tunesmith.train.fit import count_parameters, state_bytes
from tunesmith.train.optimizer import keeps_halves
from tunesmith.train.start import Start, Trainee, load_start, make_trainee

if TYPE_CHECKING:
    from tunesmith.train.sharded_checkpoint import ShardedSaver


def is_spread(config: TrainConfig, group: Group) -> bool:
    """Whether each rank holds a part of the weights; a process alone holds all."""
    return config.strategy == "fsdp" and not group.is_alone


def unspreadable(config: TrainConfig) -> tuple[str, str] | None:
    """What the settings ask for that is not done with weights spread over processes, and what is."""
    if config.method == "qlora" and config.lora.dora:
        return "DoRA on weights in four bits", "--method lora, or plain QLoRA"
    if config.optimizer == "adafactor":  # torch's works on rows and columns in place, which parts of a matrix do not have
        return "Adafactor", "AdamW"
    if config.new_tokens and config.method == "freeze":
        return f"--method freeze with new tokens ({', '.join(config.new_tokens)})", "--method lora, qlora or full"
    return None


SHARE_FOR_STATE = 0.7
"""Of the memory of a process: the rest is for activations, and for what is around."""


def choose_strategy(directory: Path, config: TrainConfig, dtype: torch.dtype, group: Group) -> Literal["auto", "ddp", "fsdp"]:
    """As set; else each rank holds all where weights and optimiser leave room for activations everywhere. Alone it stays open.

    Raises:
        ConfigError: shards are to lie in the CPU's memory, and there is one process, which has no shard.
    """
    if group.is_alone and config.cpu_offload:
        found, expected = "one process, which holds the whole model on its GPU", "weights spread over two processes or more"
        raise ConfigError("--cpu-offload", found, expected=expected, remedy="add --processes N, or leave out --cpu-offload")
    if group.is_alone or config.strategy != "auto":
        return config.strategy
    device = choose_device(config.device)
    needed = state_bytes(count_parameters(directory), config.method, dtype, in_halves=keeps_halves(config, dtype, device))
    fits = group.gather(needed <= SHARE_FOR_STATE * room(device, num_sharing(device, group)))
    return "ddp" if all(fits) else "fsdp"


def num_sharing(device: torch.device, group: Group) -> int:
    """Ranks that take of the memory that this one computes in. Asks all of them."""
    neighbours = group.num_on_this_machine()
    return neighbours if device.type == "cpu" else 1


def load_for(start: Start, config: TrainConfig, group: Group) -> LoadedModel:
    """`load_start`, or a network whose numbers are not read yet.

    Raises:
        ConfigError: the settings ask for what is not done with spread weights.
    """
    if not is_spread(config, group):
        return load_start(start, config)
    from tunesmith.train.sharded_start import load_hollow_start

    return load_hollow_start(start, config)


def trainee_for(start: Start, loaded: LoadedModel, config: TrainConfig, group: Group) -> Trainee:
    """`make_trainee`, or this rank's part of it.

    Raises:
        ConfigError, AssetError: see `make_sharded_trainee`.
    """
    if not is_spread(config, group):
        return make_trainee(start, loaded, config)
    from tunesmith.train.sharded_start import make_sharded_trainee

    return make_sharded_trainee(start, loaded, config, group)


def saver_for(trainee: Trainee, group: Group) -> ShardedSaver | None:
    """What writes checkpoints where no rank could write a whole one."""
    if not is_sharded(trainee.network):
        return None
    from tunesmith.train.sharded_checkpoint import ShardedSaver

    return ShardedSaver(group)


def write_result(run: RunDirectory, progress: Progress, trainee: Trainee, start: Start, directory: Path) -> None:
    """Put the result of spread weights together from what is on disk; on one rank."""
    from tunesmith.train.spread_result import kept_weights, write_spread

    write_spread(trainee, kept_weights(run, progress), start, directory)
