"""A workspace as a user's: a data set prepared from a few rows, a tiny random model, a run trained on it, and made-up runs beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.studio.made import make_run
from tests.tiny_models import build_tiny_llama

COLOURS = ("red", "green", "blue")


@dataclass(frozen=True)
class Workspace:
    """Where everything is."""

    runs: Path
    prepared: Path
    model: Path


def make_workspace(directory: Path, *, num_examples: int = 60) -> Workspace:
    """One real run, `faq-1`, trained by the command line; its record without times of this machine; and made-up ones."""
    made = Workspace(runs=directory / "runs", prepared=directory / "prepared", model=build_tiny_llama(directory / "tiny-llama"))
    rows = [{"question": f"What colour is number {n}?", "answer": f"Number {n} is {COLOURS[n % 3]}."} for n in range(num_examples)]
    file = directory / "faq.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tunesmith(directory, "prepare", file, "--out", made.prepared / "faq")
    train = ["train", made.prepared / "faq", "--model", made.model, "--name", "faq-1", "--runs-dir", made.runs]
    tunesmith(directory, *train, "--max-steps", "12", "--evaluate-every", "3")
    data = made.prepared / "faq"
    for number, (name, state) in enumerate([("faq-better", "evaluated"), ("faq-stopped", "interrupted"), ("faq-failed", "failed")]):
        make_run(made.runs, name, number, data=data, num_steps=200, state=state)
    return made


def tunesmith(cwd: Path, *words: str | Path) -> None:
    """Run a command line to its end."""
    done = subprocess.run([sys.executable, "-m", "tunesmith", *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def copy(workspace: Workspace, directory: Path) -> Workspace:
    """One's own runs over the same data set and model."""
    shutil.copytree(workspace.runs, directory / "runs")
    return Workspace(runs=directory / "runs", prepared=workspace.prepared, model=workspace.model)
