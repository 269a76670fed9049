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


CONFIGS = Path(__file__).parents[1] / "train" / "configs"


def test_without_data(tunesmith: Tunesmith) -> None:
    """From a configuration alone."""
    words = ["--processes", "8", "--device", "cuda", "--memory-per-process", "80GB", "--flops-per-second", "400T", "--bandwidth", "50GB/s"]
    result = tunesmith("estimate", "--model", CONFIGS / "llama-3.1-8b.json", "--method", "full", "--tokens-per-micro-batch", "4096", *words)
    assert result.code == 0, result.stderr
    for pattern in (
        r"^LlamaForCausalLM: 8,030,261,248 parameters in 32 layers, from \S+llama-3\.1-8b\.json alone\n",
        r"\nfull: 8,030,261,248 parameters train \(100\.00 % of the model's\)\n",
        r"\nmemory of each of 8 processes +ddp +fsdp +fsdp, shards in host memory\n",
        r"\nfloat32 masters +32\.1 GB +4\.02 GB\n",
        r"\nneeded, of 80\.0 GB +\S+ GB +\S+ GB +\S+ GB\n",
        r"\na step of 32,768 tokens +ddp",
        r"\nsent by a process +56\.21 GB +\S+ GB +\S+ GB\n",
        r"\ntokens/s of all, at most +[\d,]+ to [\d,]+ ",
        r"400 TFLOP/s a process, as given; between processes: 50 GB/s, as given\n",
        r"\nfits in 80\.0 GB a process: fsdp \(",
        r"\ndoes not fit in 80\.0 GB a process: ddp needs \S+ GB\n",
        r"\nfewest processes that fit with fsdp: \d\n",
    ):
        assert re.search(pattern, result.stdout), (pattern, result.stdout)


def test_one_process_has_nobody_to_share_with(tunesmith: Tunesmith) -> None:
    words = ["estimate", "--model", CONFIGS / "llama-3.1-8b.json", "--device", "cuda", "--memory-per-process", "20GB", "--json"]
    words += ["--tokens-per-micro-batch", "2048", "--method", "full", "--activation-checkpointing"]
    found = tunesmith(*words).document
    assert (list(found["strategies"]), found["strategies"]["alone"]["fits"]) == (["alone"], False)
    assert min(int(change["setting"].split()[1]) for change in found["would_fit"] if change["setting"].startswith("--processes")) >= 2
    for asked in (["--strategy", "fsdp"], ["--strategy", "fsdp", "--cpu-offload"]):
        refused = tunesmith(*words, *asked)
        assert refused.code == 2
        assert "--strategy" in refused.stderr
        assert "add --processes N" in refused.stderr


def test_what_spread_weights_cannot_do_is_left_out(tunesmith: Tunesmith) -> None:
    words = ["estimate", "--model", CONFIGS / "llama-3.1-8b.json", "--device", "cuda", "--memory-per-process", "80GB", "--processes", "8"]
    words += ["--method", "full", "--optimizer", "adafactor"]
    said = tunesmith(*words).stdout
    assert "fsdp is not among them: Adafactor" in said
    assert "fewest processes" not in said
    refused = tunesmith(*words, "--strategy", "fsdp")
    assert (refused.code, "Adafactor" in refused.stderr) == (2, True)


def test_an_example_is_no_longer_than_the_context(tunesmith: Tunesmith) -> None:
    words = ["estimate", "--model", CONFIGS / "llama-3.1-8b.json", "--device", "cuda", "--memory-per-process", "80GB", "--json"]
    assert tunesmith(*words, "--max-length", "999999").document["setup"]["length"] == 131_072


def test_without_data_as_json(tunesmith: Tunesmith, tiny_llama: Path) -> None:
    found = tunesmith("estimate", "--model", tiny_llama, "--method", "full", "--dtype", "float32", "--device", "cpu", "--json").document
    count = found["model"]["num_parameters"]
    (only,) = found["strategies"].values()
    assert only["parts"]["weights"] == 4 * count
    assert only["parts"]["gradients"] in (0, 4 * count)  # most is needed before the backward pass, or at its end
    assert only["parts"]["moments"] == 8 * count
    assert only["fits"]
    assert only["bytes"] == sum(only["parts"].values()) <= found["memory_per_process"]
    assert only["tokens_per_second"]["one_after_the_other"] > 0
    assert found["setup"]["length"] == 256  # the context
    assert "measured here" in found["sources"]["flops_per_second"]


def test_what_would_fit_is_said(tunesmith: Tunesmith) -> None:
    words = ["--device", "cuda", "--memory-per-process", "24GiB"]
    result = tunesmith("estimate", "--model", CONFIGS / "llama-3.1-8b.json", *words)
    assert result.code == 0, result.stderr
    assert "does not fit in 25.8 GB a process: one process needs" in result.stdout
    assert re.search(r"\nwhat would fit: --tokens-per-micro-batch \d+ \(", result.stdout)
    assert "operations: not known; give --flops-per-second" in result.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--memory-per-process", "lots"], "--memory-per-process: 'lots'; expected a number above 0 with a unit, such as 80GB"),
        (["--bandwidth", "0"], "--bandwidth: '0'"),
        (["--flops-per-second", "1.2.3"], "--flops-per-second: '1.2.3'"),
        (["--epochs", "3"], "--epochs without DIR"),
        (["--lora-targets", "x_proj"], "'x_proj' is no linear layer"),
        (["--method", "full", "--trainable-layers", "0"], "trainable"),
    ],
)
def test_mistakes_without_data(tunesmith: Tunesmith, words: list[str], found: str) -> None:
    result = tunesmith("estimate", "--model", CONFIGS / "llama-3.2-1b.json", *words)
    assert result.code == 2
    assert found in result.stderr
    assert "To go on:" in result.stderr


def test_options_without_data_beside_data(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    result = tunesmith("estimate", finished.data, "--model", tiny_llama, "--bandwidth", "1GB/s")
    assert result.code == 2
    assert "--bandwidth beside DIR" in result.stderr


@pytest.mark.parametrize("words", [[], ["nowhere"], ["nowhere", "--model", "x"], ["--model", "nowhere"]])
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
