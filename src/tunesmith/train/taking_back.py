"""Masters and moments back from a checkpoint, whoever wrote it: one process, or several of any number.

>>> take_back(SavedTensors(path), weights, optimizer)       # whole, or this rank's rows
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from tunesmith.engine.kernels.adamw import Moments, widened_square
from tunesmith.engine.masters import TrainedWeights
from tunesmith.train.optimizer import KEYS, load_optimizer_state
from tunesmith.train.saved_tensors import OPTIMIZER, WEIGHTS, SavedTensors


def take_back(saved: SavedTensors, weights: TrainedWeights, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Give the weights, and the optimiser where there is one, what was saved: the weights one at a time, the moments together."""
    weights.load(_Masters(saved, weights))
    if optimizer is None:
        return
    parts: dict[str, Tensor] = {}
    for name, keys in _moments(saved).items():
        kept = {key: _own(saved, f"{OPTIMIZER}{name}|{key}", weights, name) for key in keys}
        for key, value in (kept if weights.in_halves else _widened(kept)).items():
            has_rows = saved.shape(f"{OPTIMIZER}{name}|{key}") == tuple(weights.parameters[name].shape)
            parts[f"{name}|{key}"] = weights.as_part(name, value) if has_rows else value
    load_optimizer_state(optimizer, weights, parts)


def _moments(saved: SavedTensors) -> dict[str, list[str]]:
    """By the parameter's name, what is kept of it."""
    found: dict[str, list[str]] = {}
    for full_name in saved:
        if full_name.startswith(OPTIMIZER):
            name, _, key = full_name.removeprefix(OPTIMIZER).rpartition("|")
            found.setdefault(name, []).append(key)
    return found


def _widened(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of one parameter in float32, as torch's own optimisers keep it; of masters in halves it is narrower."""
    mean, square, low = KEYS
    if low not in kept:
        return dict(kept)
    wide = {square: widened_square(Moments(kept[mean], kept[square], kept[low]))}
    return {key: wide.get(key, value.float()) for key, value in kept.items() if key != low}


def _own(saved: SavedTensors, full_name: str, weights: TrainedWeights, name: str) -> Tensor:
    """The rows that are kept here of what has the parameter's shape, else all of it."""
    shape = saved.shape(full_name)
    if not shape or shape != tuple(weights.parameters[name].shape):
        return saved.whole(full_name)
    return saved.rows(full_name, *weights.own_rows(name))


class _Masters(Mapping[str, Tensor]):
    """Read when they are looked at."""

    def __init__(self, saved: SavedTensors, weights: TrainedWeights) -> None:
        self.saved, self.weights = saved, weights

    def __getitem__(self, name: str) -> Tensor:
        return _own(self.saved, WEIGHTS + name, self.weights, name)

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(WEIGHTS) for name in self.saved if name.startswith(WEIGHTS))

    def __len__(self) -> int:
        return sum(1 for _ in self)
