"""Seed tasks become one example of each instance; instances of a task stay together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data import load_prepared, prepare, recognise
from tunesmith.data.importers import IMPORTERS, find_importer
from tunesmith.data.reading.readers import read_rows
from tunesmith.errors import DataError


def task(instruction: str, *instances: Any) -> dict[str, Any]:
    return {"id": "s", "name": "n", "instruction": instruction, "instances": list(instances), "is_classification": False}


TASKS = [
    task("Use {braces} and [brackets].", {"input": "", "output": "Done."}),
    task("Name the opposite.", {"input": "night", "output": "day"}, {"input": "left", "output": "right"}),
]


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("seeds.jsonl", "".join(json.dumps(one) + "\n" for one in TASKS), (":1", ":2#1", ":2#2")),
        ("seeds.json", json.dumps(TASKS, indent=1), ("#1", "#2#1", "#2#2")),
    ],
)
def test_one_row_an_instance(tmp_path: Path, name: str, content: str, places: tuple[str, ...]) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    assert find_importer(file) is IMPORTERS["seed-tasks"]
    rows = read_rows(file)
    assert [row.source for row in rows] == [f"{name}{place}" for place in places]
    assert [(row.values["instruction"], row.values["input"], row.values["output"]) for row in rows] == [
        ("Use {braces} and [brackets].", "", "Done."),
        ("Name the opposite.", "night", "day"),
        ("Name the opposite.", "left", "right"),
    ]
    assert rows[1].group == rows[2].group != rows[0].group
    layout = recognise(rows, PrepareConfig())
    assert (str(layout), layout.unused) == (
        "instruction + input -> prompt, output -> completion (Alpaca)", ("id", "name", "is_classification"),
    )  # fmt: skip


def test_a_task_without_instances_is_named(tmp_path: Path) -> None:
    file = tmp_path / "seeds.jsonl"
    tasks = [*(task(f"Say {n}.", {"input": "", "output": f"{n}!"}) for n in range(20)), task("Lost")]
    file.write_text("".join(json.dumps(one) + "\n" for one in tasks), encoding="utf-8")
    with pytest.raises(DataError, match=r"seeds.jsonl:21: the column 'instances' is no list"):
        prepare([file], tmp_path / "stopped", PrepareConfig())
    prepared = load_prepared(prepare([file], tmp_path / "out", PrepareConfig(on_invalid="drop")).directory)
    assert len(prepared.train) + len(prepared.validation) + len(prepared.test) == 20


@pytest.mark.parametrize(
    "line",
    ['{"instruction": "x", "instances": 3}', '{"instances": [{"output": "y"}]}', '{"instruction": "x", "instances": []}', "[3]", '{"a'],
)
def test_what_only_looks_like_it_is_left_to_the_tables(tmp_path: Path, line: str) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(line + "\n", encoding="utf-8")
    assert find_importer(file) is None
