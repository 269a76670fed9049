"""Sizes and operations before the first step, counted by hand for the tiny Llama."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.config import TrainConfig
from tunesmith.train.observer import Recording
from tunesmith.train.train import train

Settings = Callable[..., TrainConfig]

LAYER = 48 * 48 * 2 + 48 * 16 * 2 + 48 * 96 * 3  # query, output, key, value, MLP
HEAD = 420 * 48
PARAMETERS = HEAD + 2 * (LAYER + 2 * 48) + 48  # tied head; two norms a layer and the last one
LORA = 2 * 4 * ((48 + 48) * 2 + (48 + 16) * 2 + (48 + 96) * 3)  # rank 4


def cost(settings: Settings, tmp_path: Path, **changes: object) -> dict[str, float]:
    run = train(settings(max_steps=1, epochs=1, examples_per_step=32, **changes), runs_dir=tmp_path, name="run")
    found: dict[str, float] = run.record()["cost"]
    return found


def test_full(settings: Settings, tmp_path: Path) -> None:
    found = cost(settings, tmp_path, method="full")
    assert (found["num_parameters"], found["num_trainable"]) == (PARAMETERS, PARAMETERS)
    assert found["state_bytes"] == PARAMETERS * (4 + 4 + 8)
    forward_and_backward = 4 * (found["tokens_per_step"] * 2 * LAYER + found["supervised_per_step"] * HEAD)
    assert found["flops_per_step"] == pytest.approx(forward_and_backward + 2 * found["tokens_per_step"] * 2 * LAYER)


@pytest.mark.parametrize(
    ("changes", "num_bytes"),
    [({}, 2 + 2 + 2 + 5), ({"tokens_per_micro_batch": 64}, 2 + 2 + 4 + 5)],
    ids=["one micro-batch", "several"],
)
def test_full_in_bfloat16_keeps_masters(settings: Settings, tmp_path: Path, changes: dict[str, int], num_bytes: int) -> None:
    """Upper and lower half, gradient, moments."""
    changed = {"tokens_per_micro_batch": 10_000, **changes}
    assert cost(settings, tmp_path, method="full", dtype="bfloat16", **changed)["state_bytes"] == PARAMETERS * num_bytes


def test_adafactor_in_bfloat16_keeps_whole_masters(settings: Settings, tmp_path: Path) -> None:
    found = cost(settings, tmp_path, method="full", dtype="bfloat16", optimizer="adafactor")["state_bytes"]
    assert PARAMETERS * (2 + 4 + 4) < found < PARAMETERS * (2 + 4 + 4.2)


def test_lora(settings: Settings, tmp_path: Path) -> None:
    found = cost(settings, tmp_path, lora={"rank": 4})
    assert (found["num_parameters"], found["num_trainable"]) == (PARAMETERS + LORA, LORA)
    assert found["state_bytes"] == 4 * (PARAMETERS + LORA) + LORA * (4 + 8)


def test_freeze(settings: Settings, tmp_path: Path) -> None:
    assert cost(settings, tmp_path, method="freeze", trainable_layers=1)["num_trainable"] == LAYER + 3 * 48


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 1.5}, "32 examples x 1.5 epochs = 6 steps"),
        ({"max_steps": 3}, "3 steps, as set, over 32 examples"),
        ({"max_steps": 1}, "a step: 8 examples, on average"),
        ({"max_steps": 1, "tokens_per_step": 512}, "a step: up to 512 tokens, on average"),
        ({"max_steps": 1}, f"lora: {LORA * 4:,} of {PARAMETERS + LORA * 4:,} parameters train"),
    ],
    ids=str,
)
def test_what_is_said(settings: Settings, tmp_path: Path, changes: dict[str, float], sentence: str) -> None:
    observer = Recording()
    train(settings(**changes), runs_dir=tmp_path, observer=observer)
    assert any(sentence in said for said in observer.sentences), observer.sentences
