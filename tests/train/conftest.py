"""Prepared data for tiny models, and settings that train them in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.samples import fixed_answer_pairs, prepare_qa
from tests.train.recipes import Recipes
from tunesmith.config import TrainConfig


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny matrices are slower on two; and runs are compared bit for bit with runs of other processes."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def faq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 questions to train on, 8 to validate."""
    directory = tmp_path_factory.mktemp("data") / "faq"
    prepare_qa(directory, fixed_answer_pairs(40))
    return directory


@pytest.fixture(scope="session")
def faq_without_validation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "train-only"
    prepare_qa(directory, fixed_answer_pairs(16), validation_fraction=0.0)
    return directory


@pytest.fixture
def settings(tiny_llama: Path, faq: Path) -> Callable[..., TrainConfig]:
    """Settings for the tiny Llama on `faq` in float32, with changes."""

    def make(**changes: object) -> TrainConfig:
        return TrainConfig(**{"model": str(tiny_llama), "data": faq, "dtype": "float32", "device": "cpu", **changes})

    return make


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path, wide_llama: Path, faq: Path) -> Recipes:
    """Runs that several processes and one do alike."""
    return Recipes(tmp_path_factory.mktemp("alone"), tiny=tiny_llama, wide=wide_llama, faq=faq)
