"""Measure a few micro-batches of a run before it starts, and leave everything as it was.

    >>> measurement = measure_run(task)
    >>> measurement.worst.peak_bytes
    2604000000

Three micro-batches go through `train_step` itself, with an optimiser that updates nothing: the shortest example (which also
wakes libraries up), one of a typical step, and the largest there will be. Each is timed twice: kernels are compiled
when they meet new lengths, and the very first micro-batches take several times as long as when repeated. Weights, gradients,
random state and modes are afterwards as if nothing had run.
"""

from __future__ import annotations

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tunesmith.engine.masters import TrainedWeights
from tunesmith.engine.memory import memory_in_use, peak_memory
from tunesmith.engine.room import Peak, room, watch_peak
from tunesmith.train.forecast import Measured, Measurement, Workload
from tunesmith.train.loop import Task, train_step
from tunesmith.train.objectives import Split
from tunesmith.train.optimizer import make_optimizer
from tunesmith.train.reference import Reference

LONG = 60.0
"""Seconds; a micro-batch that took longer is not repeated."""
COPIED_WEIGHTS = 4_000_000
"""Trained weights on whose copies an update is timed; more take proportionally longer."""


@dataclass(frozen=True, kw_only=True)
class Instruments:
    """What measures; tests bring their own."""

    clock: Callable[[], float] = time.perf_counter
    watch: Callable[[torch.device], AbstractContextManager[Peak]] = watch_peak
    room: Callable[[torch.device], int] = room


def measure_run(task: Task, workload: Workload, instruments: Instruments | None = None) -> Measurement:
    """Time and memory of three micro-batches and of an update.

    When the largest micro-batch would not fit, by what the two smaller ones took, it is not run but reckoned.

    Raises:
        TrainingError: a loss or a gradient is not finite.
    """
    tools = instruments or Instruments()
    device = task.trainee.network.device
    started = tools.clock()
    chosen = choose_members(task.train.lengths, task.steps, task.tokens_per_pack)
    with undisturbed(task) as rehearsal:
        base, earlier = memory_in_use(device), peak_memory(device)
        short = _measure(rehearsal, chosen.short, tools)
        typical = _measure(rehearsal, chosen.typical, tools)
        reckoned = extrapolate(short, typical, chosen.tokens(chosen.worst))
        fits = reckoned.peak_bytes + workload.moments_bytes <= tools.room(device)
        worst = _measure(rehearsal, chosen.worst, tools) if fits else reckoned
        update = measure_update(rehearsal, tools)
    return Measurement(
        short=short,
        typical=typical,
        worst=worst,
        worst_is_reckoned=not fits,
        base_bytes=base,
        earlier_peak_bytes=earlier if device.type == "cpu" else 0,
        update_seconds=update,
        seconds=tools.clock() - started,
    )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Examples of three micro-batches, as indices."""

    lengths: Sequence[int]
    short: list[int]
    typical: list[int]
    worst: list[int]

    def tokens(self, members: Sequence[int]) -> int:
        return sum(self.lengths[i] for i in members)


def choose_members(lengths: Sequence[int], steps: Sequence[Sequence[int]], tokens_per_micro_batch: int) -> Chosen:
    """The shortest example; a micro-batch of the median step; the largest micro-batch of all steps."""

    def first_pack(step: Sequence[int]) -> list[int]:
        """Longest first, as packing fills; a little more than what it gets when packing evens out."""
        members: list[int] = []
        used = 0
        for index in sorted(step, key=lambda i: (-lengths[i], i)):
            if not members or used + lengths[index] <= tokens_per_micro_batch:
                members.append(index)
                used += lengths[index]
        return sorted(members)

    def tokens(members: Sequence[int]) -> int:
        return sum(lengths[i] for i in members)

    by_size = sorted(steps, key=tokens)
    shortest = min((i for step in steps for i in step), key=lambda i: (lengths[i], i))
    return Chosen(
        lengths=lengths,
        short=[shortest],
        typical=first_pack(by_size[len(by_size) // 2]),
        worst=max((first_pack(step) for step in steps), key=tokens),
    )


@contextmanager
def undisturbed(task: Task) -> Iterator[Task]:
    """Yield a task whose steps change nothing that lasts; put random state, modes and gradients back afterwards."""
    modes = [(module, module.training) for module in task.trainee.network.modules()]
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=cuda):
        try:
            yield dataclasses.replace(task, optimizer=Idle(task.trainee.weights), train=without_reference(task))
        finally:
            for module, training in modes:
                module.training = training
            task.trainee.weights.clear_gradients()


class Idle(torch.optim.Optimizer):
    """Updates nothing."""

    def __init__(self, weights: TrainedWeights) -> None:
        super().__init__(weights.parameters.values(), {"lr": 0.0})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Nothing."""
        del closure


