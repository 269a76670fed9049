"""Rules files of the playground: which may be used, and which are offered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunesmith.errors import ConfigError
from tunesmith.studio.pages.playground_rules import MOST_BYTES, ChosenRules, find_rules_file, rules_files


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[Path]:
    """Where the studio was started, and a folder elsewhere."""
    for name in ("here/inner", "data", "outside"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "rules.yaml").write_text("pii: true\n", encoding="utf-8")
    (tmp_path / "here" / "inner" / "deep.yml").write_text("profanity: {prompts: block}\n", encoding="utf-8")
    (tmp_path / "data" / "rules.json").write_text('{"length": {"max_prompt_characters": 9}}', encoding="utf-8")
    (tmp_path / "outside" / "rules.yaml").write_text("pii: true\n", encoding="utf-8")
    return [tmp_path / "here", tmp_path / "data"]


def test_a_file_of_the_workspace_is_taken(folders: Sequence[Path]) -> None:
    names = ("rules.yaml", "inner/deep.yml", str(folders[1] / "rules.json"), "../data/rules.json")
    rules = [ChosenRules(file=find_rules_file(name, folders)).settings() for name in names]
    assert [one.names for one in rules if one is not None] == [("pii",), ("profanity",), ("length",), ("length",)]
    assert find_rules_file(str(folders[0] / "rules.yaml"), folders) == Path("rules.yaml"), "as it would be typed"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("../outside/rules.yaml", "lies elsewhere"),
        ("/etc/passwd", "lies elsewhere"),
        ("inner/../../outside/rules.yaml", "lies elsewhere"),
        ("link.yaml", "lies elsewhere"),
        ("linked/rules.yaml", "lies elsewhere"),
        ("missing.yaml", "there is no file"),
        ("inner", "there is no file"),
        ("", "there is no file"),
        ("a\0b.yaml", "there is no file"),
        ("x" * 5000 + ".yaml", "there is no file"),
        ("queue.yaml", "there is no file"),
        ("notes.txt", "notes.txt"),
        ("large.yaml", "large.yaml"),
    ],
)
def test_what_leads_elsewhere_or_is_no_file_of_rules_is_refused(folders: Sequence[Path], name: str, found: str) -> None:
    here = folders[0]
    (here / "link.yaml").symlink_to(here.parent / "outside" / "rules.yaml")
    (here / "linked").symlink_to(here.parent / "outside")
    os.mkfifo(here / "queue.yaml")
    (here / "notes.txt").write_text("pii: true", encoding="utf-8")
    (here / "large.yaml").write_text("pii: true\n" + "#" * MOST_BYTES, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        find_rules_file(name, folders)
    assert found in str(refused.value)
    assert len(str(refused.value)) < 600


def test_files_that_name_a_rule_are_offered(folders: Sequence[Path], tmp_path: Path) -> None:
    (tmp_path / "here" / "other.yaml").write_text("services: {web: 1}\n", encoding="utf-8")
    (tmp_path / "here" / ".hidden.yaml").write_text("pii: true\n", encoding="utf-8")
    (tmp_path / "here" / "broken.yaml").write_text("pii: [\n", encoding="utf-8")
    os.mkfifo(tmp_path / "here" / "queue.yaml")
    assert rules_files([*folders, tmp_path / "missing"]) == ["broken.yaml", "rules.yaml", str(tmp_path / "data" / "rules.json")]


def test_what_is_wrong_in_a_file_is_told(folders: Sequence[Path]) -> None:
    (folders[0] / "wrong.yaml").write_text("profanty: true\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"wrong\.yaml"):
        ChosenRules(file=find_rules_file("wrong.yaml", folders)).settings()
    assert ChosenRules().settings() is None
