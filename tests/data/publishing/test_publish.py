"""Publishing to the hub: the real client against a small server that speaks the hub's protocol for commits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.hub import Hub, running_hub
from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.publishing.publish import data_card
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.storing.prepared import PreparedData


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedData:
    records = [{"question": f"What is {n}?", "answer": f"It is number {n}."} for n in range(40)]
    return prepare(None, tmp_path / "data", PrepareConfig(), rows=rows_from_records(records, "numbers|<b>.jsonl"))


@pytest.fixture
def hub() -> Iterator[tuple[type[Hub], str]]:
    with running_hub() as running:
        yield running


def tunesmith(*arguments: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_TOKEN": "hf_test", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "tunesmith", *arguments]
    return subprocess.run(command, env={**kept, **settings}, capture_output=True, text=True, check=False)


def test_publishing(prepared: PreparedData, hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, endpoint = hub
    arguments = ("publish", str(prepared.directory), "--to", "hub", "--repo", "acme/faq", "--licence", "cc-by-4.0")
    done = tunesmith(*arguments, endpoint=endpoint, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == f"published: {endpoint}/datasets/acme/faq\n"
    assert (server.created["type"], server.created["name"]) == ("dataset", "faq")
    assert server.created.get("private") or server.created.get("visibility") == "private"
    assert server.files.keys() == {"README.md", "train.jsonl", "validation.jsonl", "test.jsonl"}
    for name in ("train", "validation", "test"):
        assert server.files[f"{name}.jsonl"] == (prepared.directory / f"{name}.jsonl").read_bytes()
    assert server.files["README.md"].decode() == data_card(prepared, licence="cc-by-4.0")


def test_a_hub_that_refuses(prepared: PreparedData, hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, endpoint = hub
    server.refuses = "/"
    done = tunesmith("publish", str(prepared.directory), "--to", "hub", "--repo", "acme/faq", endpoint=endpoint, home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: acme/faq: the hub did not take it" in done.stderr
    assert "Traceback" not in done.stderr
    assert server.files == {}


def test_nothing_goes_to_a_public_repository_unasked(prepared: PreparedData, hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, endpoint = hub
    server.is_there, server.is_private = True, False
    arguments = ("publish", str(prepared.directory), "--to", "hub", "--repo", "acme/faq")
    done = tunesmith(*arguments, endpoint=endpoint, home=tmp_path / "home")
    assert done.returncode == 2
    assert "this repository is there already and is public" in done.stderr
    assert server.files == {}
    assert tunesmith(*arguments, "--public", endpoint=endpoint, home=tmp_path / "home").returncode == 0
    assert "train.jsonl" in server.files


def test_what_is_in_a_repository_stays_unless_told_otherwise(prepared: PreparedData, hub: tuple[type[Hub], str], tmp_path: Path) -> None:
    server, endpoint = hub
    server.is_there, server.files = True, {"README.md": b"mine", "extra.jsonl": b"{}"}
    arguments = ("publish", str(prepared.directory), "--to", "hub", "--repo", "acme/faq")
    done = tunesmith(*arguments, endpoint=endpoint, home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (2, "")
    assert "acme/faq: this repository is there already and holds 2 files, README.md among them; expected a new one" in done.stderr
    assert server.files == {"README.md": b"mine", "extra.jsonl": b"{}"}
    done = tunesmith(*arguments, "--replace", endpoint=endpoint, home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (0, f"published: {endpoint}/datasets/acme/faq\n"), done.stderr
    assert server.files.keys() == {"README.md", "train.jsonl", "validation.jsonl", "test.jsonl"}
    assert server.files["README.md"] == data_card(prepared, licence=None).encode()
    assert server.commits == [{"extra.jsonl", *server.files}]  # old ones and new ones in one


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "hub"], "--repo is not given"),
        (["--to", "openai"], "--out is not given"),
        (["--to", "openai", "--repo", "a/b"], "only with --to hub"),
        (["--to", "openai", "--replace"], "--replace given; expected only with --to hub"),
        (["--to", "hub", "--repo", "a/b", "--out", "x"], "only with --to openai"),
        (["--to", "nowhere"], "nowhere"),
    ],
)
def test_options_that_do_not_go_together(prepared: PreparedData, arguments: list[str], complaint: str, tmp_path: Path) -> None:
    done = tunesmith("publish", str(prepared.directory), *arguments, endpoint="http://127.0.0.1:9", home=tmp_path / "home")
    assert done.returncode == 2
    assert complaint in done.stderr


def test_the_card(prepared: PreparedData) -> None:
    card = data_card(prepared, licence=None)
    _, head, body = card.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert "license" not in metadata
    assert metadata["size_categories"] == ["n<1K"]
    assert [one["split"] for one in metadata["configs"][0]["data_files"]] == ["train", "validation", "test"]
    assert f"| train | {len(prepared.train)} |" in body
    assert prepared.fingerprint[:16] in body
    assert "numbers\\|\\<b\\>.jsonl" in body  # a file name is no markup
