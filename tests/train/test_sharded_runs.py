"""Runs whose weights are spread over ranks do what one process does: losses, files, checkpoints for any number of ranks.

The ranks are real processes that speak through gloo; a group is started once for all recipes, for starting is what takes long.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from tests.ranks import run_ranks
from tests.train.helpers import DoAt, assert_nothing_half_written, contents
from tunesmith.config import TrainConfig
from tunesmith.distributed.group import joined
from tunesmith.errors import TrainingInterrupted
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.defaults import fill_defaults
from tunesmith.train.saved_tensors import SavedTensors
from tunesmith.train.start import find_start
from tunesmith.train.train import resume, train

STEPS = 50
RECIPES: dict[str, dict[str, Any]] = {
    "lora": {"lora": {"rank": 4}},
    "full": {"method": "full", "weight_decay": 0.1},
    "freeze": {"method": "freeze", "trainable_layers": 1},
    "micro-batches": {"tokens_per_micro_batch": 60, "tokens_per_step": 300},
    "one-example-a-step": {"examples_per_step": 1},
    "recomputed": {"method": "full", "activation_checkpointing": True},
    **({"qlora": {"method": "qlora", "lora": {"rank": 4}}} if find_spec("bitsandbytes") else {}),
}
EQUAL = {"rtol": 2e-5, "atol": 2e-6}
"""Of float32 numbers that were added up in another order, over fifty steps."""
STOP = 13
"""Of a run that is to be resumed: the step after which it is told to."""


class Share(NamedTuple):
    """What a rank keeps of a network."""

    trained: int
    frozen_bytes: int
    moments: int


def _train_all(configs: dict[str, TrainConfig], runs_dir: Path) -> dict[str, Share]:
    with joined("cpu") as group:
        for name, config in configs.items():
            train(config, runs_dir=runs_dir, name=name)
        if group.is_alone:
            return {}
        shares = {name: _share(configs[name]) for name in RECIPES if name in ("lora", "full", "qlora")}
        for name in ("full", "lora"):
            _stop(configs[name], runs_dir, f"{name}-stopped")
        return shares


def _stop(config: TrainConfig, runs_dir: Path, name: str) -> None:
    """One rank is told to; all save and stop."""
    with pytest.raises(TrainingInterrupted):
        train(config, runs_dir=runs_dir, name=name, observer=DoAt(STOP, lambda: os.kill(os.getpid(), signal.SIGINT)))


def _share(config: TrainConfig) -> Share:
    from tunesmith.distributed.group import current_group
    from tunesmith.engine.sharded.weights import local
    from tunesmith.train.optimizer import make_optimizer
    from tunesmith.train.sharded_start import load_hollow_start, make_sharded_trainee

    config = fill_defaults(config, objective="sft", num_examples=32).config
    start = find_start(config.model)
    trainee = make_sharded_trainee(start, load_hollow_start(start, config), config, current_group())
    optimizer = make_optimizer(trainee.weights, config)
    for parameter in trainee.weights.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = sum(local(state["exp_avg"]).numel() for state in optimizer.state.values())
    frozen = sum(local(p).nbytes for p in trainee.network.parameters() if not p.requires_grad)
    return Share(trained=sum(local(p).numel() for p in trainee.weights.parameters.values()), frozen_bytes=frozen, moments=moments)


@pytest.fixture(scope="module")
def configs(tiny_llama: Path, wide_llama: Path, faq: Path) -> dict[str, TrainConfig]:
    common = {
        "data": faq,
        "max_steps": STEPS,
        "epochs": 100,
        "evaluate_every": 10,
        "patience": 0,
        "dtype": "float32",
        "device": "cpu",
        "estimate": False,
        "strategy": "fsdp",
    }
    return {name: TrainConfig(**common, model=str(wide_llama if name == "qlora" else tiny_llama), **more) for name, more in RECIPES.items()}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def shares(configs: dict[str, TrainConfig], directories: tuple[Path, Path]) -> list[dict[str, Share]]:
    _train_all(configs, directories[0])
    return run_ranks(2, _train_all, configs, directories[1])


@pytest.fixture(scope="module")
def runs(shares: list[dict[str, Share]], directories: tuple[Path, Path]) -> dict[str, tuple[RunDirectory, RunDirectory]]:
    """Each recipe in one process and in two."""
    return {name: (open_run(directories[0] / name), open_run(directories[1] / name)) for name in RECIPES}


def numbers(run: RunDirectory, key: str) -> torch.Tensor:
    return torch.tensor([line[key] for line in run.metrics() if key in line])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_two_ranks_with_half_the_weights_each_equal_one_process(runs: dict[str, tuple[RunDirectory, ...]], recipe: str) -> None:
    one, two = runs[recipe]
    assert len(numbers(two, "grad_norm")) == STEPS
    for key in ("loss", "grad_norm", "num_supervised"):
        torch.testing.assert_close(numbers(two, key), numbers(one, key), **EQUAL)
    assert_nothing_half_written(two)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_result_has_the_same_files(runs: dict[str, tuple[RunDirectory, ...]], recipe: str) -> None:
    one, two = (run.model_dir for run in runs[recipe])
    found, expected = contents(two), contents(one)
    assert found.keys() == expected.keys()
    for file in expected:
        if file.endswith(".safetensors"):
            weights, others = load_file(two / file), load_file(one / file)
            assert weights.keys() == others.keys()
            for name, weight in weights.items():
                torch.testing.assert_close(weight, others[name], rtol=1e-3, atol=1e-4)
        elif file == "adapter_config.json":
            settings = [json.loads((directory / file).read_text()) for directory in (one, two)]
            assert settings[0].keys() == settings[1].keys()
            for key, value in settings[0].items():  # peft writes a set, in any order
                assert sorted(settings[1][key]) == sorted(value) if isinstance(value, list) else settings[1][key] == value
        elif file != "README.md":
            assert (two / file).read_bytes() == (one / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["lora", "full"])
def test_a_checkpoint_has_the_numbers_of_its_step(runs: dict[str, tuple[RunDirectory, ...]], recipe: str) -> None:
    """Though it is written while training goes on: weights and moments are those of one process, after the last step but ten."""
    paths = [run.checkpoints()[0] for run in runs[recipe]]
    assert {path.name for path in paths} == {f"step-{STEPS - 10:08d}"}
    expected, found = (SavedTensors(path) for path in paths)
    assert sorted(found) == sorted(expected)
    for name in expected:
        numbers = expected.whole(name).double()
        assert (found.whole(name).double() - numbers).norm() <= 1e-4 * numbers.norm(), name


@pytest.mark.slow
def test_each_rank_keeps_half(runs: dict[str, tuple[RunDirectory, ...]], shares: list[dict[str, Share]]) -> None:
    for recipe in shares[0]:
        trained = SavedTensors(runs[recipe][1].checkpoints()[-1])
        whole = sum(torch.Size(trained.shape(name)).numel() for name in trained if name.startswith("weights|"))
        both = [one[recipe] for one in shares]
        assert sum(share.trained for share in both) == sum(share.moments for share in both) == whole
        assert max(share.trained for share in both) < 0.55 * whole
        assert max(share.frozen_bytes for share in both) <= 0.55 * sum(share.frozen_bytes for share in both)


def _resume_all(paths: list[Path]) -> None:
    with joined("cpu"):  # once: a group that is left is not joined again
        for path in paths:
            resume(path)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2), (2, 3)])
def test_another_number_of_ranks_goes_on(
    runs: dict[str, tuple[RunDirectory, ...]], configs: dict[str, TrainConfig], tmp_path: Path, first: int, second: int
) -> None:
    """Shards are taken back whole, whole weights in shards, and shards in other shards; the next losses are the undisturbed run's."""
    recipes = ("full", "lora")
    if first == 1:
        for recipe in recipes:
            _stop(configs[recipe], tmp_path, recipe)
    else:
        for recipe in recipes:
            shutil.copytree(runs[recipe][1].path.with_name(f"{recipe}-stopped"), tmp_path / recipe)
    stopped = [tmp_path / recipe for recipe in recipes]
    if second == 1:
        _resume_all(stopped)
    else:
        run_ranks(second, _resume_all, stopped)
    for recipe in recipes:
        run, whole = open_run(tmp_path / recipe), runs[recipe][0]
        assert run.checkpoints()[-1].name == f"step-{STEPS:08d}"
        torch.testing.assert_close(numbers(run, "loss"), numbers(whole, "loss"), **EQUAL)
        assert_nothing_half_written(run)
