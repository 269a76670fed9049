"""The library: summaries of what lies in two directories, whatever lies there."""

from __future__ import annotations

import gc
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.studio.made import HOSTILE_NAME, HOSTILE_TEXT, make_data, make_hostile_runs, make_run, make_runs, step_line, write
from tunesmith.studio import reading
from tunesmith.studio.readable import Unreadable
from tunesmith.studio.reading import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(*make_runs(tmp_path, num_runs=7))


def test_the_newest_come_first_with_their_status(library: Library) -> None:
    found = [(run.name, run.status) for run in library.runs()]
    assert found == [
        ("faq-006", "failed"),
        ("faq-005", "finished"),
        ("faq-004", "interrupted"),
        ("faq-003", "finished"),
        ("faq-002", "finished"),
        ("faq-001", "finished"),
        ("faq-000", "finished"),
    ]
    failed = library.run("faq-006")
    assert failed is not None
    assert failed.reason == "the disk is full"


def test_a_finished_run_shows_its_results(library: Library) -> None:
    run = library.run("faq-000")
    assert run is not None
    assert (run.num_steps, run.planned_steps, run.best_loss, run.verdict) == (40, 40, 1.75, "better")
    rouge = run.scores[1]
    assert (rouge.title, rouge.base, round(rouge.tuned, 3), rouge.verdict) == ("ROUGE-L", 0.21, 0.3, "better")
    assert [round(end, 2) for end in rouge.interval] == [0.05, 0.13]


def test_an_unfinished_run_shows_its_latest_step_as_it_grows(library: Library) -> None:
    run = library.run("faq-004")
    assert run is not None
    assert run.num_steps == 20
    with run.directory.metrics_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(step_line(21)) + "\n")
    later = library.run("faq-004")
    assert later is not None
    assert later.num_steps == 21


@pytest.mark.parametrize(
    "name",
    [
        "..",
        ".",
        "",
        "../runs/faq-000",
        "faq-000/../faq-001",
        "/etc",
        "faq-000/",
        "faq-000\x00",
        "%2e%2e",
        "..%2ffaq-000",
        "FAQ-000",
        "faq-000/model",
    ],
)
def test_only_a_known_name_opens_a_run(library: Library, name: str) -> None:
    assert library.run(name) is None
    assert library.data_set(name) is None


def test_nothing_is_read_twice(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library.runs()
    read: list[str] = []
    original = reading.read_object
    monkeypatch.setattr(reading, "read_object", lambda file, **kwargs: read.append(file.name) or original(file, **kwargs))
    library.runs()
    assert read == []
    os.utime(library.runs_dir / "faq-001" / "manifest.json")
    library.runs()
    assert set(read) == {"run.json", "manifest.json", "report.json"}


def test_hostile_directories_are_rows_with_a_reason(tmp_path: Path) -> None:
    runs, prepared = make_runs(tmp_path, num_runs=1)
    reasons = make_hostile_runs(runs, prepared / "faq")
    found = {run.name: run for run in Library(runs, prepared).runs()}
    assert {name for name, run in found.items() if run.status == "unreadable"} == reasons.keys()
    for name, word in reasons.items():
        assert word in (found[name].reason or "")
    assert found[HOSTILE_NAME].model == HOSTILE_TEXT
    nan = found["nan"]
    assert (nan.status, nan.best_loss, nan.tokens_per_second, nan.scores, nan.verdict) == ("finished", None, None, (), None)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    runs, prepared = make_runs(tmp_path, num_runs=0)
    make_run(runs, "b\udcffd", 1, data=prepared / "faq")
    make_run(runs, "b\x07ell", 1, data=prepared / "faq")
    found = Library(runs, prepared).runs()
    assert {(run.name, run.status, run.reason) for run in found} == {
        ("b\ufffdd", "unreadable", "the directory's name is no text"),
        ("b\ufffdell", "unreadable", "the directory's name is no text"),
    }


def test_a_run_that_goes_away_is_forgotten(library: Library) -> None:
    library.runs()
    (library.runs_dir / "faq-000" / "run.json").unlink()
    assert "faq-000" not in {run.name for run in library.runs()}
    assert library.run("faq-000") is None


def test_no_directories_at_all(tmp_path: Path) -> None:
    library = Library(tmp_path / "none", tmp_path / "nowhere")
    assert library.runs() == []
    assert library.data_sets() == []


def test_data_sets_are_found_where_they_lie_and_where_runs_name_them(tmp_path: Path) -> None:
    runs, prepared = make_runs(tmp_path, num_runs=1, num_examples=30)
    elsewhere = make_data(tmp_path / "elsewhere", "far", num_examples=40)
    make_run(runs, "far", 9, data=elsewhere)
    write(prepared / "odd" / "manifest.json", {"splits": 3})
    found = {one.name: one for one in Library(runs, prepared).data_sets()}
    assert list(found) == ["faq", "odd", str(elsewhere)]
    assert found["faq"].num_examples == (30, 3, 3)
    assert found["odd"].reason == "manifest.json is not of a prepared data set"


def test_a_document_is_read_again_only_when_its_file_changes(library: Library) -> None:
    file = library.runs_dir / "faq-000" / "evaluation" / "report.json"
    read: list[Path] = []

    def length(path: Path) -> int:
        read.append(path)
        return len(path.read_text(encoding="utf-8"))

    assert library.document(file, "length", length) == library.document(file, "length", length)
    assert len(read) == 1
    file.write_text("{}", encoding="utf-8")
    assert library.document(file, "length", length) == 2
    with pytest.raises(Unreadable, match=r"there is no gone\.json"):
        library.document(file.with_name("gone.json"), "length", length)


def test_a_document_that_is_being_read_is_waited_for(library: Library) -> None:
    file = library.runs_dir / "faq-000" / "evaluation" / "report.json"
    read: list[Path] = []
    is_reading, may_end = threading.Event(), threading.Event()

    def slowly(path: Path) -> int:
        read.append(path)
        is_reading.set()
        assert may_end.wait(10)
        return 7

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(library.document, file, "slow", slowly)
        assert is_reading.wait(10)
        others = [pool.submit(library.document, file, "slow", slowly) for _ in range(2)]
        assert library.document(file, "another reading", lambda _: 8) == 8
        may_end.set()
        assert [one.result(10) for one in (first, *others)] == [7, 7, 7]
    assert len(read) == 1


def test_the_garbage_collector_waits_for_readers(library: Library) -> None:
    files = [library.runs_dir / "faq-000" / name for name in ("run.json", "manifest.json")]
    first_is_out, seen = threading.Event(), []

    def read(file: Path) -> bool:
        if file.name == "run.json":
            raise Unreadable("no")
        assert first_is_out.wait(10)
        seen.append(gc.isenabled())
        return True

    assert gc.isenabled()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(library.document, files[1], "a", read)
        with pytest.raises(Unreadable):
            library.document(files[0], "a", read)
        first_is_out.set()
        assert other.result()
    assert seen == [False]
    assert gc.isenabled()


def test_what_could_not_be_read_is_tried_again(library: Library) -> None:
    file = library.runs_dir / "faq-000" / "evaluation" / "report.json"

    def fail(_: Path) -> int:
        raise Unreadable("torn")

    for _ in range(2):
        with pytest.raises(Unreadable, match="torn"):
            library.document(file, "failing", fail)
    assert library.document(file, "failing", lambda _: 1) == 1
