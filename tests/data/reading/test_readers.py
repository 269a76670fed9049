"""Every file format gives rows with their place; every way a file can be wrong is one paragraph."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tunesmith.data.parsing.delimited import read_delimited
from tunesmith.data.parsing.faults import require_whole
from tunesmith.data.parsing.json_text import read_json_lines
from tunesmith.data.parsing.text import lines
from tunesmith.data.reading.readers import READERS, read_rows, rows_from_dataframe, rows_from_records
from tunesmith.errors import AssetError, ConfigError, DataError

CHINESE = [
    {"question": "如何重置我的密码？", "answer": "请打开设置页面，然后点击重置密码，按照提示完成操作。"},
    {"question": "发票在哪里下载？", "answer": "登录后在订单页面可以下载电子发票。"},
]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def refused(path: Path | str, **options: str) -> DataError:
    with pytest.raises(DataError) as caught:
        read_rows(path, **options)
    return caught.value


# --- what is read -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
def test_json_lines_name_the_line(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"faq{suffix}", '{"q": "a"}\n\n{"q": "b\\nc"}')
    rows = read_rows(file)
    assert [(dict(row.values), row.source) for row in rows] == [({"q": "a"}, f"faq{suffix}:1"), ({"q": "b\nc"}, f"faq{suffix}:3")]


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"data": rows, "tags": []}, lambda rows: {"v": 1, "rows": rows}])
def test_json_documents_name_the_item(tmp_path: Path, wrap) -> None:
    file = write(tmp_path / "faq.json", json.dumps(wrap([{"q": "a"}, {"q": "b"}]), indent=2))
    assert [(row.values["q"], row.source) for row in read_rows(file)] == [("a", "faq.json#1"), ("b", "faq.json#2")]


def test_csv_names_the_line_a_record_begins_on(tmp_path: Path) -> None:
    file = write(tmp_path / "faq.csv", 'question, answer\r\n"two\r\nlines, quoted ""so""",yes\r\n\r\nlast,"no"\r\n')
    rows = read_rows(file)
    assert [(dict(row.values), row.source) for row in rows] == [
        ({"question": 'two\r\nlines, quoted "so"', "answer": "yes"}, "faq.csv:2"),
        ({"question": "last", "answer": "no"}, "faq.csv:5"),
    ]


def test_tsv_keeps_commas(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "faq.tsv", "q\ta\nx, y\tz\n"))
    assert dict(rows[0].values) == {"q": "x, y", "a": "z"}


def test_csv_short_record_and_unnamed_column(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path / "faq.csv", ",q,a\n0,x\n"))
    assert dict(rows[0].values) == {"column 1": "0", "q": "x"}


