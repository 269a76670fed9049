"""Pushing to the hub, which is stood in for: nothing is uploaded where more people would read it than was asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tunesmith.errors import AssetError
from tunesmith.export.hub import push_folder


class Hub:
    """A hub with one repository."""

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.uploaded: list[str] = []

    def create_repo(self, hub_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> str:
        assert exist_ok  # it is there; as in the hub, `private` then changes nothing
        return f"https://huggingface.co/{hub_id}"

    def repo_info(self, hub_id: str, *, repo_type: str) -> SimpleNamespace:
        assert repo_type == "model"
        return SimpleNamespace(private=self.private)

    def create_commit(self, hub_id: str, operations: list[SimpleNamespace], *, commit_message: str, repo_type: str) -> None:
        self.uploaded += [one.path_in_repo for one in operations]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("A card.", encoding="utf-8")
    return tmp_path


def test_nothing_goes_to_a_public_repository_unasked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(private=False)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    with pytest.raises(AssetError, match=r"is public; expected a private one\. To go on: add --public"):
        push_folder(folder, "acme/faq", public=False, message="x")
    assert hub.uploaded == []
    assert push_folder(folder, "acme/faq", public=True, message="x") == "https://huggingface.co/acme/faq"
    assert hub.uploaded == ["README.md"]


def test_a_private_repository_takes_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(private=True)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    push_folder(folder, "acme/faq", public=False, message="x")
    assert hub.uploaded == ["README.md"]
