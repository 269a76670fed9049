"""Several processes that train together do what one does: losses, weights, files; and survive the loss of one of them.

The ranks are real processes that speak through gloo; a group is started once for all recipes, for starting is what takes long.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.ranks import run_ranks
from tests.train.helpers import assert_nothing_half_written, assert_same_numbers
from tests.train.recipes import EQUAL, HERE, MOST_NORM, SPREAD_ONLY, STEPS, Recipes, numbers, resume_all, stop, train_all
from tunesmith.config import ADAPTER_METHODS
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.train import resume

NAMES = [name for name in HERE if name not in (*SPREAD_ONLY, "dropout")]
COARSER = {"adafactor": {"rtol": 1e-4, "atol": 2e-4}, "bfloat16": {"rtol": 0.02, "atol": 0.02}, "patience": {"rtol": 1e-3, "atol": 1e-3}}
"""Adafactor's updates have one size, however small a gradient is; in bfloat16 a pack of other examples is rounded otherwise;
the steps that run out of patience are too large ones."""


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory, recipes: Recipes) -> Path:
    """Where the runs of two processes are."""
    directory = tmp_path_factory.mktemp("together")
    configs = {name: recipes.config(name) for name in (*NAMES, "dropout")}
    stopped = {f"{name}-stopped": configs[name] for name in ("full", "dropout")}
    assert run_ranks(2, train_all, configs, directory, stopped) == [2, 2]
    return directory


@pytest.mark.slow
@pytest.mark.parametrize("recipe", NAMES)
def test_two_processes_equal_one(recipes: Recipes, together: Path, recipe: str) -> None:
    """The first fifty losses, gradient norms and validations, and the weights that come of them."""
    one, two = recipes.alone(recipe), open_run(together / recipe)
    assert [line["kind"] for line in one.metrics()] == [line["kind"] for line in two.metrics()]
    steps = len(numbers(two, "grad_norm"))
    assert 0 < steps < STEPS if recipe == "patience" else steps == STEPS
    for key in ("loss", "grad_norm", "reward_accuracy", "num_supervised"):
        torch.testing.assert_close(numbers(two, key), numbers(one, key), **COARSER.get(recipe, EQUAL))
    file = "adapter_model.safetensors" if one.manifest()["method"] in ADAPTER_METHODS else "model.safetensors"
    first, second = (load_file(run.model_dir / file) for run in (one, two))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-3, atol=2e-3 if recipe in COARSER else 1e-4)


@pytest.mark.slow
def test_every_step_is_clipped(recipes: Recipes) -> None:
    """Or else the equality of several micro-batches would say nothing about clipping."""
    run = recipes.alone("micro-batches")
    assert numbers(run, "grad_norm").min() > 2 * MOST_NORM
    tokens = numbers(run, "num_tokens")  # fewer only in the last step of an epoch
    assert tokens.median() > 4 * recipes.config("micro-batches").tokens_per_micro_batch


@pytest.mark.slow
def test_the_run_says_that_there_were_two(together: Path) -> None:
    run = open_run(together / "lora")
    assert run.record()["processes"] == 2
    assert len(run.manifest()["peak_memory_bytes_of_ranks"]) == 2
    assert_nothing_half_written(run)


@pytest.mark.slow
def test_another_number_of_processes_goes_on(recipes: Recipes, together: Path, tmp_path: Path) -> None:
    """One rank is told to stop, all save and stop; the next losses are those of the run that went through."""
    shutil.copytree(together / "full-stopped", tmp_path / "two-then-one")
    resume(tmp_path / "two-then-one")
    stop(recipes.config("full"), tmp_path, "one-then-two")
    shutil.copytree(together / "dropout-stopped", tmp_path / "dropout")
    run_ranks(2, resume_all, [tmp_path / "one-then-two", tmp_path / "dropout"])
    for name in ("two-then-one", "one-then-two"):
        torch.testing.assert_close(numbers(open_run(tmp_path / name), "loss"), numbers(recipes.alone("full"), "loss"), **EQUAL)
    # The same number of processes: the same inputs are zeroed.
    assert_same_numbers(open_run(tmp_path / "dropout"), open_run(together / "dropout"))


KILLS = int(os.environ.get("TUNESMITH_KILLS", "2"))
"""How often a rank is killed; each takes a group's start. Ten with TUNESMITH_KILLS=10."""


def _start(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tunesmith", "train", *words, "--processes", "2"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )


def _kill_a_rank(process: subprocess.Popen[str], run: Path, *, after_step: int, rank: int, pause: float) -> str:
    """Wait for the step, and `pause` seconds more, which may be anywhere in a step or a checkpoint; what was said then."""
    deadline = time.monotonic() + 120
    while _last_step(run) < after_step and process.poll() is None:
        assert time.monotonic() < deadline, "it does not train"
        time.sleep(0.02)
    time.sleep(pause)
    for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
        if child.environ().get("RANK") == str(rank):
            child.kill()
            break
    return process.communicate(timeout=120)[0]


def _last_step(run: Path) -> int:
    return max((line["step"] for line in RunDirectory(run).metrics()), default=0)


@pytest.mark.slow
def test_a_killed_rank_stops_the_group_and_nothing_is_lost(recipes: Recipes, tmp_path: Path) -> None:
    """Again and again at a random step, either rank; in the end the run is the one that was never disturbed."""
    whole = recipes.alone("lora")
    config = whole.record()["config"]
    chance = random.Random(5)
    run = tmp_path / "killed"
    words = [config["data"], "--model", config["model"], "--name", "killed", "--runs-dir", str(tmp_path), "--dtype", "float32"]
    words += f"--lora-rank 4 --max-steps {STEPS} --epochs 100 --evaluate-every 10 --patience 0 --no-estimate".split()
    for kill in range(KILLS):
        process = _start(*(words if kill == 0 else ["--resume", str(run)]))
        step = _last_step(run) + chance.randrange(1, max(2, STEPS // (KILLS + 1)))
        rank = chance.randrange(2)
        said = _kill_a_rank(process, run, after_step=step, rank=rank, pause=chance.random() * 0.05)
        if process.returncode == 0:
            break  # it was done before
        assert process.returncode == 4, said
        assert f"rank {rank} of the group" in said
        assert "killed by signal 9 (SIGKILL)" in said
        assert "Traceback" not in said
    last = _start("--resume", str(run))
    said = last.communicate(timeout=120)[0]
    assert last.returncode == 0, said
    assert_nothing_half_written(open_run(run))
    torch.testing.assert_close(numbers(open_run(run), "loss"), numbers(whole, "loss"), **EQUAL)


def test_a_mistake_is_said_once(faq: Path, tmp_path: Path) -> None:
    process = _start(str(faq), "--model", "no-such-model", "--runs-dir", str(tmp_path))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said.count("no-such-model") == 1
    assert said.startswith("error: ")
    assert "Traceback" not in said
