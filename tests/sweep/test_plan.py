"""Which trials a sweep has, and what it refuses before the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import SweepConfig, build
from tunesmith.errors import ConfigError
from tunesmith.sweep.plan import plan_trials


def config(**settings: Any) -> SweepConfig:
    return build(SweepConfig, {"data": Path("prepared"), "models": ("tiny",), **settings})


def test_every_combination_sizes_innermost() -> None:
    trials = plan_trials(config(models=("a/one", "two"), sizes=(1, 0.25), vary={"seed": (0, 1)}), num_train=101)
    assert [(trial.model, trial.varied["seed"], trial.num_examples) for trial in trials] == [
        (model, seed, size) for model in ("a/one", "two") for seed in (0, 1) for size in (26, None)
    ]
    assert trials[0].name == "001-one-n26-seed-0"
    assert len({trial.name for trial in trials}) == 8


def test_numbers_and_shares_of_examples() -> None:
    trials = plan_trials(config(sizes=(40, 1.0, 0.5, 80)), num_train=80)
    assert [trial.num_examples for trial in trials] == [40, None]  # 0.5 is 40, 80 is all


def test_settings_reach_training_nested() -> None:
    (trial,) = plan_trials(config(vary={"lora.rank": (4,)}, fixed={"epochs": 2}), num_train=10)
    train = trial.train_config(Path("subset"))
    assert (train.lora.rank, train.epochs, train.data, train.model) == (4, 2.0, Path("subset"), "tiny")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sizes": (0.0,)}, "sizes above 0"),
        ({"sizes": (11.0,)}, "the size 11"),
        ({"sizes": (2.5,)}, "the size 2.5"),
        ({"vary": {"learning_rat": (1,)}}, "learning_rat"),
        ({"vary": {"epochs": (1, "many")}}, "epochs is 'many'"),
        ({"vary": {"model": ("x",)}}, "options of their own"),
        ({"vary": {"seed": (1,)}, "fixed": {"seed": 2}}, "both varied and fixed"),
        ({"vary": {"seed": tuple(range(1001))}}, "1,001 trials"),
        ({"models": ()}, "models"),
    ],
)
def test_what_cannot_be_run_is_said_before_the_first_trial(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        plan_trials(config(**settings), num_train=10)
