"""Configurations without weights: a file, a folder, a hub id."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.assets.configs import find_config
from tunesmith.errors import AssetError


def never(hub_id: str) -> Path:
    raise AssertionError(f"the hub was asked for {hub_id}")


def test_a_file_and_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}", encoding="utf-8")
    assert find_config(str(file), fetch=never) == file
    assert find_config(str(tmp_path), fetch=never) == file


def test_a_hub_id_fetches_the_configuration_alone(tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(hub_id: str) -> Path:
        asked.append(hub_id)
        return tmp_path / "config.json"

    assert find_config("owner/name", fetch=fetch) == tmp_path / "config.json"
    assert asked == ["owner/name"]


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="holds no config"):
        find_config(str(tmp_path), fetch=never)


@pytest.mark.parametrize("reference", ["", "nowhere", "a/b/c"])
def test_nothing(reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssetError, match="no configuration, no folder"):
        find_config(reference, fetch=never)


def test_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(AssetError, match="the hub did not give its config"):
        find_config("nobody/no-such-model")