def test_csv_field_longer_than_the_modules_limit(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    rows = read_rows(write(tmp_path / "long.csv", f"q,a\n{'x' * 200_000},y\n"))
    assert len(rows[0].values["q"]) == 200_000
    assert csv.field_size_limit() == before


def test_parquet_names_the_item(tmp_path: Path) -> None:
    file = tmp_path / "year=2020" / "x.parquet"
    file.parent.mkdir()
    parquet.write_table(pyarrow.table({"q": ["a", "b"], "m": [[{"role": "user"}], None]}), file)
    rows = read_rows(file)
    assert [(dict(row.values), row.source) for row in rows] == [
        ({"q": "a", "m": [{"role": "user"}]}, "x.parquet#1"),
        ({"q": "b", "m": None}, "x.parquet#2"),
    ]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
def test_byte_order_mark_is_no_part_of_the_text(tmp_path: Path, name: str) -> None:
    text = {"x.jsonl": '{"q": "ü"}', "x.json": '[{"q": "ü"}]', "x.csv": "q\nü"}[name]
    assert dict(read_rows(write(tmp_path / name, b"\xef\xbb\xbf" + text.encode()))[0].values) == {"q": "ü"}


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_other_encodings_on_request(tmp_path: Path, encoding: str) -> None:
    text = "\n".join(json.dumps(record, ensure_ascii=False) for record in CHINESE)
    rows = read_rows(write(tmp_path / "faq.jsonl", text.encode(encoding)), encoding=encoding)
    assert [dict(row.values) for row in rows] == CHINESE


def test_records_and_dataframes() -> None:
    import pandas

    frame = pandas.DataFrame({"q": ["a", None], "n": [1.5, float("nan")], "d": [pandas.Timestamp("2024-01-01"), pandas.NaT]})
    rows = rows_from_dataframe(frame, name="frame")
    assert [row.source for row in rows] == ["frame#1", "frame#2"]
    assert rows[0].values["q"] == "a"
    assert rows[1].values == {"q": None, "n": None, "d": None}
    assert rows_from_records([{"q": "a"}])[0].source == "records#1"


def test_dataframe_arrays_become_lists() -> None:
    import numpy
    import pandas

    frame = pandas.DataFrame({"messages": [numpy.array([{"role": "user"}], dtype=object)], "n": [numpy.int64(3)]})
    values = rows_from_dataframe(frame)[0].values
    assert values == {"messages": [{"role": "user"}], "n": 3}
    assert type(values["messages"]) is list


# --- laws ---------------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
tables = st.lists(st.fixed_dictionaries({"question": texts, "answer": texts}), min_size=1, max_size=5)


@given(tables)
def test_json_lines_give_back_any_text(records: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    assert [dict(row.values) for row in read_json_lines([text], "x.jsonl")] == records


@given(tables, st.sampled_from([",", "\t"]))
def test_csv_gives_back_any_text(records: list[dict[str, str]], delimiter: str) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, ["question", "answer"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    assert [dict(row.values) for row in read_delimited([buffer.getvalue()], "x.csv", delimiter)] == records


@given(tables)
def test_parquet_gives_back_any_text(records: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(records), file)
        assert [dict(row.values) for row in read_rows(file)] == records


# --- what is refused ----------------------------------------------------------------------------------------------------


def test_broken_json_line(tmp_path: Path) -> None:
    lines = ['{"q": "a"}'] * 16 + ['{"q": "b}'] + ['{"q": "a"}']
    error = refused(write(tmp_path / "faq.jsonl", "\n".join(lines)))
    assert error.place == "faq.jsonl:17"
    assert error.found == """broken JSON at column 7 (Unterminated string starting at): '{"q": "b}'"""
    assert error.remedy == "correct the line"


@pytest.mark.parametrize(
    ("line", "found"), [("[1, 2]", "[1, 2], a list"), ('"x"', "'x', a string"), ("3", "3, a number"), ("null", "None, a constant")]
)
def test_json_line_that_is_no_object(tmp_path: Path, line: str, found: str) -> None:
    error = refused(write(tmp_path / "faq.jsonl", f'{{"q": "a"}}\n{line}\n'))
    assert error.place == "faq.jsonl:2"
    assert error.found == found


@pytest.mark.parametrize("content", ['[{"q": "a"}]', '{\n  "q": "a"\n}'])
def test_json_document_called_jsonl(tmp_path: Path, content: str) -> None:
    assert "rename it to faq.json" in refused(write(tmp_path / "faq.jsonl", content)).remedy


def test_json_lines_called_json(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "faq.json", '{"q": "a"}\n{"q": "b"}\n'))
    assert (error.place, "rename it to faq.jsonl" in error.remedy) == ("faq.json:2", True)


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5_000])
def test_json_beyond_the_parser(tmp_path: Path, content: str) -> None:
    error = refused(write(tmp_path / "faq.json", content))
    assert error.place == "faq.json:1"


def test_json_document_without_rows(tmp_path: Path) -> None:
    two = refused(write(tmp_path / "two.json", '{"questions": ["a"], "answers": ["b"]}'))
    assert two.found == "an object with 2 lists (its keys: questions, answers)"
    item = refused(write(tmp_path / "item.json", '[{"q": "a"}, "b"]'))
    assert (item.place, item.found) == ("item.json#2", "'b', a string")
    assert refused(write(tmp_path / "number.json", "3")).found == "3, a number"
    assert refused(write(tmp_path / "none.json", "[]")).found == "it holds no rows"


