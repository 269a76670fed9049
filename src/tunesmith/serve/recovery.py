"""After a step of a decoder that failed: what it is called, what its requests are told, and whether a new decoder works."""

from __future__ import annotations

import gc
from typing import Literal

import torch

from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.adapter_switch import AS_IT_IS
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.sequences import Request
from tunesmith.engine.memory import give_back
from tunesmith.serve.problems import ApiError, failed, out_of_memory

Trouble = Literal["out_of_memory", "error", "stuck", "fatal"]
"""A step had no memory, failed otherwise, or does not end; `fatal`: and no new decoder could be had."""
MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "_ALLOC_FAILED")
"""In what torch's allocators and CUDA's libraries say, whose errors are plain RuntimeErrors."""


def trouble_of(error: Exception) -> Trouble:
    """Whether it was memory that lacked."""
    lacks = isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in MEMORY_WORDS)
    return "out_of_memory" if lacks else "error"


def problem_of(trouble: Trouble) -> ApiError:
    """What the requests of the step are told; the rest is for the log."""
    return out_of_memory() if trouble == "out_of_memory" else failed()


def free_memory() -> None:
    """Give back what a decoder held that nobody refers to any more: what CUDA keeps in reserve, and the heap's free pages."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    give_back()


def prove(decoder: Decoder) -> None:
    """Have it make one token.

    Raises:
        Exception: whatever keeps it from that, as after an error that leaves a GPU unusable.
    """
    decoder.submit(Request(prompt_ids=(0,), config=GenerateConfig(max_new_tokens=1), stop_ids=frozenset(), adapter=AS_IT_IS))
    while not decoder.is_idle:
        decoder.step()
