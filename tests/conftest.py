"""Fixtures for all rooms: tiny models on disk, example sets, the folder of real data where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach the hub

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Llama with ChatML."""
    from tests.tiny_models import build_tiny_llama

    return build_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Gemma 3 with BOS, without chat template."""
    from tests.tiny_models import build_tiny_gemma

    return build_tiny_gemma(tmp_path_factory.mktemp("models") / "tiny-gemma")


@pytest.fixture(scope="session")
def wide_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Llama with layers wide enough for four bits."""
    from tests.tiny_models import build_tiny_llama

    return build_tiny_llama(tmp_path_factory.mktemp("models") / "wide-llama", width=64)


@pytest.fixture(scope="session")
def wide_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Gemma with layers wide enough for four bits."""
    from tests.tiny_models import build_tiny_gemma

    return build_tiny_gemma(tmp_path_factory.mktemp("models") / "wide-gemma", width=64)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the repository; tests that want it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is not there")
    return SHARED_DATA
