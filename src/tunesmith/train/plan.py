"""What each step trains on and at which learning rate: pure functions of settings and seed, so resuming needs no state.

>>> plan_steps([90, 40, 70], config)      # lengths of three examples, two a step, two epochs
[[2, 0], [1], [0, 1], [2]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tunesmith.config import TrainConfig

TOKENS_PER_MICRO_BATCH = {"cpu": 1024, "cuda": 16_384}


def tokens_per_micro_batch(config: TrainConfig, device_type: str) -> int:
    """As set, else by the kind of device."""
    return config.tokens_per_micro_batch or TOKENS_PER_MICRO_BATCH[device_type]


def plan_steps(lengths: Sequence[int], config: TrainConfig) -> list[list[int]]:
    """Indices of the examples of every step.

    Each epoch is its own permutation of all examples; a last partial epoch is a share of one. Steps do not cross epochs.
    """
    assert config.epochs is not None, "left open: see tunesmith.train.defaults"
    steps: list[list[int]] = []
    for epoch in range(math.ceil(config.epochs)):
        order = np.random.default_rng([config.seed, epoch]).permutation(len(lengths)).tolist()
        epoch_steps = _cut_into_steps(order, lengths, config)
        share = min(1.0, config.epochs - epoch)
        steps += epoch_steps[: max(1, round(share * len(epoch_steps)))]
    return steps[: config.max_steps]


def _cut_into_steps(order: Sequence[int], lengths: Sequence[int], config: TrainConfig) -> list[list[int]]:
    if config.tokens_per_step is None:
        assert config.examples_per_step is not None, "left open: see tunesmith.train.defaults"
        return [list(order[i : i + config.examples_per_step]) for i in range(0, len(order), config.examples_per_step)]
    steps: list[list[int]] = []
    used = 0
    for index in order:
        if not steps or used + lengths[index] > config.tokens_per_step:
            steps.append([])
            used = 0
        steps[-1].append(index)
        used += lengths[index]
    return steps


def evaluate_every(steps: Sequence[Sequence[int]], num_examples: int, config: TrainConfig) -> int:
    """Steps between validations: as set, else twice an epoch, however many epochs there are steps for."""
    steps_per_epoch = len(steps) * num_examples / sum(len(step) for step in steps)
    return config.evaluate_every or max(1, round(steps_per_epoch / 2))


def epoch_after(step: int, steps: Sequence[Sequence[int]], num_examples: int) -> float:
    """Passes over the examples in the first `step` steps."""
    return sum(len(members) for members in steps[:step]) / num_examples


def learning_rate_at(step: int, num_steps: int, peak: float, config: TrainConfig) -> float:
    """Learning rate of the update numbered `step` (from 0): linear warm-up to `peak`, then the schedule down to zero."""
    warmup = math.ceil(config.warmup_fraction * num_steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "constant":
        return peak
    progress = (step - warmup) / max(1, num_steps - warmup)
    return peak * (1 - progress if config.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2)
