"""Several processes that train together do what one does: losses, weights, files; and survive the loss of one of them.

The ranks are real processes that speak through gloo; a group is started once for all recipes, for starting is what takes long.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.ranks import run_ranks
from tests.train.helpers import DoAt, assert_nothing_half_written
from tests.train.test_preference_runs import prepared, questions
from tunesmith.config import ADAPTER_METHODS, TrainConfig
from tunesmith.distributed.group import joined
from tunesmith.errors import TrainingInterrupted
from tunesmith.runs import RunDirectory, open_run
from tunesmith.train.train import resume, train

STEPS = 50
RECIPES: dict[str, dict[str, Any]] = {
    "lora": {"lora": {"rank": 4}},
    "full": {"method": "full", "weight_decay": 0.1},
    "freeze": {"method": "freeze", "trainable_layers": 1},
    "micro-batches": {"tokens_per_micro_batch": 60, "tokens_per_step": 300},
    "bfloat16": {"method": "full", "dtype": "bfloat16"},
    "patience": {"patience": 1, "learning_rate": 0.05, "evaluate_every": 2},
    "one-example-a-step": {"examples_per_step": 1},
    "adafactor": {"method": "full", "optimizer": "adafactor", "learning_rate": 0.01},
    **({"qlora": {"method": "qlora", "lora": {"rank": 4}}} if find_spec("bitsandbytes") else {}),
}
PREFERENCES: dict[str, dict[str, Any]] = {"dpo": {"objective": "dpo"}, "orpo": {"objective": "orpo"}, "kto": {"objective": "kto"}}
EQUAL = {"rtol": 2e-5, "atol": 2e-6}
"""Of float32 numbers that were added up in another order, over fifty steps."""
COARSER = {"adafactor": {"rtol": 1e-4, "atol": 2e-4}, "bfloat16": {"rtol": 0.02, "atol": 0.02}, "patience": {"rtol": 1e-3, "atol": 1e-3}}
"""Adafactor's updates have one size, however small a gradient is; in bfloat16 a pack of other examples is rounded otherwise;
the steps that run out of patience are too large ones."""


def _data_of(recipe: str, directory: Path, faq: Path) -> Path:
    if recipe not in PREFERENCES:
        return faq
    if recipe != "kto":
        return prepared(directory / recipe, [{"prompt": p, "chosen": better, "rejected": worse} for p, better, worse in questions()])
    rows = [
        {"prompt": prompt, "completion": answer, "label": label}
        for prompt, *answers in questions()
        for answer, label in zip(answers, (True, False), strict=True)
    ]
    return prepared(directory / recipe, rows)


def _train_all(configs: dict[str, TrainConfig], runs_dir: Path) -> int:
    with joined("cpu") as group:
        for name, config in configs.items():
            train(config, runs_dir=runs_dir, name=name)
        return group.size


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path, wide_llama: Path, faq: Path) -> dict[str, tuple[RunDirectory, ...]]:
    """Each recipe in one process and in two."""
    common = {
        "max_steps": STEPS,
        "epochs": 100,
        "evaluate_every": 10,
        "patience": 0,
        "dtype": "float32",
        "device": "cpu",
        "estimate": False,
    }
    data = tmp_path_factory.mktemp("data")
    configs = {
        name: TrainConfig(
            **{
                **common,
                "model": str(wide_llama if name == "qlora" else tiny_llama),
                "data": _data_of(name, data, faq),
                **changes,
            }
        )
        for name, changes in (RECIPES | PREFERENCES).items()
    }
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    assert _train_all(configs, alone) == 1
    assert run_ranks(2, _train_all, configs, together) == [2, 2]
    return {name: (open_run(alone / name), open_run(together / name)) for name in configs}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [*RECIPES, *PREFERENCES])
def test_two_processes_equal_one(runs: dict[str, tuple[RunDirectory, ...]], recipe: str) -> None:
    """The first fifty losses, gradient norms and validations, and the weights that come of them."""
    one, two = (run.metrics() for run in runs[recipe])
    assert [line["kind"] for line in one] == [line["kind"] for line in two]
    steps = sum(line["kind"] == "step" for line in two)
    assert 0 < steps < STEPS if recipe == "patience" else steps == STEPS
    tolerance = COARSER.get(recipe, EQUAL)
    for key in ("loss", "grad_norm", "reward_accuracy", "num_supervised"):
        found, expected = ([line[key] for line in lines if key in line] for lines in (two, one))
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), **tolerance)
    is_adapter = runs[recipe][0].manifest()["method"] in ADAPTER_METHODS
    file = "adapter_model.safetensors" if is_adapter else "model.safetensors"
    first, second = (load_file(run.model_dir / file) for run in runs[recipe])
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=1e-3, atol=2e-3 if recipe in COARSER else 1e-4)


@pytest.mark.slow
def test_the_run_says_that_there_were_two(runs: dict[str, tuple[RunDirectory, ...]]) -> None:
    run = runs["lora"][1]
    assert run.record()["processes"] == 2
    assert len(run.manifest()["peak_memory_bytes_of_ranks"]) == 2
    assert_nothing_half_written(run)


def _interrupted_then_resumed(config: TrainConfig, runs_dir: Path) -> None:
    try:
        train(config, runs_dir=runs_dir, name="stopped", observer=DoAt(13, lambda: os.kill(os.getpid(), signal.SIGINT)))
    except TrainingInterrupted:
        return
    raise AssertionError("it was not interrupted")


def _resume(path: Path) -> None:
    resume(path)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on(runs: dict[str, tuple[RunDirectory, ...]], tmp_path: Path, first: int, second: int) -> None:
    """One rank is told to stop, all save and stop; the next losses are those of the run that went through."""
    whole = runs["full"][0]
    config = TrainConfig(**whole.record()["config"])
    for size, function, argument in ((first, _interrupted_then_resumed, (config, tmp_path)), (second, _resume, (tmp_path / "stopped",))):
        if size == 1:
            function(*argument)
        else:
            run_ranks(size, function, *argument)
    run = open_run(tmp_path / "stopped")
    losses = [[line["loss"] for line in one.metrics() if line["kind"] == "step"] for one in (run, whole)]
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), **EQUAL)


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
def test_a_killed_rank_stops_the_group_and_nothing_is_lost(runs: dict[str, tuple[RunDirectory, ...]], tmp_path: Path) -> None:
    """Again and again at a random step, either rank; in the end the run is the one that was never disturbed."""
    whole = runs["lora"][0]
    config = whole.record()["config"]
    chance = random.Random(5)
    run = tmp_path / "killed"
    words = [config["data"], "--model", config["model"], "--name", "killed", "--runs-dir", str(tmp_path), "--dtype", "float32"]
    words += [
        "--lora-rank",
        "4",
        "--max-steps",
        str(STEPS),
        "--epochs",
        "100",
        "--evaluate-every",
        "10",
        "--patience",
        "0",
        "--no-estimate",
    ]
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
    losses = [[line["loss"] for line in one.metrics() if line["kind"] == "step"] for one in (open_run(run), whole)]
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), **EQUAL)


def test_a_mistake_is_said_once(faq: Path, tmp_path: Path) -> None:
    process = _start(str(faq), "--model", "no-such-model", "--runs-dir", str(tmp_path))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert said.count("no-such-model") == 1
    assert said.startswith("error: ")
    assert "Traceback" not in said
