"""All that resuming needs, written at once or not at all.

checkpoints/step-00000040/
  weights.safetensors     float32 masters of the trained weights
  optimizer.safetensors   the optimiser's moments, `NAME.exp_avg` and so on
  random.safetensors      the random generator (dropout)
  state.json              step, best step, what was seen
"""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tunesmith.engine.masters import TrainedWeights
from tunesmith.errors import RunError
from tunesmith.files import atomic_directory, write_json
from tunesmith.runs import RunDirectory
from tunesmith.train.optimizer import optimizer_state
from tunesmith.train.saved_tensors import SavedTensors
from tunesmith.train.taking_back import take_back


@dataclass(kw_only=True)
class Progress:
    """Where a run stands; everything else follows from its settings."""

    step: int = 0
    """Finished optimiser updates."""
    best_step: int | None = None
    best_loss: float | None = None
    """Lowest validation loss so far, of the run's objective."""
    best_figures: dict[str, float] = field(default_factory=dict)
    """What the validation with that loss said, the loss included."""
    validations_since_best: int = 0
    tokens: int = 0
    """Tokens trained on, prompts included, padding never."""
    supervised: int = 0
    seconds: float = 0.0
    """Of the steps."""
    other_seconds: float = 0.0
    """Of validations and checkpoints, and of computing what is reused."""


def save_checkpoint(run: RunDirectory, progress: Progress, weights: TrainedWeights, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint; the earlier ones stay until it is whole.

    Raises:
        RunError: the disk is full; the last good checkpoint is untouched.
    """
    path = run.checkpoint_path(progress.step)
    if run.is_followed or path.exists():
        return
    with full_disk_named(run, f"saving step {progress.step}"), atomic_directory(path) as staging:
        weights.save_to(staging / "weights.safetensors")
        save_file(optimizer_state(optimizer, weights), staging / "optimizer.safetensors")
        save_file(random_state(), staging / "random.safetensors")
        write_json(staging / "state.json", dataclasses.asdict(progress))


def load_checkpoint(path: Path, weights: TrainedWeights, optimizer: torch.optim.Optimizer) -> Progress:
    """Put everything back as it was after the checkpoint's step."""
    take_back(SavedTensors(path), weights, optimizer)
    random = load_file(path / "random.safetensors")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"])
    return Progress(**json.loads((path / "state.json").read_text(encoding="utf-8")))


def save_best(run: RunDirectory, progress: Progress, weights: TrainedWeights) -> None:
    """Keep the weights of the best validation; the former best goes once they are whole.

    Raises:
        RunError: the disk is full; the former best is untouched.
    """
    path = best_path(run, progress.step)
    if run.is_followed or path.exists():
        return
    with full_disk_named(run, f"saving the best weights, of step {progress.step}"), atomic_directory(path) as staging:
        weights.save_to(staging / "weights.safetensors")


def drop_other_bests(run: RunDirectory, progress: Progress) -> None:
    """Call once a checkpoint that names the best step is on disk."""
    if run.is_followed:
        return
    for path in run.best_dir.glob("step-*"):
        if path.name != f"step-{progress.best_step:08d}":
            shutil.rmtree(path)


def restore_best(run: RunDirectory, progress: Progress, weights: TrainedWeights) -> None:
    """Give the network the weights of the best validation."""
    if progress.best_step is not None and progress.best_step != progress.step:
        take_back(SavedTensors(best_path(run, progress.best_step)), weights)


def best_path(run: RunDirectory, step: int) -> Path:
    """Where the weights of that step's validation are kept while it is the best."""
    return run.best_dir / f"step-{step:08d}"


def random_state() -> dict[str, torch.Tensor]:
    """Of this process' generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


@contextmanager
def full_disk_named(run: RunDirectory, doing: str) -> Iterator[None]:
    """Turn a full disk into one clear sentence; what was saved before is untouched.

    Raises:
        RunError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise RunError(
            str(run.path),
            f"the disk is full while {doing} ({shutil.disk_usage(run.path).free / 1e6:,.0f} MB free)",
            expected="room for the run's checkpoints",
            remedy=f"free some space, then `tunesmith train --resume {run.path}` goes on from {_last_good(run)}",
        ) from error


def _is_disk_full(error: Exception) -> bool:
    # safetensors wraps the system's error in one of its own and keeps only the text.
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(text in str(error) for text in ("No space left", "quota exceeded"))


def _last_good(run: RunDirectory) -> str:
    checkpoints = run.checkpoints()
    return f"{checkpoints[-1].name}" if checkpoints else "the start"