def without_reference(task: Task) -> Split:
    """The starting network has not been asked yet when this runs, and what it says changes neither time nor memory."""
    if not task.objective.needs_reference:
        return task.train
    zeros = torch.zeros(len(task.train), len(task.train.answers[0]), dtype=torch.float64)
    return dataclasses.replace(task.train, reference=Reference(nats=zeros, mismatched=defaultdict(float)))


def _measure(rehearsal: Task, members: Sequence[int], tools: Instruments) -> Measured:
    lengths = rehearsal.train.lengths
    with tools.watch(rehearsal.trainee.network.device) as peak:
        first = seconds = timed_step(rehearsal, members, tools.clock)
        if first <= LONG:
            seconds = timed_step(rehearsal, members, tools.clock)
    return Measured(tokens=sum(lengths[i] for i in members), first_seconds=first, seconds=seconds, peak_bytes=peak.bytes)


def timed_step(rehearsal: Task, members: Sequence[int], clock: Callable[[], float]) -> float:
    """Seconds of one micro-batch."""
    started = clock()
    train_step(rehearsal, members, 0.0, 0)
    if rehearsal.trainee.network.device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def extrapolate(short: Measured, typical: Measured, tokens: int) -> Measured:
    """On the line through two measured micro-batches."""
    span = max(1, typical.tokens - short.tokens)
    share = (tokens - typical.tokens) / span
    seconds = typical.seconds * tokens / typical.tokens
    return Measured(
        tokens=tokens,
        first_seconds=seconds * typical.first_seconds / typical.seconds,
        seconds=seconds,
        peak_bytes=typical.peak_bytes + max(0, round(share * (typical.peak_bytes - short.peak_bytes))),
    )


def measure_update(task: Task, tools: Instruments) -> float:
    """Seconds of one optimiser update, on copies of the trained weights, of at most `COPIED_WEIGHTS` of them."""
    copies = copied_weights(task.trainee.weights, task.trainee.network.dtype)
    optimizer = make_optimizer(copies, task.config)
    _update(copies, optimizer)  # allocates the moments
    started = tools.clock()
    _update(copies, optimizer)
    if task.trainee.network.device.type == "cuda":
        torch.cuda.synchronize()
    return (tools.clock() - started) * task.trainee.weights.num_parameters / copies.num_parameters


def copied_weights(weights: TrainedWeights, dtype: torch.dtype) -> TrainedWeights:
    """Copies of the first trained weights, with masters as they have them."""
    copies: list[nn.Parameter] = []
    for master in weights.state().values():
        copies.append(nn.Parameter(master.clone()))
        if sum(copy.numel() for copy in copies) >= COPIED_WEIGHTS:
            break
    return TrainedWeights(nn.ParameterList(copies), dtype, in_halves=weights.in_halves)


def _update(weights: TrainedWeights, optimizer: torch.optim.Optimizer) -> None:
    for name, parameter in weights.parameters.items():
        weights.add_gradient(name, torch.zeros_like(parameter))
    optimizer.step()
    weights.clear_gradients()
    weights.publish()
