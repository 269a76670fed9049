"""How much memory a process may still take, and the most it takes while something runs.

>>> with watch_peak(device) as peak:
...     heavy()
>>> peak.bytes
2604000000
"""

from __future__ import annotations

import resource
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from tunesmith.engine.memory import memory_in_use

INTERVAL = 0.002
"""Seconds between two looks at the process' resident size; what is taken for a shorter time may be missed."""
UNLIMITED = 2**60
"""Control groups of the first version say 'no limit' with a number above this."""
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_OF_PROCESS = Path("/proc/self/cgroup")


@dataclass
class Peak:
    """Most memory in use within the block."""

    bytes: int = 0


@contextmanager
def watch_peak(device: torch.device) -> Iterator[Peak]:
    """Watch the GPU's allocations when the model is on one, else the process' resident size, sampled by a thread."""
    peak = Peak(memory_in_use(device))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = torch.cuda.max_memory_allocated(device)
        return
    done = threading.Event()
    process = psutil.Process()

    def sample() -> None:
        while not done.wait(INTERVAL):
            peak.bytes = max(peak.bytes, int(process.memory_info().rss))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.bytes = max(peak.bytes, memory_in_use(device))


def room(device: torch.device, sharing: int = 1) -> int:
    """Bytes that this process could have in all: what it has, and what is free (within its control group and its own limits).

    Args:
        device: whose memory.
        sharing: processes that take as much of the machine's main memory, this one included; their own limits are each one's.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached + torch.cuda.memory_allocated(device))
    has = memory_in_use(device)
    free = min([int(psutil.virtual_memory().available), *(limit - used for limit, used in group_limits())])
    own = [has + max(0, limit - used) for limit, used in own_limits()]
    return min([(has + max(0, free)) // sharing, *own])


def own_limits() -> Sequence[tuple[int, int]]:
    """Limit and use, in bytes, of what this process may have mapped, where there is a limit (`ulimit -d` and `-v`; Linux, else none)."""
    if sys.platform != "linux":
        return []
    used = psutil.Process().memory_info()
    limits = (resource.getrlimit(resource.RLIMIT_DATA)[0], used.data), (resource.getrlimit(resource.RLIMIT_AS)[0], used.vms)
    return [(limit, use) for limit, use in limits if limit != resource.RLIM_INFINITY]


def group_limits(root: Path = CGROUP_ROOT, of_process: Path = CGROUP_OF_PROCESS) -> Sequence[tuple[int, int]]:
    """Limit and use, in bytes, of every memory control group above this process that has a limit (Linux; else none).

    Pages of files, which the kernel gives back when memory is wanted, do not count as used.
    """
    if not of_process.is_file():
        return []
    found = []
    for line in of_process.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base = root / "memory" if controllers else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        group = base / path.lstrip("/")
        for directory in (group, *group.parents):
            found += _limit_of(directory, *names)
            if directory == base:
                break
    return found


def _limit_of(group: Path, limit_name: str, usage_name: str) -> list[tuple[int, int]]:
    """Inside a container the path may lead nowhere: then the container's root group, a parent, holds the files."""
    limit, usage = group / limit_name, group / usage_name
    if not (limit.is_file() and usage.is_file()):
        return []
    text = limit.read_text(encoding="utf-8").strip()
    if text == "max" or int(text) >= UNLIMITED:
        return []
    statistics = group / "memory.stat"
    lines = statistics.read_text(encoding="utf-8").splitlines() if statistics.is_file() else []
    given_back = sum(int(line.split()[1]) for line in lines if line.split()[0] in ("inactive_file", "total_inactive_file"))
    return [(int(text), max(0, int(usage.read_text(encoding="utf-8")) - given_back))]
