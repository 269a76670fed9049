"""A prepared directory is read back to the letter, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.storing.prepared import example_from_record, example_to_record, load_prepared
from tunesmith.errors import DataError
from tunesmith.types import Example, Message

texts = st.text(st.characters(exclude_categories=["Cs"]))
messages = st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=texts)
heads = {"id": texts, "source": texts, "group": texts}
conversations = st.builds(
    Example, **heads, messages=st.lists(messages, min_size=1, max_size=4).map(tuple), fields=st.dictionaries(texts, texts, max_size=2)
)
raw_texts = st.builds(Example, **heads, text=texts)


@given(conversations | raw_texts)
def test_record_round_trip(example: Example) -> None:
    line = json.dumps(example_to_record(example), ensure_ascii=False).encode("utf-8")
    assert b"\n" not in line
    assert example_from_record(json.loads(line)) == example


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    rows = rows_from_records({"question": f"q\u2028{number}", "answer": f"a\n{number}"} for number in range(20))
    return prepare(None, tmp_path / "out", PrepareConfig(), rows=rows).directory


def edit_manifest(directory: Path, **changes: object) -> None:
    file = directory / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_load(directory: Path) -> None:
    prepared = load_prepared(str(directory))
    assert (len(prepared.train), len(prepared.validation), len(prepared.test)) == (17, 1, 2)
    assert all(example.reference.startswith("a\n") for example in prepared.train)


def test_not_a_prepared_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a prepared directory; expected a directory with a manifest\.json") as caught:
        load_prepared(tmp_path)
    assert caught.value.remedy == "make one with `tunesmith prepare FILES --out DIR`"
    with pytest.raises(DataError, match="there is no such directory"):
        load_prepared(tmp_path / "nowhere")
    (tmp_path / "faq.jsonl").write_text("{}")
    with pytest.raises(DataError, match="not a prepared directory"):
        load_prepared(tmp_path / "faq.jsonl")


def test_newer_version(directory: Path) -> None:
    edit_manifest(directory, schema_version=2)
    with pytest.raises(DataError, match="schema version 2; expected at most 1"):
        load_prepared(directory)


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_broken_manifest(directory: Path, content: str) -> None:
    (directory / "manifest.json").write_text(content)
    with pytest.raises(DataError, match="not a manifest"):
        load_prepared(directory)


def test_split_file_edited_or_gone(directory: Path) -> None:
    file = directory / "train.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("a\\n", "b\\n", 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"train.jsonl: it was changed after it was prepared.*edit the source file instead"):
        load_prepared(directory)
    file.unlink()
    with pytest.raises(DataError, match=r"train.jsonl: the file is gone"):
        load_prepared(directory)


@pytest.mark.parametrize("changes", [{"schema_version": "one"}, {"splits": {}}, {"splits": {"train": {}}}, {"splits": None}])
def test_a_manifest_of_something_else(directory: Path, changes: dict[str, object]) -> None:
    edit_manifest(directory, **changes)
    with pytest.raises(DataError, match=r"manifest\.json: not a manifest"):
        load_prepared(directory)
