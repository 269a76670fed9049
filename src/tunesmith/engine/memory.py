"""How much memory this process uses."""

from __future__ import annotations

import resource
import sys

import psutil
import torch


def memory_in_use(device: torch.device) -> int:
    """Bytes now: of the GPU when the model is on one, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def peak_memory(device: torch.device) -> int:
    """Bytes at most since the process started: of the GPU when the model is on one, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS
