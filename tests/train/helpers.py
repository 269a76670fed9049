"""Watching, breaking and comparing runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.runs import RunDirectory
from tunesmith.train.observer import Recording


class Stopped(Exception):
    """Raised by an observer, as a crash in the middle of training."""


class StopAt(Recording):
    """Crashes the run right after a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def stepped(self, metrics: dict[str, Any]) -> None:
        super().stepped(metrics)
        if metrics["step"] == self.step:
            raise Stopped


class DoAt(Recording):
    """Calls a function after a step."""

    def __init__(self, step: int, action: Callable[[], None]) -> None:
        super().__init__()
        self.step, self.action = step, action

    def stepped(self, metrics: dict[str, Any]) -> None:
        super().stepped(metrics)
        if metrics["step"] == self.step:
            self.action()


def contents(directory: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path."""
    files = sorted(file for file in directory.rglob("*") if file.is_file())
    return {str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


UNEQUAL = {"seconds", "tokens_per_second", "memory_bytes"}
"""Parts of a line of metrics that differ from run to run."""


def lasting_metrics(run: RunDirectory) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in UNEQUAL} for line in run.metrics()]


def lasting_manifest(run: RunDirectory) -> dict[str, Any]:
    return {
        key: value
        for key, value in run.manifest().items()
        if key not in {"finished", "seconds", "tokens_per_second", "peak_memory_bytes", "peak_memory_bytes_of_ranks", "estimate"}
    }


def assert_equal_runs(found: RunDirectory, expected: RunDirectory) -> None:
    """Bit for bit: model files, best weights, checkpoints, the numbers of every step."""
    assert lasting_metrics(found) == lasting_metrics(expected)
    assert lasting_manifest(found) == lasting_manifest(expected)
    assert contents(found.model_dir) == contents(expected.model_dir)
    assert contents(found.best_dir) == contents(expected.best_dir)
    for one, other in zip(found.checkpoints(), expected.checkpoints(), strict=True):
        names = ("weights.safetensors", "optimizer.safetensors", "random.safetensors")
        assert one.name == other.name
        assert [contents(one)[name] for name in names] == [contents(other)[name] for name in names]


def assert_same_numbers(found: RunDirectory, expected: RunDirectory) -> None:
    """Bit for bit, of every step and of the model; settings of peft lie in sets, whose order is another one in every process."""
    assert lasting_metrics(found) == lasting_metrics(expected)
    weights = [{name: sha for name, sha in contents(run.model_dir).items() if name.endswith(".safetensors")} for run in (found, expected)]
    assert weights[0] == weights[1] != {}


def assert_nothing_half_written(run: RunDirectory) -> None:
    leftovers = [path for path in run.path.rglob("*") if ".partial-" in path.name]
    assert not leftovers
