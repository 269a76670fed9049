"""Fine-tune a small language model on your own examples, and know whether it got better.

    from tunesmith import Model

    model = Model("smollm2-135m-instruct")
    model.load_data("faq.jsonl", input_key="question", output_key="answer")
    model.train()
    print(model.evaluate())
    model("How do I reset my password?")

Names are imported on first use, so that `import tunesmith` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunesmith.api import BasicModelRunner, Evaluation, Model, TrainedRun
    from tunesmith.config import EvaluateConfig, GenerateConfig, LoraConfig, PrepareConfig, TrainConfig
    from tunesmith.data.prepare import prepare
    from tunesmith.data.storing.prepared import load_prepared
    from tunesmith.errors import TunesmithError

_HOMES = {
    "BasicModelRunner": "tunesmith.api",
    "EvaluateConfig": "tunesmith.config",
    "Evaluation": "tunesmith.api",
    "GenerateConfig": "tunesmith.config",
    "LoraConfig": "tunesmith.config",
    "Model": "tunesmith.api",
    "PrepareConfig": "tunesmith.config",
    "TrainConfig": "tunesmith.config",
    "TrainedRun": "tunesmith.api",
    "TunesmithError": "tunesmith.errors",
    "load_prepared": "tunesmith.data.storing.prepared",
    "prepare": "tunesmith.data.prepare",
}

__all__ = [
    "BasicModelRunner",
    "EvaluateConfig",
    "Evaluation",
    "GenerateConfig",
    "LoraConfig",
    "Model",
    "PrepareConfig",
    "TrainConfig",
    "TrainedRun",
    "TunesmithError",
    "load_prepared",
    "prepare",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tunesmith' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
