"""From files to a directory: complete or absent, nothing lost on the way, the same again for the same seed."""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data import prepare
from tunesmith.data.preparing.gather import Ledger, gather
from tunesmith.data.reading.readers import rows_from_records
from tunesmith.data.reading.sources import Source
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Row
from tunesmith.workers import Workers

CONFIG = PrepareConfig(seed=123)


def records(count: int, word: str = "question") -> list[dict[str, Any]]:
    return [{"question": f"{word} {number}?", "answer": f"answer {number}"} for number in range(1, count + 1)]


def json_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    return json_lines(tmp_path / "faq.jsonl", records(40))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_five_files_and_what_they_say(tmp_path: Path, faq: Path) -> None:
    prepared = prepare([faq], tmp_path / "out", CONFIG)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "changed.jsonl", "manifest.json", "removed.jsonl", "report.html", "report.json", "test.jsonl", "train.jsonl", "validation.jsonl",
    ]  # fmt: skip
    assert (len(prepared.train), len(prepared.validation), len(prepared.test)) == (32, 2, 6)
    assert prepared.template == "auto"
    assert prepared.summary() == (
        "read 40 rows from faq.jsonl: question -> prompt, answer -> completion (question/answer)\n"
        "kept 40\n"
        "train 32, validation 2, test 6 (seed 123)\n"
        "test against training: 0 of 6 prompts the same, 0 nearly the same; 0 share a run of 13 words, 0 most of their runs"
    )
    manifest = read(tmp_path / "out" / "manifest.json")
    assert manifest == prepared.manifest
    assert manifest["schema_version"] == 1
    assert manifest["settings"] == CONFIG.model_dump(mode="json")
    assert manifest["sources"][0]["sha256"] == hashlib.sha256(faq.read_bytes()).hexdigest()
    assert manifest["sources"][0]["bytes"] == faq.stat().st_size
    for name in ("train", "validation", "test"):
        content = (tmp_path / "out" / f"{name}.jsonl").read_bytes()
        assert manifest["splits"][name]["sha256"] == hashlib.sha256(content).hexdigest()
    assert load_prepared(tmp_path / "out") == prepared


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path, faq: Path) -> None:
    first = prepare([faq], tmp_path / "one", CONFIG)
    assert prepare([str(faq)], tmp_path / "two", CONFIG).fingerprint == first.fingerprint
    assert prepare([faq], tmp_path / "three", PrepareConfig(seed=4)).fingerprint != first.fingerprint


