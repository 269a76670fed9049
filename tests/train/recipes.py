"""Runs that several processes and one do alike, by name, and what is done with them on every rank.

>>> recipes.alone("lora")                                           # by one process; trained when it is first asked for
>>> run_ranks(2, train_all, {"lora": recipes.config("lora")}, together)
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.train.helpers import DoAt
from tests.train.test_preference_runs import prepared, questions
from tunesmith.config import TrainConfig
from tunesmith.distributed.group import joined
from tunesmith.errors import TrainingInterrupted
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.train import resume, train

STEPS = 50
STOP = 13
"""Of a run that is to be resumed: the step after which it is told to."""
MOST_NORM = 0.02
"""Below every gradient's norm: all steps are clipped."""
COMMON: Mapping[str, Any] = {
    "max_steps": STEPS,
    "epochs": 100,
    "evaluate_every": 10,
    "patience": 0,
    "dtype": "float32",
    "device": "cpu",
    "estimate": False,
}
LORA = {"lora": {"rank": 4}}
NEW_TOKENS = ("answer is", "red")
"""They are in the data."""
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "lora": LORA,
    "full": {"method": "full", "weight_decay": 0.1},
    "freeze": {"method": "freeze", "trainable_layers": 1},
    "micro-batches": {"tokens_per_micro_batch": 60, "tokens_per_step": 300, "max_grad_norm": MOST_NORM},
    "bfloat16": {"method": "full", "dtype": "bfloat16"},
    "patience": {"patience": 1, "learning_rate": 0.05, "evaluate_every": 2},
    "one-example-a-step": {"examples_per_step": 1},
    "adafactor": {"method": "full", "optimizer": "adafactor", "learning_rate": 0.01},
    "recomputed": {"method": "full", "activation_checkpointing": True},
    "dropout": {"lora": {"rank": 4, "dropout": 0.3}},
    "dpo": {"objective": "dpo"},
    "orpo": {"objective": "orpo"},
    "kto": {"objective": "kto"},
    "continued": {},
    "dora": {"lora": {"rank": 4, "dora": True}},
    "new-tokens": {"new_tokens": NEW_TOKENS, **LORA},
    "new-tokens-full": {"method": "full", "new_tokens": NEW_TOKENS},
    "qlora": {"method": "qlora", **LORA},
}
SPREAD_ONLY = ("recomputed", "continued", "dora", "new-tokens", "new-tokens-full")
"""Where ranks that hold everything do nothing of their own."""
HERE = [name for name in RECIPES if name != "qlora" or find_spec("bitsandbytes")]
"""What can be run with what is installed."""
EQUAL = {"rtol": 2e-5, "atol": 2e-6}
"""Of float32 numbers that were added up in another order, over fifty steps."""


class Recipes:
    """Settings, and the runs of one process."""

    def __init__(self, directory: Path, *, tiny: Path, wide: Path, faq: Path) -> None:
        """`wide`: a model that four bits suit."""
        self.directory, self.tiny, self.wide, self.faq = directory, tiny, wide, faq

    def config(self, name: str, **changes: Any) -> TrainConfig:
        model = self.alone("lora").path if name == "continued" else self.wide if name == "qlora" else self.tiny
        return TrainConfig(**{**COMMON, "model": str(model), "data": self._data(name), **RECIPES[name], **changes})

    def alone(self, name: str) -> RunDirectory:
        if not (self.directory / name).is_dir():
            train(self.config(name), runs_dir=self.directory, name=name)
        return open_run(self.directory / name)

    def _data(self, name: str) -> Path:
        if name not in ("dpo", "orpo", "kto"):
            return self.faq
        kind = "judged" if name == "kto" else "pairs"
        if (folder := self.directory / kind).is_dir():
            return folder
        pairs = [{"prompt": prompt, "chosen": better, "rejected": worse} for prompt, better, worse in questions()]
        judged = [
            {"prompt": pair["prompt"], "completion": pair[which], "label": which == "chosen"}
            for pair in pairs
            for which in ("chosen", "rejected")
        ]
        return prepared(folder, judged if kind == "judged" else pairs)


def train_all(configs: Mapping[str, TrainConfig], runs_dir: Path, stopped: Mapping[str, TrainConfig] | None = None) -> int:
    """Each run by its name, the last ones up to where they are told to stop; the number of ranks."""
    with joined("cpu") as group:  # once: a group that is left is not joined again
        for name, config in configs.items():
            train(config, runs_dir=runs_dir, name=name)
        for name, config in (stopped or {}).items():
            stop(config, runs_dir, name)
        return group.size


def stop(config: TrainConfig, runs_dir: Path, name: str) -> None:
    """One rank is told to; all save and stop."""
    with pytest.raises(TrainingInterrupted):
        train(config, runs_dir=runs_dir, name=name, observer=DoAt(STOP, lambda: os.kill(os.getpid(), signal.SIGINT)))


def resume_all(paths: list[Path]) -> None:
    with joined("cpu"):
        for path in paths:
            resume(path)


def numbers(run: RunDirectory, key: str) -> Tensor:
    """Of all lines of the metrics that have it."""
    return torch.tensor([line[key] for line in run.metrics() if key in line])
