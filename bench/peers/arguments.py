"""What the trainers of TRL and Unsloth are told alike, and what is read off them; both are transformers trainers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from transformers import Trainer, TrainerCallback


def training_arguments(task: Mapping[str, Any]) -> dict[str, Any]:
    """Equal work: the rows in the order given, the same steps, optimiser and schedule as ours, nothing written."""
    settings = task["settings"]
    return {
        "output_dir": task["output_dir"],
        "per_device_train_batch_size": settings["examples_per_step"],
        "num_train_epochs": settings["epochs"],
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "max_length": 2048,
        "train_sampling_strategy": "sequential",  # the rows come in the order of our steps
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "seed": settings["seed"],
    }


class StepClock(TrainerCallback):  # type: ignore[misc]  # transformers comes without types
    """Seconds of every step, in `seconds`."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._started = time.perf_counter()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds.append(time.perf_counter() - self._started)


def timed_training(trainer: Trainer) -> dict[str, Any]:
    """Train; the whole time, each step's time and each step's loss."""
    clock = StepClock()
    trainer.add_callback(clock)
    started = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - started
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {
        "seconds": seconds,
        "step_seconds": clock.seconds,
        "losses": losses,
        "loss": sum(losses) / len(losses),
        "num_steps": trainer.state.global_step,
    }
