"""Does a run fit into memory, and if not, which settings would: computed from what was measured.

>>> require_fit(forecast, task, workload)
tunesmith.errors.ConfigError: memory: the run needs about 9.10 GB and 4.00 GB can be had; expected a run that fits.
To go on: use --tokens-per-micro-batch 256 (needs 3.41 GB), or --activation-checkpointing (needs 2.90 GB).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers.pytorch_utils import Conv1D

from tunesmith.config import ADAPTER_METHODS, TrainConfig
from tunesmith.engine.loading import choose_device
from tunesmith.errors import ConfigError
from tunesmith.train.forecast import Forecast, Measurement, Workload, gigabytes
from tunesmith.train.loop import Task
from tunesmith.train.optimizer import keeps_halves
from tunesmith.train.start import Trainee

STATE_BYTES = 16
"""Of a trained weight: float32 master, gradient and two moments."""
HALVES_STATE_BYTES = 11
"""Of a weight that trains in halves: these, five bytes of moments and the gradient of a single micro-batch."""
FOUR_BIT_BYTES = 0.5625
"""Of a weight in NF4: half a byte, and a float32 scale for each 64 (Dettmers et al. 2023, arXiv:2305.14314, section 3)."""
SMALLEST_MICRO_BATCH = 64
LEAST_RANK = 16


@dataclass(frozen=True, kw_only=True)
class Saving:
    """A setting that would need less."""

    setting: str
    """As typed on the command line."""
    num_bytes: int


def require_fit(forecast: Forecast, task: Task, workload: Workload) -> None:
    """Refuse what cannot fit.

    Raises:
        ConfigError: naming the settings that would.
    """
    if forecast.peak_bytes <= forecast.room_bytes:
        return
    remedies = settings_that_fit(forecast, savings(forecast.measurement, task, workload, forecast.peak_bytes - forecast.room_bytes))
    smaller = largest_model(forecast, task.trainee.num_parameters)
    remedies.append(f"a model of at most {smaller / 1e6:,.0f} million parameters")
    raise _does_not_fit(forecast.peak_bytes, forecast.room_bytes, f"use {', or '.join(remedies)}")


def _does_not_fit(needed: int, room: int, remedy: str, who: str = "the run") -> ConfigError:
    found = f"{who} needs about {gigabytes(needed)} and {gigabytes(room)} can be had"
    return ConfigError("memory", found, expected="a run that fits", remedy=remedy)


def settings_that_fit(forecast: Forecast, options: Sequence[Saving]) -> list[str]:
    """Each setting that is enough by itself; when none is, all of them together, if that is enough."""

    def words(setting: str, saved: int) -> str:
        return f"{setting} (needs {gigabytes(forecast.peak_bytes - saved)})"

    missing = forecast.peak_bytes - forecast.room_bytes
    alone = [words(one.setting, one.num_bytes) for one in options if one.num_bytes >= missing]
    if alone:
        return alone
    together: list[Saving] = [one for one in options if not one.setting.startswith("--method lora")]  # four bits save that as well
    saved = sum(one.num_bytes for one in together)
    return [words(" ".join(one.setting for one in together), saved)] if saved >= missing else []


def savings(measurement: Measurement, task: Task, workload: Workload, missing: int) -> list[Saving]:
    """What other settings would take less, most harmless first."""
    config, trainee = task.config, task.trainee
    worst, short = measurement.worst, measurement.short
    per_token = max(0.0, (worst.peak_bytes - short.peak_bytes) / max(1, worst.tokens - short.tokens))
    longest = max(task.train.lengths)
    found = []
    size = smaller_micro_batch(worst.tokens, longest, per_token, missing)
    if size:
        found.append(Saving(setting=f"--tokens-per-micro-batch {size}", num_bytes=int(per_token * (worst.tokens - max(size, longest)))))
    if not config.activation_checkpointing:
        saved = per_token * worst.tokens - checkpointed_bytes(trainee, worst.tokens, per_token)
        if saved > 0:
            found.append(Saving(setting="--activation-checkpointing", num_bytes=int(saved)))
    found += _other_methods(config, trainee, workload)
    return found


def smaller_micro_batch(tokens: int, longest: int, per_token: float, missing: int) -> int | None:
    """The largest power of two that saves enough, else the smallest that saves anything; an example cannot be divided."""
    sizes = [2**n for n in range(20, 5, -1) if 2**n >= SMALLEST_MICRO_BATCH and max(2**n, longest) < tokens]
    enough = [size for size in sizes if per_token * (tokens - max(size, longest)) >= missing]
    return enough[0] if enough else (sizes[-1] if sizes else None)


def checkpointed_bytes(trainee: Trainee, tokens: int, per_token: float) -> float:
    """With activation checkpointing: every layer's input, and the activations of one layer at a time."""
    config = trainee.network.config.get_text_config()
    inputs = tokens * config.hidden_size * config.num_hidden_layers * trainee.network.dtype.itemsize
    return float(inputs + per_token * tokens / config.num_hidden_layers)


