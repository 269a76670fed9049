"""What a sweep runs: every combination of what is varied, each a trial with a name that says what is special about it.

>>> plan_trials(SweepConfig(data="prepared/faq", models=("smollm2-135m-instruct",), sizes=(100, 1.0)), num_train=400)
(Trial(name='001-n100', ...), Trial(name='002-n400', ...))
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.config import SweepConfig, TrainConfig, build
from tunesmith.errors import ConfigError

MOST_TRIALS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One run of a sweep."""

    name: str
    """Of its run, unique in the sweep."""
    model: str
    num_examples: int | None
    """Of the training split; None: all of them, as they are."""
    settings: Mapping[str, Any]
    """Fields of `TrainConfig` besides model and data, nested ones with a dot."""
    varied: Mapping[str, Any]
    """Those of `settings` that differ between trials."""

    @property
    def seed(self) -> int:
        return int(self.settings.get("seed", 0))

    def train_config(self, data: Path) -> TrainConfig:
        """Validated settings.

        Raises:
            ConfigError: naming the setting.
        """
        return build(TrainConfig, {**nested(self.settings), "model": self.model, "data": data}, place="sweep")


def plan_trials(config: SweepConfig, *, num_train: int) -> tuple[Trial, ...]:
    """Every combination, models outermost, then settings, then sizes from small to large.

    Raises:
        ConfigError: a size, a setting or a value cannot be used, or there are more than `MOST_TRIALS`.
    """
    sizes = _sizes(config.sizes, num_train)
    combinations = list(itertools.product(config.models, *config.vary.values(), sizes))
    if len(combinations) > MOST_TRIALS:
        raise ConfigError("sweep", f"{len(combinations):,} trials", expected=f"at most {MOST_TRIALS:,}", remedy="vary less at a time")
    trials = []
    for number, (model, *values, size) in enumerate(combinations, start=1):
        varied = dict(zip(config.vary, values, strict=True))
        name = _name(number, model if len(config.models) > 1 else None, size or num_train if config.sizes else None, varied)
        trial = Trial(name=name, model=model, num_examples=size, settings={**config.fixed, **varied}, varied=varied)
        trial.train_config(config.data)  # a wrong value is said now, and not after hours
        trials.append(trial)
    return tuple(trials)


def _sizes(sizes: Sequence[float], num_train: int) -> list[int | None]:
    """Numbers of examples, rising and without repetition; None for the whole training split."""
    numbers = []
    for size in sizes or (1.0,):
        number = math.ceil(size * num_train) if size <= 1 else int(size)
        if number > num_train or (size > 1 and number != size):
            expected = f"a share up to 1, or a whole number up to {num_train:,}, the training examples there are"
            raise ConfigError("sweep", f"the size {size:g}", expected=expected, remedy="correct --sizes")
        numbers.append(number)
    return [None if number == num_train else number for number in sorted(set(numbers))]


def _name(number: int, model: str | None, size: int | None, varied: Mapping[str, Any]) -> str:
    parts = [f"{number:03}", *([Path(model).name] if model else []), *([f"n{size}"] if size else [])]
    parts += [f"{key.rpartition('.')[2].replace('_', '-')}-{value}" for key, value in varied.items()]
    return re.sub(r"[^\w.+-]+", "-", "-".join(parts))


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`{"lora.rank": 8}` as `{"lora": {"rank": 8}}`."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        room, _, last = key.rpartition(".")
        if room:
            result.setdefault(room, {})[last] = value
        else:
            result[key] = value
    return result
