"""Rows of data sets, and edits of them that become a version."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

pytest.importorskip("nicegui", reason="the extra `studio` is not installed")

from tests.studio.made import make_data
from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import DataError
from tunesmith.studio.pages import data_reading, data_version
from tunesmith.studio.pages.data_findings import read_flagged
from tunesmith.studio.pages.data_reading import Row, histogram, open_rows, search_words, word_lengths
from tunesmith.studio.pages.data_review import Draft, check_name, free_name
from tunesmith.studio.pages.data_row import editable
from tunesmith.studio.readable import Unreadable
from tunesmith.studio.reading import DataSummary, Library


def made(directory: Path, **settings: Any) -> DataSummary:
    """A data set of thirty rows, three of them spoilt; one is mended by a fix."""
    answers = {n: f"It holds the {n}th lever in its place." for n in range(30)} | {1: "TODO", 2: "TODO", 5: "It holds a \u200blever."}
    rows = [{"question": f"What is part {n} for?", "answer": answer} for n, answer in answers.items()]
    file = directory / "parts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare([file], directory / "prepared" / "parts", PrepareConfig(**settings))
    return summary(directory, "parts")


def summary(directory: Path, name: str) -> DataSummary:
    found = Library(directory / "runs", directory / "prepared").data_set(name)
    assert found is not None
    return found


def make_version(directory: Path, draft: Draft, name: str) -> DataSummary:
    """What the command does, in this process."""
    new = directory / "prepared" / name
    with draft.making(new):
        prepare_frozen(directory, draft, new)
        draft.made(new)
    return summary(directory, name)


def prepare_frozen(directory: Path, draft: Draft, new: Path) -> None:
    words = draft.freeze(new)
    settings = {"like": str(draft.data.path), "fix": ("control-characters",)}
    assert words[:3] == ["prepare", str(directory / "parts.jsonl"), f"--out={new}"]
    review = Path(words[-1].removeprefix("--review="))
    prepare(draft.sources(), new, PrepareConfig(**settings), review=review)


def rows_of(data: DataSummary) -> dict[str, Row]:
    """By source, of all splits."""
    split_files = [open_rows(data.path / f"{split}.jsonl") for split in ("train", "validation", "test")]
    return {row.source: row for rows in split_files for row in rows.at(range(len(rows)))}


def answers_of(data: DataSummary) -> set[str]:
    return {row.answer for row in rows_of(data).values()}


def test_rows_are_read_searched_and_measured(tmp_path: Path) -> None:
    rows = open_rows(make_data(tmp_path, "faq", num_examples=30) / "train.jsonl")
    assert len(rows) == 30
    assert rows.at([29, 0])[0].source == "faq.jsonl:30"
    assert rows.matching('"part 7 " work') == rows.matching('WORK "part 7 "') == [7]
    assert search_words('a "B c" d"') == ["a", "b c", 'd"']
    lengths = word_lengths(rows)
    assert sum(lengths["prompt"]["counts"]) == sum(lengths["answer"]["counts"]) == 30
    assert histogram([0, 3, 3]) == {"width": 1, "counts": [1, 0, 2]}
    assert histogram([48, 1, 2, 3]) == {"width": 2, "counts": [2, 1, *[0] * 21, 1]}


def test_a_file_too_large_to_keep_is_searched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_data(tmp_path, "faq", num_examples=30) / "train.jsonl"
    kept, anew = open_rows(file), open_rows(file)
    monkeypatch.setattr(data_reading, "MOST_SEARCHED_BYTES", 100)
    assert [anew.matching('"part 7 "') for _ in range(2)] == [[7], [7]]
    others = anew.matching("9 WORK")
    assert {9, 19, 29} <= set(others)
    monkeypatch.undo()
    assert kept.matching('"part 7 "') == [7]
    kept.examples.close()
    file.unlink()
    assert kept.matching("9 WORK") == others
    anew.examples.close()
    with pytest.raises(DataError):
        anew.matching("9")


def test_lines_that_are_no_rows_are_empty_ones(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('nothing\n[1]\n{"messages": [3, {"role": 1, "content": "x"}], "label": "yes"}\n', encoding="utf-8")
    rows = open_rows(file)
    assert [row.answer for row in rows.at([0, 1, 2])] == ["", "", "x"]
    assert rows.at([2])[0].label is None
    assert rows.matching("x") == [2]
    with pytest.raises(Unreadable):
        open_rows(tmp_path)


def test_a_check_finds_its_rows_again(tmp_path: Path) -> None:
    data = made(tmp_path)
    flagged = read_flagged(data, "placeholder-answer")
    rows = {split: open_rows(data.path / f"{split}.jsonl") for split in flagged}
    assert [row.answer for split in flagged for row in rows[split].at(sorted(flagged[split]))] == ["TODO", "TODO"]
    with pytest.raises(Unreadable, match="flags no row"):
        read_flagged(data, "empty-answer")
    with pytest.raises(Unreadable, match="no-such-check"):
        read_flagged(data, "no-such-check")


def test_a_version_of_a_version_keeps_earlier_changes(tmp_path: Path) -> None:
    data, folder = made(tmp_path, fix=("control-characters",)), tmp_path / "drafts"
    draft = Draft(data, folder)
    rows = rows_of(data)
    draft.decide(rows["parts.jsonl:2"], "drop")
    draft.decide(rows["parts.jsonl:6"], "edit", prompt="What is part 5 for?", answer="It holds a golden lever.")
    assert [line["decision"] for line in draft.changes] == ["drop", "edit"]
    assert [line["decision"] for line in Draft(data, folder).changes] == ["drop", "edit"]  # another studio finds them
    before = answers_of(data)
    second = make_version(tmp_path, draft, "second")
    assert "It holds a golden lever." in answers_of(second)
    assert "It holds a golden lever." not in answers_of(data) == before
    assert draft.changes == []

    again = Draft(second, folder)
    assert again.refusal is None
    assert again.changes == []
    changed = rows_of(second)["parts.jsonl:6"]
    again.decide(changed, "edit", prompt=changed.prompt, answer="It holds a silver lever.")
    assert len(again.changes) == 1
    third = make_version(tmp_path, again, "third")
    assert rows_of(third)["parts.jsonl:6"].answer == "It holds a silver lever."
    assert rows_of(third).keys() == rows_of(data).keys() - {"parts.jsonl:2"}
    assert len(list(folder.iterdir())) == 2  # the tables of both versions
    (folder / f"review-of-{second.fingerprint[:16]}.jsonl").unlink()
    assert "review table that is not kept here" in (Draft(second, folder).refusal or "")


def test_sets_with_the_same_examples_have_tables_of_their_own(tmp_path: Path) -> None:
    data = made(tmp_path)
    shutil.copytree(data.path, data.path.with_name("same"))
    same, folder = summary(tmp_path, "same"), tmp_path / "drafts"
    assert same.fingerprint == data.fingerprint
    one, other = Draft(data, folder), Draft(same, folder)
    one.decide(rows_of(data)["parts.jsonl:2"], "drop")
    other.decide(rows_of(same)["parts.jsonl:3"], "drop")
    assert [line["source"] for line in Draft(data, folder).changes] == ["parts.jsonl:2"]
    assert [line["source"] for line in Draft(same, folder).changes] == ["parts.jsonl:3"]


def test_what_is_decided_while_a_version_is_made_stays_to_be_made(tmp_path: Path) -> None:
    data, folder = made(tmp_path, fix=("control-characters",)), tmp_path / "drafts"
    draft, rows, new = Draft(data, folder), rows_of(data), tmp_path / "prepared" / "second"
    draft.decide(rows["parts.jsonl:2"], "drop")
    draft.decide(rows["parts.jsonl:3"], "drop")
    with draft.making(new):
        assert draft.is_making
        with pytest.raises(DataError, match="a new version is being made"), draft.making(new):
            pass
        words = draft.freeze(new)
        draft.decide(rows["parts.jsonl:3"], "edit", prompt="p", answer="It is a lever.")
        draft.decide(rows["parts.jsonl:4"], "drop")
        prepare(draft.sources(), new, PrepareConfig(like=str(data.path)), review=Path(words[-1].removeprefix("--review=")))
        draft.made(new)
    assert not draft.is_making
    second = summary(tmp_path, "second")
    assert rows_of(second).keys() == rows.keys() - {"parts.jsonl:2", "parts.jsonl:3"}
    for left in (draft, Draft(data, folder)):
        assert [(line["source"], line["decision"]) for line in left.changes] == [("parts.jsonl:3", "edit"), ("parts.jsonl:4", "drop")]
    assert Draft(second, folder).refusal is None
    assert Draft(second, folder).changes == []


def test_the_page_makes_what_was_decided_when_its_button_was_pressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, folder = made(tmp_path, fix=("control-characters",)), tmp_path / "drafts"
    draft, rows, new = Draft(data, folder), rows_of(data), tmp_path / "prepared" / "second"
    draft.decide(rows["parts.jsonl:2"], "drop")

    async def ask(words: list[str]) -> None:
        assert draft.is_making
        draft.decide(rows["parts.jsonl:3"], "drop")
        review = next(Path(word.removeprefix("--review=")) for word in words if word.startswith("--review="))
        prepare(draft.sources(), new, PrepareConfig(like=str(data.path)), review=review)

    ui = Mock()
    monkeypatch.setattr(data_version, "ask", ask)
    monkeypatch.setattr(data_version, "ui", ui)
    card = Mock(draft=draft)
    card.name, card.studio.library.data_dir = "second", tmp_path / "prepared"
    asyncio.run(data_version.ChangesCard._make(card))
    ui.navigate.to.assert_called_once_with("/data?set=second")
    assert rows_of(summary(tmp_path, "second")).keys() == rows.keys() - {"parts.jsonl:2"}
    assert [line["source"] for line in draft.changes] == ["parts.jsonl:3"]


def test_a_version_that_failed_leaves_the_draft_as_it_was(tmp_path: Path) -> None:
    data, folder = made(tmp_path), tmp_path / "drafts"
    draft, new = Draft(data, folder), tmp_path / "prepared" / "second"
    draft.decide(rows_of(data)["parts.jsonl:2"], "drop")
    with suppress(OSError), draft.making(new):
        draft.freeze(new)
        raise OSError("the disk is full")
    assert not draft.is_making
    assert list(folder.iterdir()) == [draft.table]
    assert len(draft.changes) == 1


def test_a_source_that_is_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path is relative to where it was prepared, and the studio is elsewhere."""
    monkeypatch.chdir(tmp_path)
    made(Path())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    draft = Draft(summary(tmp_path, "parts"), tmp_path / "drafts")
    assert draft.sources() == ["parts.jsonl"]
    draft.freeze(tmp_path / "prepared" / "second")
    (elsewhere / "parts.jsonl").write_text('{"question": "q", "answer": "a"}\n', encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(DataError, match="the source has changed, or is another file"):
        draft.freeze(tmp_path / "prepared" / "third")


def test_a_change_is_taken_back(tmp_path: Path) -> None:
    data = made(tmp_path)
    draft = Draft(data, tmp_path / "drafts")
    row = open_rows(data.path / "train.jsonl").at([0])[0]
    draft.decide(row, "drop")
    line = draft.decision(row)
    assert line is not None
    draft.forget(line["id"])
    assert draft.decision(row) is None
    with pytest.raises(DataError, match="answer is empty"):
        draft.decide(row, "edit", prompt="p", answer=" ")
    with pytest.raises(DataError, match="half of a character"):
        draft.decide(row, "edit", prompt="p", answer="\ud800")


def test_the_command_takes_the_settings_over(tmp_path: Path) -> None:
    data = made(tmp_path, seed=7, drop=("near-duplicates",), weights={"parts.jsonl": 2.0}, test_fraction=0.2)
    words = Draft(data, tmp_path).command(tmp_path / "new")
    assert {"--seed=7", "--drop=near-duplicates", "--weight=parts.jsonl=2.0", "--test-fraction=0.2", f"--like={data.path}"} <= set(words)
    assert not [word for word in words if word.startswith("--validation-fraction")]


def test_sources_that_are_not_known_are_refused(tmp_path: Path) -> None:
    make_data(tmp_path / "prepared", "faq")
    assert "sources are not known" in (Draft(summary(tmp_path, "faq"), tmp_path).refusal or "")
    manifest = tmp_path / "prepared" / "faq" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "sources": [{"path": "--out=elsewhere"}]}), encoding="utf-8")
    assert "sources are not known" in (Draft(summary(tmp_path, "faq"), tmp_path).refusal or "")


@pytest.mark.parametrize("name", ["", "../faq", "a/b", ".hidden", "-x", "a b", "x" * 101])
def test_a_name_of_a_version_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="the name"):
        check_name(name, tmp_path)


def test_a_free_name_counts_on(tmp_path: Path) -> None:
    data = made(tmp_path)
    assert free_name(data, tmp_path / "prepared") == "parts-2"
    (tmp_path / "prepared" / "parts-2").mkdir()
    assert free_name(data, tmp_path / "prepared") == "parts-3"
    with pytest.raises(DataError, match="none is ever overwritten"):
        check_name("parts-2", tmp_path / "prepared")


def test_what_a_page_would_change_is_not_edited(tmp_path: Path) -> None:
    def row(answer: str) -> Any:
        file = tmp_path / "train.jsonl"
        file.write_text(json.dumps({"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": answer}]}) + "\n")
        return open_rows(file).at([0])[0]

    assert editable(row("long " * 5000)) == ("p", "long " * 5000)
    assert editable(row("\x00")) is None
    assert editable(row("a\r\nb")) is None
