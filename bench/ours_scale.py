"""One rank of bench/scale.py: a training run of `tunesmith.train.train.train` with a clock around what the ranks tell each other.

The task holds `train` (fields of TrainConfig) and `warmup` (steps that do not count); or `bandwidth_bytes` alone, to measure how
fast gradients of that size are added up when nobody computes.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from measure import peak_memory_bytes, read_task, write_figures
from ours_capacity import RESET_PEAK
from tunesmith.config import TrainConfig, build
from tunesmith.distributed.group import Group, joined
from tunesmith.runs import open_run
from tunesmith.train import loop
from tunesmith.train.train import train

FEW_BYTES = 64 * 1024
"""What is shorter says something but carries no gradients: its time is that of waiting for the other ranks."""
ADDED_UP = 12
"""Times that the bandwidth is measured; the first two do not count."""


class Clock:
    """Of every step: seconds, tokens, seconds within calls that tell the other ranks something, and bytes sent for them."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.steps: list[dict[str, float]] = []
        self.loading_peak = self.step_peak = 0
        self._now: defaultdict[str, float] = defaultdict(float)
        self._is_on = False

    def around(self, owner: Any, name: str, key: Callable[..., str], sent: Callable[..., float] | None = None) -> None:
        """Replace a function of a class or module by itself with a clock; `key` and `sent` get the call's arguments."""
        plain = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._is_on:
                return plain(*args, **kwargs)
            assert not kwargs.get("async_op"), "sent while computing: its time is not that of the call"
            started = time.perf_counter()
            result = plain(*args, **kwargs)
            self._now[key(*args, **kwargs)] += time.perf_counter() - started
            if sent is not None:
                self._now["sent_bytes"] += sent(*args, **kwargs)
            return result

        setattr(owner, name, timed)

    def around_steps(self) -> None:
        """Put a clock around `train_step`, which the loop calls by this name."""
        plain = loop.train_step

        def timed(*args: Any, **kwargs: Any) -> loop.StepResult:
            if not self.loading_peak:
                self.loading_peak = peak_memory_bytes()
                Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")
            self._now.clear()
            before, started, self._is_on = counters(), time.perf_counter(), True
            result = plain(*args, **kwargs)
            self._is_on = False
            own = {"seconds": time.perf_counter() - started, "num_tokens": result.num_tokens, "loss": result.loss}
            self.steps.append({**own, **self._now, **{key: value - before[key] for key, value in counters().items()}})
            self.step_peak = peak_memory_bytes()
            return result

        loop.train_step = timed


def counters() -> dict[str, float]:
    """Bytes through the loopback interface, processor seconds of this process, and of all processes of the machine (Linux)."""
    user, nice, system, _, _, interrupts, soft, *_ = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    busy = sum(map(int, (user, nice, system, interrupts, soft))) / os.sysconf("SC_CLK_TCK")
    return {"loopback_bytes": loopback_bytes(), "own_cpu_seconds": time.process_time(), "all_cpu_seconds": busy}


def loopback_bytes() -> int:
    """Sent so far through the interface `lo`, by all processes of this machine (Linux)."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[8])
    raise SystemExit("there is no interface lo")


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    if "bandwidth_bytes" in task:
        with joined("cpu") as group:
            write_figures(task, {"bytes_per_second": bandwidth(group, task["bandwidth_bytes"])})
        return
    clock = Clock(task["warmup"])
    put_clock_around_talk(clock)
    clock.around_steps()
    run = train(build(TrainConfig, task["train"]), runs_dir=Path(task["runs_dir"]), name=task["name"])
    whole = max(clock.loading_peak, peak_memory_bytes())
    own = {"steps": clock.steps, "step_peak_bytes": clock.step_peak, "loading_peak_bytes": clock.loading_peak, "whole_peak_bytes": whole}
    write_figures(task, {**own, "manifest": open_run(run.path).manifest(), "versions": run.record()["versions"]})


def put_clock_around_talk(clock: Clock) -> None:
    """Around the group's own methods, and below them around torch's collectives, which FSDP calls by itself.

    Bytes sent are those of a ring (Patarasuk and Yuan 2009).
    """

    def share() -> float:
        size = dist.get_world_size()
        return (size - 1) / size

    def reduced(tensor: torch.Tensor, **_: Any) -> str:
        return "waiting" if tensor.nbytes < FEW_BYTES else "all_reduce"

    clock.around(Group, "add_up", lambda *_: "add_up")
    clock.around(Group, "gather", lambda *_: "gather")
    clock.around(dist, "all_reduce", reduced, lambda tensor, **_: 2 * share() * tensor.nbytes)
    clock.around(dist, "all_gather_single", lambda *_, **__: "all_gather", lambda output, *_, **__: share() * output.nbytes)
    clock.around(dist, "reduce_scatter_single", lambda **_: "reduce_scatter", lambda **call: share() * call["input"].nbytes)


def bandwidth(group: Group, num_bytes: int) -> float:
    """Bytes a rank sends in a second while it adds up gradients and does nothing else."""
    tensors = [torch.ones(2**17) for _ in range(math.ceil(num_bytes / 2**19))]
    seconds = []
    for _ in range(ADDED_UP):
        group.barrier()
        started = time.perf_counter()
        group.add_up(tensors)
        seconds.append(time.perf_counter() - started)
    sent = 2 * (group.size - 1) / group.size * sum(tensor.nbytes for tensor in tensors)
    return sent / statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
