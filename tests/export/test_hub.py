"""Pushing to the hub, the real client against a small server: nothing is mixed, overwritten or shown to more people than was asked for."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest

from tests.hub import Hub, running_hub
from tunesmith.data.publishing.hub import find_repository
from tunesmith.errors import AssetError
from tunesmith.export.hub import push_folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    with running_hub() as (server, endpoint):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        huggingface_hub.close_session()  # it remembers that the tests are offline
        monkeypatch.setattr("huggingface_hub.HfApi", partial(huggingface_hub.HfApi, endpoint=endpoint, token="hf_test"))
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "exports"
    directory.mkdir()
    (directory / "README.md").write_text("A card.", encoding="utf-8")
    (directory / "adapter.safetensors").write_bytes(b"new")
    (directory / ".hidden").write_bytes(b"")
    return directory


def push(folder: Path, *, public: bool = False, replace: bool = False) -> str:
    return push_folder(folder, find_repository("acme/faq", repo_type="model", public=public, replace=replace), message="x")


def test_a_new_repository_is_private_unless_told_otherwise(hub: type[Hub], folder: Path) -> None:
    assert push(folder).endswith("/acme/faq")
    assert hub.created["visibility"] == "private"
    assert hub.files == {"README.md": b"A card.", "adapter.safetensors": b"new"}


def test_nothing_goes_to_a_public_repository_unasked(hub: type[Hub], folder: Path) -> None:
    hub.is_there, hub.is_private = True, False
    with pytest.raises(AssetError, match=r"is public; expected a private one\. To go on: add --public"):
        push(folder)
    assert hub.commits == []
    push(folder, public=True)
    assert hub.commits == [{"README.md", "adapter.safetensors"}]


def test_a_private_repository_without_files_takes_it(hub: type[Hub], folder: Path) -> None:
    hub.is_there = True
    push(folder)
    assert hub.files.keys() == {"README.md", "adapter.safetensors"}


def test_nothing_is_mixed_with_what_is_there(hub: type[Hub], folder: Path) -> None:
    hub.is_there, hub.files = True, {"README.md": b"mine", "model.safetensors": b"merged"}
    with pytest.raises(AssetError, match=r"holds 2 files, README\.md among them; .* add --replace"):
        push(folder)
    assert hub.commits == []
    push(folder, replace=True)
    assert hub.files == {"README.md": b"A card.", "adapter.safetensors": b"new"}
    assert hub.commits == [{"README.md", "adapter.safetensors", "model.safetensors"}]


def test_what_failed_to_be_pushed_is_pushed_by_the_command_that_is_named(hub: type[Hub], folder: Path, tmp_path: Path) -> None:
    hub.is_there, hub.files, hub.refuses = True, {"model.safetensors": b"merged"}, "/commit/"
    (folder / ".hidden").unlink()
    with pytest.raises(AssetError, match="the hub did not take it") as caught:
        push(folder.rename(tmp_path / "my exports"), replace=True)
    hub.refuses = ""
    program, *words = shlex.split(re.findall("`(hf upload .*?)`", caught.value.remedy)[0])
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    settings = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_test"}
    command = [str(Path(sys.executable).with_name(program)), *words]
    done = subprocess.run(command, env={**kept, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert hub.files == {"README.md": b"A card.", "adapter.safetensors": b"new"}


def test_a_token_that_may_only_read(hub: type[Hub], folder: Path) -> None:
    hub.role = "read"
    with pytest.raises(AssetError, match="the token of this user may only read; expected one that may write"):
        push(folder)
    assert not hub.is_there


def test_a_repository_that_turned_up_meanwhile_is_left_alone(hub: type[Hub], folder: Path) -> None:
    repository = find_repository("acme/faq", repo_type="model", public=False, replace=False)
    hub.is_there, hub.files = True, {"README.md": b"a colleague's"}
    with pytest.raises(AssetError, match="somebody made it or wrote to it meanwhile") as refusal:
        push_folder(folder, repository, message="x")
    assert "hf upload" not in str(refusal.value)  # which would not look
    assert hub.files == {"README.md": b"a colleague's"}


def test_a_repository_that_somebody_wrote_to_meanwhile_is_left_alone(hub: type[Hub], folder: Path) -> None:
    hub.is_there, hub.files = True, {"README.md": b"of last week"}
    repository = find_repository("acme/faq", repo_type="model", public=False, replace=True)
    hub.newest_commit, hub.files = "f" * 40, {"README.md": b"a colleague's"}
    with pytest.raises(AssetError, match="somebody made it or wrote to it meanwhile"):
        push_folder(folder, repository, message="x")
    assert hub.files == {"README.md": b"a colleague's"}
