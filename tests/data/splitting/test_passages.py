"""A text file is one document; few long documents are split into consecutive passages, to the letter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.samples import raw
from tunesmith.config import PrepareConfig
from tunesmith.data import prepare, read_rows
from tunesmith.data.splitting.passages import FEWEST_CHARACTERS, PASSAGE_CHARACTERS, Splits, divide, should_divide
from tunesmith.errors import DataError

PARAGRAPH = "It was a dark night.\nThe wind had gone to sleep in the chimney, and nobody spoke.\n\n"
BOOK = "".join(f"{number}. {PARAGRAPH}" for number in range(1, 401))


def joined(splits: Splits) -> str:
    return "".join(one.text or "" for one in (*splits.train, *splits.validation, *splits.test))


def test_a_text_file_is_one_row_to_the_letter(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes("\ufeffCall me Ishmael.\r\n\r\n Some \tyears ago\n".encode())
    (row,) = read_rows(tmp_path / "book.txt")
    assert row.values == {"text": "Call me Ishmael.\r\n\r\n Some \tyears ago\n"}
    assert row.source == "book.txt:1"


def test_a_folder_of_text_files_has_a_row_for_each_and_not_for_each_line(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "books" / "b.txt").write_text("three\nfour\n")
    assert [row.values["text"].split() for row in read_rows(tmp_path / "books")] == [["one", "two"], ["three", "four"]]


def test_one_book(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK, encoding="utf-8")
    prepared = prepare([tmp_path / "book.txt"], tmp_path / "out", PrepareConfig(seed=5))
    held_out = (*prepared.validation, *prepared.test)
    assert prepared.summary().splitlines() == [
        "read 1 row from book.txt: text -> raw text, every token supervised",
        f"kept 1 document, cut into {1 + len(held_out)} passages",
        f"train 1, validation {len(prepared.validation)}, test {len(prepared.test)} (consecutive passages)",
        f"test against training: 0 of {len(prepared.test)} prompts the same, 0 nearly the same; "
        "0 share a run of 13 words, 0 most of their runs",
        "note: fewer than 10 documents, so none is held out whole: of each, the first 85 % trains, the next 5 % validates and the "
        "last 10 % tests, cut between paragraphs (else lines, else words)",
    ]
    assert (prepared.kind, prepared.manifest["kind"]) == ("text", "text")
    parts = Splits(train=prepared.train, validation=prepared.validation, test=prepared.test)
    assert joined(parts) == BOOK
    assert all((one.text or "").endswith("\n\n") for one in (*prepared.train, *held_out)), "cut within a paragraph"
    assert len(prepared.train[0].text or "") == pytest.approx(0.85 * len(BOOK), abs=PASSAGE_CHARACTERS)
    assert all(len(one.text or "") <= PASSAGE_CHARACTERS for one in held_out)
    assert [one.unfinished for one in (*prepared.train, *held_out)] == [True] * len(held_out) + [False]
    lines = BOOK.split("\n")
    for one in held_out:
        assert (one.text or "").startswith(lines[int(one.source.removeprefix("book.txt:")) - 1])
    assert len({one.id for one in held_out}) == len({one.group for one in held_out}) == len(held_out)
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["divided"] == ["book.txt:1"]
    assert (report["counts"]["rows_read"], report["counts"]["examples_kept"]) == (1, 1 + len(held_out))


@given(
    st.lists(st.text(alphabet="ab .\n\r\t\u2028ü", max_size=40), min_size=1, max_size=4),
    st.integers(60, 400),
    st.sampled_from([(0.1, 0.05), (0.0, 0.2), (0.3, 0.0), (0.5, 0.49)]),
)
def test_nothing_is_lost_whatever_the_text(parts: list[str], repeats: int, fractions: tuple[float, float]) -> None:
    text = "x" + "".join(parts) * repeats
    test_fraction, validation_fraction = fractions
    splits = divide([raw(text, "a.jsonl:1")], PrepareConfig(test_fraction=test_fraction, validation_fraction=validation_fraction))
    assert joined(splits) == text
    passages = (*splits.train, *splits.validation, *splits.test)
    assert len(splits.train) == 1
    assert all(passages[i].text for i in range(len(passages)))
    assert [one.unfinished for one in passages] == [True] * (len(passages) - 1) + [False]
    assert all(len(one.text or "") <= PASSAGE_CHARACTERS for one in passages[1:])
    assert not (splits.test and test_fraction == 0)
    assert not (splits.validation and validation_fraction == 0)


def test_a_text_without_a_break_is_cut_anywhere() -> None:
    splits = divide([raw("x" * 20_000, "a.jsonl:1")], PrepareConfig())
    assert [len(one.text or "") for one in splits.test] == [1000, 1000]
    assert [one.source for one in splits.test] == ["a.jsonl:1 from character 18,001", "a.jsonl:1 from character 19,001"]


def test_of_several_books_each_gives_to_every_split() -> None:
    splits = divide([raw(BOOK, "a.txt:1"), raw(BOOK.upper(), "b.txt:1"), raw("A short one.", "c.txt:1")], PrepareConfig())
    assert [one.source for one in splits.train] == ["a.txt:1", "b.txt:1", "c.txt:1"]
    for part in (splits.validation, splits.test):
        assert {one.source.partition(":")[0] for one in part} == {"a.txt", "b.txt"}
    assert splits.train[2] == raw("A short one.", "c.txt:1"), "what is not cut stays as it was"


def test_when_documents_are_cut() -> None:
    config = PrepareConfig()
    assert should_divide([raw("x" * FEWEST_CHARACTERS)], config)
    assert not should_divide([raw("x" * (FEWEST_CHARACTERS - 1))], config)
    assert not should_divide([raw(BOOK, f"{i}") for i in range(10)], config), "ten can be held out whole"
    assert not should_divide([raw(BOOK)], PrepareConfig(test_fraction=0, validation_fraction=0))


def test_a_short_text_alone_cannot_be_held_out(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("Call me Ishmael.", encoding="utf-8")
    prepared = prepare([tmp_path / "note.txt"], tmp_path / "out", PrepareConfig())
    assert (len(prepared.train), len(prepared.validation), len(prepared.test)) == (1, 0, 0)
    assert "note: the test split is empty" in prepared.summary()


def test_an_empty_text_file(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(" \n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"book\.txt: the file is empty"):
        prepare([tmp_path / "book.txt"], tmp_path / "out", PrepareConfig())
