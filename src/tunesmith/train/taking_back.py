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
    """Give the weights, and the optimiser where there is one, what was saved; a tensor at a time."""
    weights.load(_Masters(saved, weights))
    if optimizer is None:
        return
    moments: dict[str, Tensor] = {}
    for full_name in saved:
        if full_name.startswith(OPTIMIZER):
            name, _, key = full_name.removeprefix(OPTIMIZER).rpartition("|")
            moments[f"{name}|{key}"] = _own(saved, full_name, weights, name)
    moments = moments if weights.in_halves else _widened(moments)
    whole = {name: tuple(p.shape) for name, p in weights.parameters.items()}
    parts = {f"{n}|{k}": weights.as_part(n, v) if saved.shape(f"{OPTIMIZER}{n}|{k}") == whole[n] else v for (n, k), v in _split(moments)}
    load_optimizer_state(optimizer, weights, parts)


def _split(moments: Mapping[str, Tensor]) -> Iterator[tuple[tuple[str, str], Tensor]]:
    for full_name, value in moments.items():
        name, _, key = full_name.rpartition("|")
        yield (name, key), value


def _widened(moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """In float32, as torch's own optimisers keep them; those of masters in halves are narrower."""
    mean, square, low = KEYS
    found: dict[str, Tensor] = {}
    for (name, key), value in _split(moments):
        rest = moments.get(f"{name}|{low}")
        if rest is None:
            found[f"{name}|{key}"] = value
        elif key == square:
            found[f"{name}|{key}"] = widened_square(Moments(moments[f"{name}|{mean}"], value, rest))
        elif key != low:
            found[f"{name}|{key}"] = value.float()
    return found


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