def test_a_row_with_too_many_values_stops_or_is_dropped_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "faq.tsv"
    file.write_text("question\tanswer\n" + "".join(f"Q{n}?\tA{n}.\n" for n in range(20)) + "Why?\tSo\tand so.\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"faq.tsv:22: it has 3 values for 2 columns.*--on-invalid drop"):
        prepare([file], tmp_path / "stopped", PrepareConfig())
    prepare([file], tmp_path / "out", PrepareConfig(on_invalid="drop"))
    (dropped,) = read(tmp_path / "out" / "report.json")["dropped"]
    assert (dropped["problem"], dropped["count"], dropped["rows"][0]["source"]) == ("more values than columns", 1, "faq.tsv:22")


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = [*records(30), {"question": "Question  3?", "answer": "another"}, {"question": "question 1?", "answer": "answer  1 "}]
    rows += [{"question": "a", "answer": ""}, {"question": "b", "answer": 7}, {"question": "c", "answer": ""}]
    rows += [{"question": "", "answer": ""}, {"question": "", "answer": "Did you type something?"}]
    config = PrepareConfig(on_invalid="drop")
    prepared = prepare([json_lines(tmp_path / "faq.jsonl", rows)], tmp_path / "out", config)
    report = read(tmp_path / "out" / "report.json")
    assert report["counts"] == {
        "rows_read": 37, "rows_not_sampled": 0, "rows_dropped": 4, "duplicates_removed": 1, "examples_removed": 0,
        "examples_changed": 0, "examples_kept": 32, "train": 30, "validation": 1, "test": 1,
    }  # fmt: skip
    assert [(one["problem"], one["count"]) for one in report["dropped"]] == [
        ("empty completion", 2), ("completion is not a string", 1), ("blank row", 1),
    ]  # fmt: skip
    assert report["dropped"][0]["rows"][1] == {"source": "faq.jsonl:35", "detail": "the completion (column 'answer') is empty"}
    assert report["duplicates"] == [{"source": "faq.jsonl:32", "duplicate_of": "faq.jsonl:1"}]
    assert report["empty_prompts"] == ["faq.jsonl:37"]
    removed = [json.loads(line) for line in (tmp_path / "out" / "removed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["source"], one["reason"]) for one in removed] == [
        ("faq.jsonl:33", "empty completion"),
        ("faq.jsonl:34", "completion is not a string"),
        ("faq.jsonl:35", "empty completion"),
        ("faq.jsonl:36", "blank row"),
        ("faq.jsonl:32", "exact duplicate"),
    ]
    assert "1 example has an empty prompt" in report["notes"]
    lines = prepared.summary().splitlines()
    assert lines[1] == (
        "kept 32, removed 1 exact duplicate, dropped 4 rows (2 empty completion, 1 completion is not a string, 1 blank row)"
    )
    everyone = (*prepared.train, *prepared.validation, *prepared.test)
    assert len({one.source for one in everyone}) == 32
    placed = {name: {one.source for one in getattr(prepared, name)} for name in ("train", "validation", "test")}
    assert any({"faq.jsonl:3", "faq.jsonl:31"} <= sources for sources in placed.values()), "one prompt on two sides"


def test_length_statistics(tmp_path: Path) -> None:
    rows = [{"question": "x" * length, "answer": "word " * length} for length in range(1, 101)]
    prepare([json_lines(tmp_path / "faq.jsonl", rows)], tmp_path / "out", CONFIG)
    lengths = read(tmp_path / "out" / "report.json")["lengths"]
    assert lengths["prompt"]["characters"] == {"min": 1, "median": 50.5, "p95": 95, "max": 100}
    assert lengths["completion"]["words"] == {"min": 1, "median": 50.5, "p95": 95, "max": 100}
    assert "text" not in lengths


def test_prompts_with_several_answers_are_noted(tmp_path: Path) -> None:
    rows = [*records(5), {"question": "QUESTION 1?", "answer": "not answer 1"}, {"question": "QUESTION 2?", "answer": "answer 2"}]
    config = PrepareConfig(test_fraction=0, validation_fraction=0)
    prepared = prepare([json_lines(tmp_path / "faq.jsonl", rows)], tmp_path / "out", config)
    assert "note: 1 prompt of the train split has more than one answer" in prepared.summary()
    assert "note: the test split is empty" in prepared.summary()


def test_several_sources_each_with_its_layout(tmp_path: Path) -> None:
    one = json_lines(tmp_path / "a" / "faq.jsonl", records(5))
    two = json_lines(tmp_path / "b" / "faq.jsonl", [{"id": 1, "text": f"raw text {number}"} for number in range(5)])
    prepared = prepare([one, two], tmp_path / "out", CONFIG, rows=rows_from_records([{"prompt": "a", "completion": "b"}], "frame"))
    sources = [source["name"] for source in prepared.manifest["sources"]]
    assert sources == [one.as_posix(), two.as_posix(), "frame"], "files of the same name are told apart by their folders"
    assert prepared.manifest["layout"].count(";") == 2
    assert f"note: {two.as_posix()}: not used: id" in prepared.summary()
    assert len((*prepared.train, *prepared.validation, *prepared.test)) == 11


def test_rows_alone(tmp_path: Path) -> None:
    prepared = prepare(None, tmp_path / "out", CONFIG, rows=rows_from_records(records(12), "dataframe"))
    assert prepared.summary().startswith("read 12 rows from dataframe: ")
    assert prepared.manifest["sources"][0]["sha256"] is None


def test_limit_is_a_seeded_sample_and_said(tmp_path: Path, faq: Path) -> None:
    config = PrepareConfig(limit=10, test_fraction=0, validation_fraction=0)
    first = prepare([faq], tmp_path / "one", config)
    assert "used a sample of 10 of them (limit 10, seed 0)" in first.summary()
    assert read(tmp_path / "one" / "report.json")["counts"]["rows_not_sampled"] == 30
    chosen = [one.source for one in first.train]
    assert len(chosen) == 10
    assert chosen == sorted(chosen, key=lambda source: int(source.partition(":")[2]))
    assert [one.source for one in prepare([faq], tmp_path / "two", config).train] == chosen
    other = prepare([faq], tmp_path / "three", config.model_copy(update={"seed": 1}))
    assert [one.source for one in other.train] != chosen


def test_an_existing_directory_is_never_overwritten(tmp_path: Path, faq: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("ten years of work")
    with pytest.raises(DataError, match=r"out: it exists already and is never overwritten.*choose another --out"):
        prepare([faq], out, CONFIG)
    assert [file.name for file in out.iterdir()] == ["thesis.tex"]
    with pytest.raises(DataError, match="never overwritten"):
        prepare([faq], faq, CONFIG)
    (out / "thesis.tex").unlink()
    assert prepare([faq], out, CONFIG).directory == out


@pytest.mark.parametrize("fails_at", ["validation.jsonl", "report.json", "manifest.json"])
def test_a_crash_while_writing_leaves_nothing(tmp_path: Path, faq: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str) -> None:
    import importlib

    module = importlib.import_module("tunesmith.data.prepare")

    def failing(writer):
        def write(path: Path, value: Any) -> Any:
            if path.name == fails_at:
                raise OSError(28, "No space left on device")
            return writer(path, value)

        return write

    monkeypatch.setattr(module, "write_json", failing(module.write_json))
    monkeypatch.setattr(module, "write_lines", failing(module.write_lines))
    with pytest.raises(DataError, match=r"it cannot be written \(No space left on device\)"):
        prepare([faq], tmp_path / "deep" / "out", CONFIG)
    assert list((tmp_path / "deep").iterdir()) == []


def test_faults_leave_nothing(tmp_path: Path) -> None:
    bad = json_lines(tmp_path / "bad.jsonl", [*records(3), {"question": "a", "answer": ""}])
    with pytest.raises(DataError, match=r"bad\.jsonl:4"):
        prepare([bad], tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_no_data_or_twice_the_same(tmp_path: Path, faq: Path) -> None:
    with pytest.raises(DataError, match="no data is given"):
        prepare([], tmp_path / "out", CONFIG)
    with pytest.raises(DataError, match="it is given twice"):
        prepare([faq, tmp_path / "." / "faq.jsonl"], tmp_path / "out", CONFIG)
    with pytest.raises(ConfigError):
        prepare([faq], tmp_path / "out", CONFIG.model_copy(update={"encoding": "klingon"}))


def test_split_of_a_data_set(tmp_path: Path) -> None:
    json_lines(tmp_path / "faqs" / "train.jsonl", records(12))
    json_lines(tmp_path / "faqs" / "test.jsonl", records(11, "other"))
    prepared = prepare(tmp_path / "faqs", tmp_path / "out", CONFIG)
    assert "note: faqs/train: took the split train of train, test" in prepared.summary()
    assert prepare([tmp_path / "faqs"], tmp_path / "two", CONFIG, split="test").manifest["counts"]["rows_read"] == 11


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path, faq: Path) -> None:
    import subprocess
    import sys

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    abandoned = tmp_path / f".out.partial-{ended.pid}"
    running, other = tmp_path / f".out.partial-{os.getppid()}", tmp_path / f".other.partial-{ended.pid}"
    for folder in (abandoned, running, other):
        folder.mkdir()
        (folder / "examples.spool").write_text("half a line")
    prepare([faq], tmp_path / "out", CONFIG)
    assert not abandoned.exists()
    assert running.exists(), "somebody is at work there"
    assert other.exists()


def test_without_checks_the_split_is_the_same_and_nothing_is_said(tmp_path: Path) -> None:
    many = json_lines(tmp_path / "faq.jsonl", records(60))
    checked = prepare([many], tmp_path / "checked", PrepareConfig())
    plain = prepare([many], tmp_path / "plain", PrepareConfig(checks="none"))
    assert plain.fingerprint == checked.fingerprint
    assert checked.findings()
    assert not plain.findings()
    assert not any("test against training" in line for line in plain.manifest["summary"])


def test_without_checks_what_is_to_be_dropped_is_looked_for(tmp_path: Path) -> None:
    question = "how do I change the password of my account when I have lost the old one"
    planted = [{"question": question, "answer": "on its page"}, {"question": f"{question} today", "answer": "on its page"}]
    many = json_lines(tmp_path / "faq.jsonl", [*records(60), *planted])
    dropped = prepare([many], tmp_path / "dropped", PrepareConfig(checks="none", drop=("near-duplicates",)))
    assert [(finding["check"], finding["action"]) for finding in dropped.findings()] == [("near-duplicates", "dropped")]
    removed = [json.loads(line) for line in (tmp_path / "dropped" / "removed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["source"], one["reason"]) for one in removed] == [("faq.jsonl:62", "near-duplicates")]


def test_many_processes_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith import workers
    from tunesmith.data.preparing import gather

    monkeypatch.setattr(workers, "SECONDS_AT_HOME", -1.0)
    monkeypatch.setattr(gather, "ROWS_AT_ONCE", 50)
    rows = [*records(400), *records(30), {"question": "a", "answer": ""}, {"question": "b", "answer": "donâ€™t"}]
    many = json_lines(tmp_path / "faq.jsonl", rows)
    config = PrepareConfig(on_invalid="drop", fix=("mojibake",))
    one = prepare([many], tmp_path / "one", config, processes=1)
    two = prepare([many], tmp_path / "two", config, processes=2)
    assert one.fingerprint == two.fingerprint
    for name in ("removed.jsonl", "changed.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_of_a_sample_only_its_rows_are_in_memory(tmp_path: Path) -> None:
    """However many sources there are."""
    most = 0

    def rows(label: str) -> Iterator[Row]:
        nonlocal most
        most = max(most, sum(isinstance(one, Row) for one in gc.get_objects()))
        for number in range(500):
            yield Row(values={"question": f"{label} {number}?", "answer": "yes"}, source=f"{label}:{number}")

    sources = [Source(label=f"{number}", path="", read=partial(rows, f"{number}")) for number in range(6)]
    before = sum(isinstance(one, Row) for one in gc.get_objects())
    with Workers(1) as workers, Ledger(tmp_path) as ledger:
        gathered = gather(sources, PrepareConfig(limit=20), tmp_path / "spool", workers, ledger)
    assert (len(gathered.facts), [one.num_rows for one in gathered.sources]) == (20, [500] * 6)
    assert most - before <= 22
