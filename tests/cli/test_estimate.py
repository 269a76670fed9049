"""`tunesmith estimate`: what a run would take, without a run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith, Workspace


def test_what_it_says(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path, tmp_path: Path) -> None:
    result = tunesmith("estimate", finished.data, "--model", tiny_llama, "--lora-rank", "4")
    assert result.code == 0, result.stderr
    for pattern in (
        r"measured micro-batch +tokens +first time +again +memory meanwhile\n",
        r"\ntypical +\d+ +\S+ s +\S+ s +\S+ GB\n",
        r"\na step +\S+ s +\S+ s +\S+ s\n",
        r"\nan epoch +",
        r"\nin all, 15 steps +",
        r"\nactivations of the worst micro-batch +",
        r"\npeak +\S+ GB of \S+ GB\n",
        r"\nlearning_rate +0\.0005  ten times",
        r"\nabout \S+ s \(\S+ to \S+\), peak memory",
    ):
        assert re.search(pattern, result.stdout), (pattern, result.stdout)
    assert "lora.rank" not in result.stdout
    assert "next: tunesmith train" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_as_json(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    words = ["estimate", finished.data, "--model", tiny_llama, "--method", "full", "--epochs", "2", "--json"]
    document = tunesmith(*words).document
    assert document["estimate"]["num_steps"] == 10
    assert document["estimate"]["seconds"]["low"] <= document["estimate"]["seconds"]["expected"] <= document["estimate"]["seconds"]["high"]
    assert document["config"]["learning_rate"] == document["defaults"]["learning_rate"]["value"] == 5e-5
    assert "epochs" not in document["defaults"]
    assert document["estimate"]["parts"]["masters, gradients and optimiser"] > document["cost"]["num_trainable"] * 8


@pytest.mark.parametrize("words", [[], ["nowhere"], ["nowhere", "--model", "x"]])
def test_mistakes(tunesmith: Tunesmith, words: list[str]) -> None:
    result = tunesmith("estimate", *words)
    assert result.code == 2
    assert "To go on:" in result.stderr


def test_train_without(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    words = ["train", finished.data, "--model", tiny_llama, "--epochs", "5", "--max-steps", "20"]
    assert "peak memory" in tunesmith(*words, "--name", "a").stderr.split("step ")[0]
    quiet = tunesmith(*words, "--name", "b", "--no-estimate", "--json")
    assert quiet.code == 0
    assert quiet.document["estimate"] is None
