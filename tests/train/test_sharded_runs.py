"""Runs whose weights are spread over ranks do what one process does: losses, files, checkpoints for any number of ranks.

The ranks are real processes that speak through gloo; a group is started once for all recipes, for starting is what takes long.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from tests.ranks import run_ranks
from tests.train.helpers import assert_nothing_half_written, assert_same_numbers, contents
from tests.train.recipes import EQUAL, HERE, STEPS, Recipes, numbers, resume_all, stop, train_all
from tunesmith.config import TrainConfig
from tunesmith.distributed.group import current_group, joined
from tunesmith.engine.sharded.weights import local
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.defaults import fill_defaults
from tunesmith.train.optimizer import make_optimizer
from tunesmith.train.saved_tensors import SavedTensors
from tunesmith.train.sharded_start import load_hollow_start, make_sharded_trainee
from tunesmith.train.start import find_start

NAMES = [name for name in HERE if name not in ("adafactor", "patience", "bfloat16", "kto", "orpo", "dropout")]
STOPPED = ("full", "lora", "dropout")


class Share(NamedTuple):
    """What a rank keeps of a network."""

    trained: int
    frozen_bytes: int
    moments: int


def _train_all(configs: dict[str, TrainConfig], runs_dir: Path) -> dict[str, Share]:
    """Each run, and what a rank keeps of some."""
    with joined("cpu"):
        train_all(configs, runs_dir, {f"{name}-stopped": configs[name] for name in STOPPED})
        return {name: _share(configs[name]) for name in HERE if name in ("lora", "full", "qlora")}


def _share(config: TrainConfig) -> Share:
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


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of two ranks are."""
    return tmp_path_factory.mktemp("spread")


@pytest.fixture(scope="session")
def shares(recipes: Recipes, together: Path) -> list[dict[str, Share]]:
    configs = {name: recipes.config(name, strategy="fsdp") for name in (*NAMES, "dropout")}
    return run_ranks(2, _train_all, configs, together)


@pytest.fixture(scope="session")
def runs(shares: list[dict[str, Share]], recipes: Recipes, together: Path) -> dict[str, tuple[RunDirectory, RunDirectory]]:
    """Each recipe in one process and in two."""
    return {name: (recipes.alone(name), open_run(together / name)) for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", NAMES)
def test_two_ranks_with_half_the_weights_each_equal_one_process(runs: dict[str, tuple[RunDirectory, ...]], recipe: str) -> None:
    one, two = runs[recipe]
    assert len(numbers(two, "grad_norm")) == STEPS
    for key in ("loss", "grad_norm", "reward_accuracy", "num_supervised"):
        torch.testing.assert_close(numbers(two, key), numbers(one, key), **EQUAL)
    assert_nothing_half_written(two)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", NAMES)
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


def _stopped(together: Path, names: Iterable[str], directory: Path) -> list[Path]:
    """Copies of runs that two ranks have left in the middle."""
    return [Path(shutil.copytree(together / f"{name}-stopped", directory / name)) for name in names]


def _assert_goes_on(path: Path, whole: RunDirectory) -> None:
    run = open_run(path)
    assert run.checkpoints()[-1].name == f"step-{STEPS:08d}"
    torch.testing.assert_close(numbers(run, "loss"), numbers(whole, "loss"), **EQUAL)
    assert_nothing_half_written(run)


@pytest.mark.slow
def test_another_number_of_ranks_goes_on(
    runs: dict[str, tuple[RunDirectory, ...]], recipes: Recipes, together: Path, tmp_path: Path
) -> None:
    """Shards are taken back whole, whole weights in shards, and shards in other shards; the next losses are the undisturbed run's."""
    whole = {name: runs[name][0] for name in ("full", "lora")}
    by_one = _stopped(together, whole, tmp_path / "one")
    resume_all(by_one)
    for name in whole:
        stop(recipes.config(name, strategy="fsdp"), tmp_path / "two", name)
    by_two = [tmp_path / "two" / name for name in whole]
    (dropout,) = _stopped(together, ["dropout"], tmp_path)
    run_ranks(2, resume_all, [*by_two, dropout])
    by_three = _stopped(together, whole, tmp_path / "three")
    run_ranks(3, resume_all, by_three)
    for path in (*by_one, *by_two, *by_three):
        _assert_goes_on(path, whole[path.name])
    assert_same_numbers(open_run(dropout), open_run(together / "dropout"))  # the same number of ranks: the same inputs are zeroed
