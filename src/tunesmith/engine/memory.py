"""How much memory this process uses."""

from __future__ import annotations

import ctypes
import os
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


KERNEL_CACHE_ENTRIES = "256"
"""Above the number of different matrix products in one step, below what hurts."""


def bound_kernel_caches() -> None:
    """Keep few compiled kernels; call before the first matrix product.

    oneDNN compiles a kernel for every shape and keeps 1,024 of them, torch's bridge to it as many again; packs come in
    ever new lengths. Measured on 400 lengths of one 576 x 1536 product in bfloat16: 1.09 GB resident, with this 0.6 GB.
    A user's own setting of these variables stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNEL_CACHE_ENTRIES)
    os.environ.setdefault("LRU_CACHE_CAPACITY", KERNEL_CACHE_ENTRIES)


def give_back() -> None:
    """Return memory that is free but still held by the C library to the system (glibc; elsewhere nothing happens).

    Before something large of another kind is allocated: what training has freed lies in pieces that only training can use.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


FREE_TOP_BYTES = 64 * 2**20
"""What the heap may keep at its end."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""mallopt(3)"""


def give_back_blocks_from(least_bytes: int) -> None:
    """From now on return blocks of such a size to the system when they are freed (glibc; elsewhere nothing happens). Call before training.

    glibc by itself learns to cut such blocks out of its heap, where packs of ever other lengths leave holes that nothing fits
    into. A user's own setting stays. Every new block's pages cost time when they are touched.
    """
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "glibc.malloc.mmap_threshold" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, least_bytes)
        libc.mallopt(M_TRIM_THRESHOLD, FREE_TOP_BYTES)
