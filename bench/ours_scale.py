"""One rank of bench/scale.py: a training run of `tunesmith.train.train.train` with a clock around what the ranks tell each other.

The task holds `train` (fields of TrainConfig) and `warmup` (steps that do not count); or `bandwidth_bytes` alone, to measure how
fast gradients of that size are added up when nobody computes.
"""

from __future__ import annotations

import math
import os
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
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


LOOKED_AT_SECONDS = 0.02


class Resident:
    """The most memory this process had while it loaded, within its steps, and besides, where it writes (Linux).

    All of it as the system counts it; what is this process' alone, and the pages of files that it has mapped, as often as it is
    looked at. A file's pages go when memory is needed.
    """

    def __init__(self) -> None:
        self.peaks: dict[str, dict[str, int]] = {}
        self._phase = "loading"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self, phase: str) -> None:
        """From here on it counts as that."""
        self._note({"whole": peak_memory_bytes()})
        Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="ascii")
        self._phase = phase

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        self._note({"whole": peak_memory_bytes()})

    def _watch(self) -> None:
        while not self._done.wait(LOOKED_AT_SECONDS):
            lines = Path("/proc/self/status").read_text(encoding="ascii").replace(":", " ").splitlines()
            size = {words[0]: int(words[1]) * 1024 for words in map(str.split, lines) if words[0].startswith("Rss")}
            self._note({"own": size["RssAnon"], "mapped": size["RssFile"] + size["RssShmem"]})

    def _note(self, found: dict[str, int]) -> None:
        peaks = self.peaks.setdefault(self._phase, {})
        for what, size in found.items():
            peaks[what] = max(peaks.get(what, 0), size)


class Clock:
    """Of every step: seconds, tokens, seconds within calls that tell the other ranks something, and bytes sent for them."""

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.steps: list[dict[str, float]] = []
        self.resident = Resident()
        self._now: defaultdict[str, float] = defaultdict(float)
        self._is_on = False

    def around(self, owner: Any, name: str, key: Callable[..., str], sent: Callable[..., float] | None = None) -> None:
        """Replace a function of a class or module by itself with a clock; `key` and `sent` get the call's arguments."""
        plain = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self._is_on:
                return plain(*args, **kwargs)
            own_key = key(*args, **kwargs)
            with self._counted(own_key):
                result = plain(*args, **kwargs)
            if sent is not None:
                self._now["sent_bytes"] += sent(*args, **kwargs)
            return _Waited(result, partial(self._counted, own_key)) if kwargs.get("async_op") else result

        setattr(owner, name, timed)

    @contextmanager
    def _counted(self, key: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._now[key] += time.perf_counter() - started

    def around_steps(self) -> None:
        """Put a clock around `train_step`, which the loop calls by this name."""
        plain = loop.train_step

        def timed(*args: Any, **kwargs: Any) -> loop.StepResult:
            self.resident.now("steps")
            self._now.clear()
            before, started, self._is_on = counters(), time.perf_counter(), True
            result = plain(*args, **kwargs)
            self._is_on = False
            own = {"seconds": time.perf_counter() - started, "num_tokens": result.num_tokens, "loss": result.loss}
            self.steps.append({**own, **self._now, **{key: value - before[key] for key, value in counters().items()}})
            self.resident.now("besides")
            return result

        loop.train_step = timed


class _Waited:
    """Something on the way, with a clock around the wait for it: of its time what computing did not hide."""

    def __init__(self, work: Any, counted: Callable[[], AbstractContextManager[None]]) -> None:
        self.work, self.counted = work, counted

    def wait(self) -> None:
        with self.counted():
            self.work.wait()


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
    clock.resident.stop()
    figures = {"steps": clock.steps, "peak_bytes": clock.resident.peaks}
    write_figures(task, {**figures, "manifest": open_run(run.path).manifest(), "versions": run.record()["versions"]})


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
    tensors = dict(enumerate(torch.ones(2**17) for _ in range(math.ceil(num_bytes / 2**19))))
    seconds = []
    for _ in range(ADDED_UP):
        group.barrier()
        started = time.perf_counter()
        group.add_up(dict(tensors))
        seconds.append(time.perf_counter() - started)
    sent = 2 * (group.size - 1) / group.size * sum(tensor.nbytes for tensor in tensors.values())
    return sent / statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
