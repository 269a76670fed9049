"""`tunesmith export` as typed, and the hub against a small server that speaks its protocol for commits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith, Workspace
from tests.hub import Hub, running_hub

FEW = ("--parity-examples", "2", "--parity-tokens", "6")


def test_merged(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    done = tunesmith("export", workspace.run, "--to", "merged", *FEW)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("written: exports/faq-merged\n")
    assert "checked: transformers" in done.stdout
    assert "prompt tokens equal in 2 of 2, greedy answers equal in 2 of 2" in done.stdout
    assert (tmp_path / "exports" / "faq-merged" / "model.safetensors").is_file()
    again = tunesmith("export", workspace.run, "--to", "merged", *FEW)
    assert (again.code, again.stdout) == (2, "")
    assert "never overwritten" in again.stderr


def test_the_exported_folder_is_a_model_like_any_other(tunesmith: Tunesmith, workspace: Workspace) -> None:
    assert tunesmith("export", workspace.run, "--to", "merged", "--out", "out", *FEW).code == 0
    ours = tunesmith("generate", workspace.run, "What is 3?", "--max-new-tokens", "6", "--dtype", "float32", "--json")
    theirs = tunesmith("generate", "out", "What is 3?", "--max-new-tokens", "6", "--dtype", "float32", "--json")
    assert ours.code == theirs.code == 0, theirs.stderr
    assert theirs.document == ours.document


def test_gguf_as_json(tunesmith: Tunesmith, workspace: Workspace) -> None:
    done = tunesmith("export", workspace.run, "--to", "gguf", "--type", "q8_0", "--out", "out", "--json", *FEW)
    assert done.code == 0, done.stderr
    assert "faq-q8_0.gguf" in [file["name"] for file in done.document["files"]]
    assert done.document["parity"]["passed"] is (True if find_spec("llama_cpp") else None)
    assert "tensors read back" in done.document["parity"]["read_back"]


def test_ollama(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    done = tunesmith("export", workspace.run, "--to", "ollama", "--out", "out", "--num-ctx", "64", *FEW)
    assert done.code == 0, done.stderr
    assert "the Modelfile's template gives our prompt's tokens in 2 of 2 prompts" in done.stdout
    assert "PARAMETER num_ctx 64" in (tmp_path / "out" / "Modelfile").read_text(encoding="utf-8")


def test_openai_data(tunesmith: Tunesmith, workspace: Workspace) -> None:
    done = tunesmith("export", workspace.run, "--to", "openai-data", "--out", "out")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("written: out/train.jsonl")


def test_the_run_one_is_in(tunesmith: Tunesmith, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.run)
    done = tunesmith("export", ".", "--to", "gguf", *FEW)
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("written: exports/faq-gguf-f16\n")
    assert (workspace.run / "exports" / "faq-gguf-f16" / "faq-f16.gguf").is_file()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--to", "merged", "--type", "f16"], "--type given"),
        (["--to", "gguf", "--dtype", "float16"], "--dtype given"),
        (["--to", "merged", "--repo", "a/b"], "--repo given; expected only with --to hub. To go on: leave it out"),
        (["--to", "gguf", "--repo", "a/b", "--public"], "--repo and --public given; expected only with --to hub. To go on: leave them out"),
        (["--to", "merged", "--replace"], "--replace given; expected only with --to hub"),
        (["--to", "merged", "--num-ctx", "9"], "--num-ctx given"),
        (["--to", "hub"], "--repo is not given"),
        (["--to", "openai-data", "--type", "f16"], "--type given"),
        (["--to", "openai-data", "--parity-tokens", "3"], "--parity-tokens given"),
        (["--to", "nowhere"], "nowhere"),
        (["--to", "merged", "--parity-examples", "0"], "parity_examples"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], complaint: str, tunesmith: Tunesmith, workspace: Workspace) -> None:
    done = tunesmith("export", workspace.run, *options)
    assert (done.code, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_a_mismatch_ends_with_three(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.export.merged.jinja_template", lambda renderer: "{{ messages[0]['content'] }}")
    done = tunesmith("export", workspace.run, "--to", "merged", "--out", "out", *FEW)
    assert (done.code, done.stdout) == (3, "")
    assert "the export is not the model it was made from" in done.stderr
    assert [path.name for path in tmp_path.glob("out*")] == ["out.failed"]


@pytest.fixture
def hub() -> Iterator[tuple[type[Hub], str]]:
    with running_hub() as running:
        yield running


def pushed(*words: str | Path, endpoint: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's client reads its address when it is imported."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(directory / "home"), "HF_TOKEN": "hf_test", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "tunesmith", "export", *map(str, words), "--to", "hub", "--repo", "acme/faq", *FEW]
    return subprocess.run(command, env={**kept, **settings}, cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("adapter", [False, True])
def test_pushing(adapter: bool, hub: tuple[type[Hub], str], workspace: Workspace, tmp_path: Path) -> None:
    server, endpoint = hub
    done = pushed(workspace.run, *(["--adapter"] if adapter else []), endpoint=endpoint, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"pushed: {endpoint}/acme/faq\n")
    assert (server.created.get("type", "model"), server.created["name"]) == ("model", "faq")
    assert server.created.get("private") or server.created.get("visibility") == "private"
    weights = "adapter_model.safetensors" if adapter else "model.safetensors"
    assert {weights, "README.md", "parity.json", "tokenizer.json"} <= server.files.keys()
    folder = tmp_path / "exports" / ("faq-adapter" if adapter else "faq-merged")
    assert server.files == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert str(tmp_path).encode() not in b"".join(server.files.values())


def test_a_hub_that_refuses(hub: tuple[type[Hub], str], workspace: Workspace, tmp_path: Path) -> None:
    server, endpoint = hub
    server.refuses = "whoami"
    done = pushed(workspace.run, endpoint=endpoint, directory=tmp_path)
    assert done.returncode == 2
    assert "the hub did not take it" in done.stderr
    assert "then repeat the command" in done.stderr  # which nothing is in the way of
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "exports").exists()
