"""What importers give goes through `prepare` without options but theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data import prepare
from tunesmith.errors import DataError


def test_a_chat_of_two_people(tmp_path: Path) -> None:
    chat = tmp_path / "chat.txt"
    chat.write_text("---\n".join(f"Anna: What is {number}?\nBob: It is {number}.\n" for number in range(20)), encoding="utf-8")
    with pytest.raises(DataError, match=r"Anna \(20\), Bob \(20\)"):
        prepare([chat], tmp_path / "refused", PrepareConfig(kind="transcript"))
    prepared = prepare([chat], tmp_path / "out", PrepareConfig(kind="transcript", assistant="Bob"))
    examples = [*prepared.train, *prepared.validation, *prepared.test]
    assert sorted(example.reference for example in examples) == sorted(f"It is {number}." for number in range(20))
    assert "Bob taken for the assistant" in prepared.summary()


def test_passages_of_a_document_stay_together(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(12):
        text = "".join(f"## Part {part} of {number}\n\nText {number} {part}.\n\n" for part in range(4))
        (docs / f"{number}.md").write_text(text, encoding="utf-8")
    prepared = prepare([docs], tmp_path / "out", PrepareConfig(test_fraction=0.3))
    sides = [{example.source.partition(":")[0] for example in part} for part in (prepared.train, prepared.validation, prepared.test)]
    assert sum(map(len, sides)) == len(set[str]().union(*sides)) == 12
    assert all((sides[0], sides[2]))
