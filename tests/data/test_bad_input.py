"""Whatever a file holds: a clear error with its place, or rows that are counted as unusable; in bounded memory, nothing left behind."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.data.reading.test_sources import ROWS, consume, places, refused, slow_peak, write
from tunesmith.config import PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import to_examples
from tunesmith.data.parsing import delimited, formats, json_text, text
from tunesmith.data.parsing.delimited import read_delimited
from tunesmith.data.parsing.json_text import read_json_document, read_json_lines
from tunesmith.data.parsing.text import decoded
from tunesmith.data.reading.readers import read_rows
from tunesmith.errors import DataError

# --- too long -----------------------------------------------------------------------------------------------------------


def two_gigabytes(begin: bytes) -> Iterator[bytes]:
    yield begin
    yield from (b"x" * 2**20 for _ in range(2**11))


@pytest.mark.parametrize(
    ("begin", "read", "what"),
    [
        (b'{"q": 1}\n{"q": "', read_json_lines, "faq:2: the line that begins here is longer"),
        (b'[{"q": 1},\n{"q": "', read_json_document, "faq:2: the item that begins here is longer"),
        (b'q,a\n1,"', lambda texts, label: read_delimited(texts, label, ","), "faq:2: the line that begins here is longer"),
        (b'{"q": "', read_json_document, "faq: one JSON object of over"),
    ],
)
def test_two_gigabytes_without_a_line_break(begin: bytes, read: Callable[..., Iterator[object]], what: str) -> None:
    def run() -> None:
        with pytest.raises(DataError, match=what):
            consume(read(decoded(two_gigabytes(begin), "faq", "utf-8"), "faq"))

    assert slow_peak(run) < 250_000_000


def test_a_record_of_many_short_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An opening quote without its closing one takes in the rest of the file."""
    monkeypatch.setattr(delimited, "LONGEST_LINE", 10_000)
    error = refused(write(tmp_path / "faq.csv", 'q,a\nx,y\n"open,z\n' + "more,rows\n" * 2_000))
    assert (error.place, error.found) == ("faq.csv:3", "the record that begins here is longer than 16,777,216 characters")


def test_documents_that_are_held_whole_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "LARGEST_TEXT", 100)
    assert refused(write(tmp_path / "book.txt", "word " * 50)).found.startswith("a text of over 100 characters")
    monkeypatch.setattr(json_text, "LARGEST_OBJECT", 100)
    error = refused(write(tmp_path / "faq.json", json.dumps({"data": [{"q": "x" * 100}]})))
    assert error.remedy == "write the list by itself, or one object a line as faq.jsonl; if it is that already, rename it"
    assert places(write(tmp_path / "list.json", json.dumps([{"q": "x" * 100}]))) == ["list.json#1"]


# --- not text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".txt"])
def test_nul_bytes(tmp_path: Path, suffix: str) -> None:
    error = refused(write(tmp_path / f"faq{suffix}", b'[{"q": "a"},\n{"q": "b\0c"}]'))
    assert (error.place, error.found) == (f"faq{suffix}:2", "character 21 is NUL, which no text holds")


def test_a_wrong_byte_far_into_the_file_is_named_by_line_and_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = '{"q": "é"}\n' * 5_000
    monkeypatch.setattr("tunesmith.data.parsing.streams.PIECE_BYTES", 1_000)  # so that characters are cut in two
    assert len(places(write(tmp_path / "good.jsonl", lines))) == 5_000
    error = refused(write(tmp_path / "faq.jsonl", lines.encode() + "naïve".encode("cp1252")))
    assert error.place == "faq.jsonl:5001"
    assert error.found.startswith("byte 0xef at offset 60,002 is not UTF-8")


def test_lone_surrogates_are_rows_that_cannot_be_used(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "faq.jsonl", '{"question": "\\ud800", "answer": "a"}\n' + ROWS))
    result = to_examples(rows, recognise(rows, PrepareConfig()), PrepareConfig(on_invalid="drop"))
    assert (len(result.examples), [one.problem for one in result.invalid]) == (2, ["broken character in prompt"])
    named = read_rows(write(tmp_path / "names.jsonl", '{"\\ud800": 1}'))
    with pytest.raises(DataError, match=r"the columns \? are no layout"):
        recognise(named, PrepareConfig())
    beside = read_rows(write(tmp_path / "beside.jsonl", '{"question": "a", "answer": "b", "\\udfff": 1}'))
    assert recognise(beside, PrepareConfig()).unused == ("?",)


# --- broken -------------------------------------------------------------------------------------------------------------


