"""How many tokens at a time are quickest here: tried once for a machine, model and method, then remembered.

~/.cache/tunesmith/micro-batches/3f0c….json     what was tried, on what, and what was chosen

Only the speed depends on it, not the result, but for the last bits: so that a machine always gives the same bits, what was
chosen once stays chosen. Long runs on a CPU only; others use the constant of `tunesmith.train.plan`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tunesmith.assets import cache_dir
from tunesmith.assets.cache import writing
from tunesmith.files import write_json
from tunesmith.train.loop import Task
from tunesmith.train.measure import Instruments, timed_step, undisturbed
from tunesmith.train.plan import TOKENS_PER_MICRO_BATCH

CANDIDATES = (512, 1024, 2048)
LONG_RUN_TOKENS = 200_000
"""Planned tokens from which trying the candidates on one step each, twice, is a small part of the run."""
CLEARLY = 0.95
"""Another size than the usual one is chosen when it takes less than this share of its time: less is noise."""
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One size, on the median step."""

    tokens: int
    seconds: float
    peak_bytes: int


def choose_tokens_per_micro_batch(task: Task, model_name: str, instruments: Instruments | None = None) -> int:
    """The remembered size for this machine, model and method; else the quickest candidate that fits, which is remembered.

    Raises:
        AssetError: the cache cannot be written.
    """
    usual = TOKENS_PER_MICRO_BATCH[task.trainee.network.device.type]
    lengths = task.train.lengths
    planned = sum(lengths[i] for members in task.steps for i in members)
    if task.trainee.network.device.type != "cpu" or planned < LONG_RUN_TOKENS:
        return usual
    identity = identify(task, model_name)
    file = _file_of(identity)
    if file.is_file():
        return int(json.loads(file.read_text(encoding="utf-8"))["tokens_per_micro_batch"])
    step = sorted(task.steps, key=lambda members: sum(lengths[i] for i in members))[len(task.steps) // 2]
    sizes = different_sizes(sum(lengths[i] for i in step), usual)
    if len(sizes) < 2:
        return usual
    tools = instruments or Instruments()
    tried = [_try(task, step, size, tools) for size in sizes]
    chosen = quickest(tried, usual, tools.room(task.trainee.network.device))
    with writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
        record = {"tokens_per_micro_batch": chosen, "tried": [dataclasses.asdict(one) for one in tried]}
        write_json(file, {"schema_version": SCHEMA_VERSION, **record, **identity})
    return chosen


def different_sizes(step_tokens: int, usual: int) -> list[int]:
    """Candidates that divide a step differently; of those that do not, the usual one or else the smallest."""
    by_parts: dict[int, int] = {}
    for size in sorted(CANDIDATES, key=lambda size: (size != usual, size)):
        by_parts.setdefault(-(-step_tokens // size), size)
    return sorted(by_parts.values())


def quickest(tried: list[Tried], usual: int, room: int) -> int:
    """The usual size, unless another that fits is clearly quicker."""
    fitting = [one for one in tried if one.peak_bytes <= room] or [min(tried, key=lambda one: one.peak_bytes)]
    best = min(fitting, key=lambda one: one.seconds)
    standing = next((one for one in fitting if one.tokens == usual), None)
    return best.tokens if standing is None or best.seconds < CLEARLY * standing.seconds else usual


def _try(task: Task, step: Sequence[int], size: int, tools: Instruments) -> Tried:
    sized = dataclasses.replace(task, config=task.config.model_copy(update={"tokens_per_micro_batch": size}))
    with undisturbed(sized) as rehearsal, tools.watch(task.trainee.network.device) as peak:
        timed_step(rehearsal, step, tools.clock)
        seconds = timed_step(rehearsal, step, tools.clock)
    return Tried(tokens=size, seconds=seconds, peak_bytes=peak.bytes)


def identify(task: Task, model_name: str) -> Mapping[str, Any]:
    """What the quickest size depends on, the data left out."""
    config = task.config
    return {
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "model": model_name,
        "num_parameters": task.trainee.num_parameters,
        "method": config.method,
        "objective": config.objective,
        "dtype": config.dtype,
        "activation_checkpointing": config.activation_checkpointing,
    }


def processor_name() -> str:
    """As the system calls it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _file_of(identity: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_dir() / "micro-batches" / f"{digest[:32]}.json"
