"""Configurations of real models, and what the tests of the memory model share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.config import LoraConfig, Method
from tunesmith.train.architecture import Architecture, describe, read_network
from tunesmith.train.capacity import Setup

CONFIGS = Path(__file__).parent / "configs"
"""As their authors published them, but for what does not decide about shapes."""


def architecture(name: str, method: Method, **lora: Any) -> Architecture:
    """Of `configs/NAME.json`; a rank of 16 unless another is given."""
    return describe(read_network(CONFIGS / f"{name}.json"), method=method, lora=LoraConfig(**{"rank": 16, **lora}))


def setup(method: Method, **changes: Any) -> Setup:
    """On a GPU in bfloat16, 4,096 tokens at a time."""
    return Setup(**{"method": method, "device": "cuda", "itemsize": 2, "tokens": 4096, **changes})
