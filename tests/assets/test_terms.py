"""A model with terms is neither fetched nor used before they are accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tunesmith.assets import NAMED_MODELS, Sources, accept_terms, list_models, resolve_model, terms_text
from tunesmith.errors import AssetError

from .fakes import FakeHub, FakeIndex, tiny_named_model


@pytest.fixture
def gated(tiny_gguf: Path, index_dir: Path) -> Sources:
    """`gemma3-270m` with its terms, but with the tiny model's weights."""
    model = tiny_named_model(tiny_gguf, index_dir, terms_of="gemma3-270m")
    return Sources(models={model.name: model}, fetch_wheel=FakeIndex(directory=index_dir), hub=FakeHub())


def test_refused_with_the_place_to_read_and_the_command(cache: Path, gated: Sources) -> None:
    with pytest.raises(AssetError) as caught:
        resolve_model("gemma3-270m", sources=gated)
    assert str(caught.value) == (
        "gemma3-270m: the Gemma Terms of Use have not been accepted; expected that you read "
        "https://ai.google.dev/gemma/terms and agree. To go on: run `tunesmith models accept gemma3-270m` "
        "(unattended: TUNESMITH_ACCEPT_TERMS=gemma3-270m)."
    )
    assert not cache.exists()


def test_accepted_once(cache: Path, gated: Sources) -> None:
    accept_terms("gemma3-270m")
    record = json.loads((cache / "terms" / "gemma3-270m.json").read_text())
    assert (record["url"], record["schema_version"]) == ("https://ai.google.dev/gemma/terms", 1)
    assert record["accepted"]
    assert resolve_model("gemma3-270m", sources=gated).licence == "Apache-2.0"


def test_accepted_by_the_environment(cache: Path, gated: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_ACCEPT_TERMS", "other,gemma3-270m")
    resolve_model("gemma3-270m", sources=gated)
    monkeypatch.setenv("TUNESMITH_ACCEPT_TERMS", "gemma3")
    with pytest.raises(AssetError, match="have not been accepted"):  # cached, and still not allowed
        resolve_model("gemma3-270m", sources=gated)


def test_another_wording_has_to_be_accepted_again(cache: Path, gated: Sources) -> None:
    accept_terms("gemma3-270m")
    record_file = cache / "terms" / "gemma3-270m.json"
    record_file.write_text(json.dumps({**json.loads(record_file.read_text()), "sha256": "0" * 64}))
    with pytest.raises(AssetError, match="have not been accepted"):
        resolve_model("gemma3-270m", sources=gated)


def test_text_names_terms_and_policy() -> None:
    text = terms_text("gemma3-270m")
    for words in ("Gemma Terms of Use", "https://ai.google.dev/gemma/terms", "Prohibited Use Policy", "google/gemma-3-270m"):
        assert words in text
    assert terms_text("smollm2-135m-instruct") == ""


def test_a_model_without_terms_needs_no_acceptance(cache: Path) -> None:
    accept_terms("smollm2-135m-instruct")
    assert not cache.exists()
    assert {status.name: status.terms_accepted for status in list_models()} == {"smollm2-135m-instruct": True, "gemma3-270m": False}
    accept_terms("gemma3-270m")
    assert all(status.terms_accepted for status in list_models())


@pytest.mark.parametrize("ask", [accept_terms, terms_text])
def test_an_unknown_name_is_an_error(ask: Callable[[str], object], cache: Path) -> None:
    with pytest.raises(AssetError, match="there is no named model of this name; expected one of smollm2-135m-instruct, gemma3-270m"):
        ask("gemma")


def test_only_gemma_has_terms() -> None:
    assert [model.name for model in NAMED_MODELS.values() if model.terms] == ["gemma3-270m"]
