"""tunesmith's side of every benchmark that trains: `tunesmith.train.train.train`, the function the command line calls.

The task holds `rows` (as a user's file would), `train` (fields of TrainConfig) and, to measure interruption,
`interrupt_at` (a step); or `resume` (an interrupted run's directory) alone.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from measure import read_task, write_figures
from tunesmith.config import PrepareConfig, TrainConfig, build
from tunesmith.data.prepare import prepare
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.errors import TrainingInterrupted
from tunesmith.render.renderer import Renderer
from tunesmith.runs import RunDirectory
from tunesmith.train.observer import Silent
from tunesmith.train.train import resume, train
from tunesmith.types import RenderedExample

NOT_OF_THE_OBJECTIVE = {"kind", "step", "epoch"}


class Watch(Silent):
    """Times what happens between the checks and the first step (of DPO and KTO: scoring the reference), and interrupts."""

    def __init__(self, interrupt_at: int | None) -> None:
        self.interrupt_at = interrupt_at
        self.preparation_seconds = 0.0
        self._checked = 0.0

    def show_example(self, rendered: RenderedExample, renderer: Renderer) -> None:
        self._checked = time.perf_counter()

    def started(self, num_steps: int, first_step: int) -> None:
        self.preparation_seconds = time.perf_counter() - self._checked if self._checked else 0.0

    def stepped(self, metrics: dict[str, Any]) -> None:
        if metrics["step"] == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C, as a user would press it


def main() -> None:
    task = read_task()
    torch.set_num_threads(task["threads"])
    watch = Watch(task.get("interrupt_at"))
    try:
        run = resume(Path(task["resume"]), observer=watch) if "resume" in task else start(task, watch)
    except TrainingInterrupted:
        if watch.interrupt_at is None:
            raise
        write_figures(task, {"run": str(runs_dir(task) / "bench"), "interrupted": True})
    else:
        write_figures(task, figures(run, watch))


def runs_dir(task: Mapping[str, Any]) -> Path:
    return Path(task["output_dir"]) / "runs"


def start(task: Mapping[str, Any], watch: Watch) -> RunDirectory:
    """Prepare the rows, none held out, and train on all of them."""
    rows = rows_from_records(task["rows"], "bench")
    config = PrepareConfig(test_fraction=0.0, validation_fraction=0.0)
    data = prepare(None, Path(task["output_dir"]) / "data", config, rows=rows)
    # No estimate: it would run a few micro-batches beforehand, which the peers do not either.
    fixed = {"model": task["model"], "data": data.directory, "device": "cpu", "patience": 0, "estimate": False}
    return train(build(TrainConfig, {**fixed, **task["train"]}), runs_dir=runs_dir(task), name="bench", observer=watch)


def figures(run: RunDirectory, watch: Watch) -> dict[str, Any]:
    """Of a finished run.

    Seconds are those of the steps and of what the objective needs before them. What the objective logs besides (rewards,
    accuracies) comes as means over the steps.
    """
    steps = [line for line in run.metrics() if line["kind"] == "step"]
    losses = [line["loss"] for line in steps]
    logged = {key for line in steps for key, value in line.items() if isinstance(value, int | float)} - NOT_OF_THE_OBJECTIVE
    manifest = run.manifest()
    return {
        "run": str(run.path),
        "interrupted": False,
        "num_tokens": manifest["num_tokens"],
        "num_steps": manifest["num_steps"],
        "seconds": manifest["seconds"] + watch.preparation_seconds,
        "preparation_seconds": watch.preparation_seconds,
        "step_seconds": [line["seconds"] for line in steps],
        "losses": losses,
        "loss": sum(losses) / len(losses),
        "means": {key: sum(line.get(key, 0.0) for line in steps) / len(steps) for key in sorted(logged)},
        "versions": run.record()["versions"],
    }


if __name__ == "__main__":
    main()