def _other_methods(config: TrainConfig, trainee: Trainee, workload: Workload) -> list[Saving]:
    head = trainee.network.get_output_embeddings()
    layers = [m for m in trainee.network.modules() if isinstance(m, nn.Linear | Conv1D) and m is not head]
    found = []
    saved = 0
    if config.method not in ADAPTER_METHODS:
        adapters = LEAST_RANK * sum(sum(layer.weight.shape) for layer in layers)
        saved = workload.masters_bytes + workload.gradient_bytes + workload.moments_bytes - STATE_BYTES * adapters
        if saved > 0:
            found.append(Saving(setting="--method lora", num_bytes=saved))
    if config.method != "qlora" and config.dtype != "float32":
        weights = sum(layer.weight.numel() * (layer.weight.element_size() - FOUR_BIT_BYTES) for layer in layers)
        found.append(Saving(setting="--method qlora", num_bytes=int(max(0, saved) + weights)))
    return found


def largest_model(forecast: Forecast, num_parameters: int) -> int:
    """Parameters of a model that fits with these settings: what is not Python's and the libraries' grows with them."""
    fixed = forecast.parts["python, libraries and data"]
    return max(0, int(num_parameters * (forecast.room_bytes - fixed) / max(1, forecast.peak_bytes - fixed)))


def require_loadable(directory: Path, config: TrainConfig, dtype: torch.dtype, room: int, sharing: int = 1) -> None:
    """Refuse, before anything is loaded, a model whose weights and optimiser alone cannot fit.

    Args:
        directory: the model's folder.
        dtype: the network's compute type.
        room: bytes that the process could have.
        sharing: processes that take as much of the same memory.

    Raises:
        ConfigError: naming methods that would fit.
    """
    count = count_parameters(directory)
    in_halves = keeps_halves(config, dtype, choose_device(config.device))
    needed = state_bytes(count, config.method, dtype, in_halves=in_halves)
    if needed <= room:
        return
    others = {method: state_bytes(count, method, dtype) for method in ADAPTER_METHODS if method != config.method}
    fitting = [f"--method {method} (weights: {gigabytes(size)})" for method, size in others.items() if size <= room]
    fitting += ["--strategy fsdp", "fewer processes on a machine"] if sharing > 1 else []
    most = int(count * room / needed)
    remedy = f"use {', or '.join([*fitting, f'a model of at most {most / 1e6:,.0f} million parameters'])}"
    raise _does_not_fit(needed, room, remedy, f"each of the {sharing} processes of this machine" if sharing > 1 else "the run")


def state_bytes(num_parameters: int, method: str, dtype: torch.dtype, *, in_halves: bool = False) -> int:
    """The least that loading and training take, activations and adapters left out; see `load_start` for what is loaded how."""
    if in_halves and method == "full":
        return HALVES_STATE_BYTES * num_parameters
    if method == "qlora":
        return int(FOUR_BIT_BYTES * num_parameters)
    if method == "full":
        return (STATE_BYTES + (dtype.itemsize if dtype != torch.float32 else 0)) * num_parameters
    return (dtype.itemsize if method == "lora" else 4) * num_parameters


def count_parameters(directory: Path) -> int:
    """Of a model folder, from the headers of its safetensors files."""
    total = 0
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, framework="numpy") as tensors:  # for torch it would map all of it, which may be more than there is memory
            total += sum(int(torch.Size(tensors.get_slice(name).get_shape()).numel()) for name in tensors.keys())  # noqa: SIM118
    return total