def test_csv_faults_name_the_record(tmp_path: Path) -> None:
    open_quote = refused(write(tmp_path / "open.csv", 'q,a\nx,y\n"never closed,z\nmore,rows\n'))
    assert open_quote.place == "open.csv:3"
    stray = refused(write(tmp_path / "stray.csv", 'q,a\n"x" y,z\n'))
    assert stray.place == "stray.csv:2"
    (many,) = read_rows(write(tmp_path / "many.csv", "q,a\nx,y, and z\n"))
    assert (many.source, dict(many.values)) == ("many.csv:2", {})
    with pytest.raises(DataError, match=r"many.csv:2: it has 3 values for 2 columns"):
        require_whole(many)
    twice = refused(write(tmp_path / "twice.csv", "q,q\nx,y\n"))
    assert twice.found == "two columns are called 'q'"
    commas = refused(write(tmp_path / "commas.tsv", "q,a\nx,y\n"))
    assert commas.found == "a single column 'q,a', which seems to be separated by ','"
    assert refused(write(tmp_path / "header.csv", "q,a\n")).found == "it holds no rows"


def test_not_utf8_names_line_offset_guess_and_remedy(tmp_path: Path) -> None:
    text = '{"question": "Hi?", "answer": "Hello."}\n' * 2 + "\n".join(json.dumps(record, ensure_ascii=False) for record in CHINESE)
    error = refused(write(tmp_path / "faq.jsonl", text.encode("gb18030")))
    assert error.place == "faq.jsonl:3"
    assert error.found == "byte 0xc8 at offset 94 is not UTF-8 (the file looks like gb18030)"
    assert error.remedy == "read it with `--encoding gb18030`, or save it as UTF-8"
    assert [dict(row.values) for row in read_rows(tmp_path / "faq.jsonl", encoding="gb18030")][2:] == CHINESE


def test_not_utf8_and_no_guess(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "faq.csv", bytes(range(256)) * 4))
    assert error.remedy == "save it as UTF-8, or name its encoding with `--encoding NAME`"


def test_utf16_without_a_mark_is_valid_utf8_yet_refused(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "faq.csv", "question,answer\nHow are you today?,Fine\n".encode("utf-16-le")))
    assert "is NUL" in error.found
    assert "`--encoding utf_16_le`" in error.remedy


def test_unknown_encoding_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'klingon' is not a text encoding"):
        read_rows(write(tmp_path / "faq.csv", "q\na\n"), encoding="klingon")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b" \n\n"])
@pytest.mark.parametrize("suffix", READERS)
def test_empty_file(tmp_path: Path, suffix: str, content: bytes) -> None:
    error = refused(write(tmp_path / f"faq{suffix}", content))
    assert (error.place, error.found) == (f"faq{suffix}", "the file is empty")


def test_missing_file_suggests_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "faq_final.jsonl", "{}")
    error = refused(tmp_path / "faq_finall.jsonl")
    assert error.found == "there is no such file"
    assert error.remedy == f"correct the path, perhaps to {tmp_path / 'faq_final.jsonl'}"
    assert "there is no folder" in refused(tmp_path / "nowhere" / "faq.jsonl").remedy


def test_unknown_suffix_lists_the_known_ones(tmp_path: Path) -> None:
    error = refused(write(tmp_path / "book.docx", "Call me Ishmael."))
    assert error.found == "files of the kind '.docx' are not read"
    assert error.expected == "one of .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt"
    assert "has no suffix" in refused(write(tmp_path / "book", "x")).found


def test_not_parquet(tmp_path: Path) -> None:
    assert "not readable as Parquet" in refused(write(tmp_path / "x.parquet", "PAR1 no")).found


def test_split_of_a_file(tmp_path: Path) -> None:
    assert "a file has no split 'train'" in refused(write(tmp_path / "x.csv", "q\na\n"), split="train").found


def test_a_missing_file_in_a_folder_is_not_taken_for_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    assert refused("data/faq").found == "there is no such file"
    assert refused("owner/faq.jsonl").found == "there is no such file"


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def unreachable(name: str) -> list[str]:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub")

    monkeypatch.setattr(datasets, "get_dataset_config_names", unreachable)
    with pytest.raises(AssetError, match="owner/name: the data set could not be had from the hub"):
        read_rows("owner/name")


@pytest.mark.parametrize("texts", [["a\r", "\nb\r", "c"], ["a\r\nb\rc"], ["a", "\r", "\n", "b", "\rc"]])
def test_a_line_end_may_be_cut_in_two(texts: list[str]) -> None:
    assert list(lines(texts, "x")) == ["a\r\n", "b\r", "c"]
