"""What hosted tuners are given, to the letter, and what is refused before they would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.publishing.hosted import problem_of, write_for_tuner
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import DataError


def prepared_from(records: list[dict[str, Any]], out: Path) -> PreparedData:
    config = PrepareConfig(test_fraction=0.0, validation_fraction=0.0)
    return prepare(None, out, config, rows=rows_from_records(records))


def lines_of(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_conversations(tmp_path: Path) -> None:
    data = prepared_from([{"question": f"Frage {n}?", "answer": f"é\u2028{n}"} for n in range(12)], tmp_path / "data")
    (file,) = write_for_tuner(data, "openai", tmp_path / "out")
    assert (file.path.name, file.num_examples, file.num_bytes) == ("train.jsonl", 12, file.path.stat().st_size)
    first = data.train[0]
    records = [json.loads(line) for line in file.path.read_bytes().split(b"\n")[:-1]]
    assert records[0] == {"messages": [{"role": "user", "content": first.prompt}, {"role": "assistant", "content": first.reference}]}


def test_preference_pairs(tmp_path: Path) -> None:
    data = prepared_from([{"prompt": f"p{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(10)], tmp_path / "data")
    (file,) = write_for_tuner(data, "together", tmp_path / "out")
    number = data.train[0].prompt[1:]
    assert lines_of(file.path)[0] == {
        "input": {"messages": [{"role": "user", "content": f"p{number}"}]},
        "preferred_output": [{"role": "assistant", "content": f"good {number}"}],
        "non_preferred_output": [{"role": "assistant", "content": f"bad {number}"}],
    }


def test_the_test_split_stays_at_home(tmp_path: Path) -> None:
    records = [{"question": f"q{n} {'abc'[n % 3]}", "answer": f"a{n}"} for n in range(60)]
    data = prepare(None, tmp_path / "data", PrepareConfig(), rows=rows_from_records(records))
    assert len(data.test)
    assert len(data.validation)
    files = write_for_tuner(data, "openai", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["train.jsonl", "validation.jsonl"]
    assert sum(file.num_examples for file in files) == len(data.train) + len(data.validation)


@pytest.mark.parametrize(
    ("records", "tuner", "found"),
    [
        ([{"prompt": f"p{n}", "completion": "c", "label": n % 2 == 0} for n in range(12)], "openai", "judged answers"),
        ([{"text": f"text {n}"} for n in range(12)], "openai", "raw text"),
        ([{"question": f"q{n}", "answer": "a"} for n in range(9)], "openai", "9 training examples"),
    ],
)
def test_what_a_tuner_does_not_take(records: list[dict[str, Any]], tuner: str, found: str, tmp_path: Path) -> None:
    data = prepared_from(records, tmp_path / "data")
    with pytest.raises(DataError, match=found):
        write_for_tuner(data, tuner, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    data = prepared_from([{"question": f"q{n}", "answer": "a"} for n in range(12)], tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="never overwritten"):
        write_for_tuner(data, "openai", tmp_path / "out")


USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"messages": [USER, ANSWER]}, None),
        ({"messages": [{"role": "system", "content": ""}, USER, ANSWER, USER, ANSWER]}, None),
        ({"text": "t"}, None),
        ({"input": {"messages": [USER]}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]}, None),
        ([USER], "not an object"),
        ({"messages": [USER, ANSWER], "text": "t"}, "none of the formats"),
        ({"messages": []}, "no messages"),
        ({"messages": [USER]}, "take turns"),
        ({"messages": [ANSWER, USER, ANSWER]}, "take turns"),
        ({"messages": [USER, USER, ANSWER]}, "take turns"),
        ({"messages": [{"role": "bot", "content": "x"}, ANSWER]}, "known role"),
        ({"messages": [USER, {"role": "assistant", "content": " "}]}, "empty"),
        ({"messages": [{"role": "user", "content": None}, ANSWER]}, "no string"),
        ({"text": ""}, "empty"),
        ({"input": {}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]}, "no messages"),
        ({"input": {"messages": [USER]}, "preferred_output": [], "non_preferred_output": [ANSWER]}, "preferred_output"),
        ({"input": {"messages": [USER, ANSWER]}, "preferred_output": [ANSWER], "non_preferred_output": [ANSWER]}, "take turns"),
    ],
)
def test_problems(record: Any, problem: str | None) -> None:
    found = problem_of(record)
    assert found is None if problem is None else problem in (found or "")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    data = prepared_from([{"question": f"Q{n}?", "answer": f"{n}"} for n in range(12)], tmp_path / "data")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="it cannot be written"):
        write_for_tuner(data, "openai", tmp_path / "file" / "folder" / "out")
