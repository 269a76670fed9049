"""Runs to export, made once: an adapter with ChatML, one with the plain `qa` template on a Gemma, one with all weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tunesmith.config import LoraConfig, PrepareConfig, TrainConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.runs import RunDirectory
from tunesmith.train.train import train

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices are multiplied by one thread faster than by several."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty questions with answers."""
    directory = tmp_path_factory.mktemp("data") / "prepared"
    records = [{"question": f"What is {n}?", "answer": f"{n} is {COLOURS[n % 3]}."} for n in range(40)]
    prepare(None, directory, PrepareConfig(), rows=rows_from_records(records, "faq.jsonl"))
    return directory


def trained(model: Path, data: Path, runs_dir: Path, **settings: object) -> RunDirectory:
    """A run of a few steps at a rate that moves the weights."""
    values = {"learning_rate": 0.02, "max_steps": 3, "examples_per_step": 4, "dtype": "float32", "estimate": False, **settings}
    return train(TrainConfig.model_validate({"model": str(model), "data": data, **values}), runs_dir=runs_dir, name="faq")


@pytest.fixture(scope="session")
def chat_run(tiny_llama: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """LoRA on the tiny Llama, with its ChatML."""
    return trained(tiny_llama, data, tmp_path_factory.mktemp("chat"), lora=LoraConfig(rank=4, alpha=16.0))


@pytest.fixture(scope="session")
def qa_run(tiny_gemma: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """LoRA with `qa` on a base model that puts BOS first."""
    return trained(tiny_gemma, data, tmp_path_factory.mktemp("qa"), template="qa", lora=LoraConfig(rank=4, alpha=16.0))


@pytest.fixture(scope="session")
def full_run(tiny_llama: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Every weight trained, and two new tokens."""
    return trained(tiny_llama, data, tmp_path_factory.mktemp("full"), method="full", learning_rate=0.001, new_tokens=("<tool>", "</tool>"))