def test_json_that_breaks_in_the_middle(tmp_path: Path) -> None:
    items = ",\n".join(['{"q": "a", "n": [1.5, true, null]}'] * 40_000)
    error = refused(write(tmp_path / "faq.json", f'[{items},\n{{"q": "b" "c"}},\n{items}]'))
    assert (error.place, error.found.partition(":")[0]) == ("faq.json:40001", "broken JSON at column 11 (Expecting ',' delimiter)")
    assert refused(write(tmp_path / "cut.json", f"[{items}")).found.startswith("broken JSON at column 35 (Expecting ',' or ']')")
    assert refused(write(tmp_path / "more.json", f"[{items}] []")).found.startswith("broken JSON at column 37 (Extra data)")
    assert refused(write(tmp_path / "comma.json", '[{"q": 1},]')).found.startswith("broken JSON at column 11 (Expecting value)")
    assert refused(write(tmp_path / "colon.json", '[{"q": 1} : {}]')).found.startswith("broken JSON at column 11 (Expecting")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_json_pieces_may_be_cut_anywhere(size: int) -> None:
    records = [{"q": 'é\\"\n', "n": -1.5e-3, "o": {"t": True, "f": [False, None]}}, {}, {"long": "x" * 100}]
    content = json.dumps(records, indent=1) + "\n"
    pieces = (content[start : start + size] for start in range(0, len(content), size))
    assert list(read_json_document(pieces, "x.json")) == records


def test_json_lines_of_lists(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "faq.jsonl", '["How?", "So."]\n["Why?", "Thus."]\n'))
    assert (error.place, error.found) == ("faq.jsonl:1", "['How?', 'So.'], a list")
    assert error.remedy.startswith("write each line as an object with named values")


def test_ragged_csv(tmp_path: Path) -> None:
    many = read_rows(write(tmp_path / "faq.csv", "question,answer\nHow?,So.\nWhy?,Thus, I think.\nWhen?,Now.\n"))
    layout = recognise(many, PrepareConfig())
    with pytest.raises(DataError) as caught:
        to_examples(many, layout, PrepareConfig())
    assert (caught.value.place, caught.value.found) == (
        "faq.csv:3",
        "it has 3 values for 2 columns, the first of 1 unusable row out of 3 (1 more values than columns)",
    )
    assert caught.value.expected == 'at most 2, a value that holds a separator inside "quotes"'
    assert "--on-invalid drop" in caught.value.remedy
    dropped = to_examples(many, layout, PrepareConfig(on_invalid="drop"))
    assert [(one.source, one.problem) for one in dropped.invalid] == [("faq.csv:3", "more values than columns")]
    assert [one.source for one in dropped.examples] == ["faq.csv:2", "faq.csv:4"]
    rows = read_rows(write(tmp_path / "short.csv", "question,answer\nHow?,So.\nWhy?\n"))
    result = to_examples(rows, recognise(rows, PrepareConfig()), PrepareConfig(on_invalid="drop"))
    assert [(one.source, one.problem) for one in result.invalid] == [("short.csv:3", "missing completion")]


def test_duplicate_columns(tmp_path: Path) -> None:
    assert refused(write(tmp_path / "faq.csv", "a,b,a\n1,2,3\n")).found == "two columns are called 'a'"
    table = pyarrow.Table.from_arrays([pyarrow.array(["x"]), pyarrow.array(["y"])], names=["a", "a"])
    parquet.write_table(table, tmp_path / "faq.parquet")
    assert refused(tmp_path / "faq.parquet").found == "two columns are called 'a'"


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_corrupt_and_truncated_parquet(tmp_path: Path, compression: str) -> None:
    table = pyarrow.table({"q": [f"question {number}" for number in range(2_000)], "n": list(range(2_000))})
    parquet.write_table(table, tmp_path / "whole.parquet", compression=compression)
    whole = (tmp_path / "whole.parquet").read_bytes()
    for length in (3, 100, len(whole) // 2, len(whole) - 1):
        assert "not readable as Parquet" in refused(write(tmp_path / "cut.parquet", whole[:length])).found
    shuffled = whole[:200] + bytes(range(256)) * 4 + whole[1_224:]
    try:
        read_rows(write(tmp_path / "bad.parquet", shuffled))
    except DataError as error:
        assert "not readable as Parquet" in error.found  # noqa: PT017 - uncompressed numbers may be any bytes


def test_parquet_gives_class_names_for_their_numbers(tmp_path: Path) -> None:
    features = {"label": {"names": ["card_arrival", "card_lost"], "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}
    table = pyarrow.table({"text": ["Where is it?", "Gone!", "?"], "label": [0, 1, -1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, tmp_path / "intents.parquet")
    assert [row.values["label"] for row in read_rows(tmp_path / "intents.parquet")] == ["card_arrival", "card_lost", None]


def test_corrupt_gzip(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress("".join(f'{{"q": {number}}}\n' for number in range(5_000)).encode()))
    packed[len(packed) // 2] ^= 0xFF
    assert refused(write(tmp_path / "faq.jsonl.gz", bytes(packed))).place.startswith("faq.jsonl.gz")
    assert refused(write(tmp_path / "cut.jsonl.gz", bytes(packed[:-4]))).place.startswith("cut.jsonl.gz")


def test_a_wall_of_open_brackets(tmp_path: Path) -> None:
    for name in ("deep.json", "deep.jsonl"):
        assert refused(write(tmp_path / name, "[" * 1_000_000)).place == f"{name}:1"


def test_limits_are_those_that_are_said() -> None:
    assert text.LONGEST_LINE == json_text.LONGEST_LINE == delimited.LONGEST_LINE == 16 * 2**20
