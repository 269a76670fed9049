"""How much memory this process uses."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from functools import cache
from typing import Any

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


def release_freed_memory() -> None:
    """Give freed memory back to the system (glibc keeps it, and packs of ever different sizes fragment it).

    Measured on SmolLM2-135M, 96 steps of some 640 tokens: without, resident memory crept from 1.9 to 3.2 GB. A call costs
    about a tenth of a step, in page faults afterwards.
    """
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    """glibc's malloc_trim(3); None with another C library."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
