"""The run directory as a record: written once, read by anyone, never overwritten."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tunesmith.errors import RunError
from tunesmith.runs import (
    RunDirectory,
    create_run,
    default_name,
    is_run,
    list_runs,
    open_run,
    provenance,
    require_free,
)

RECORD: dict[str, Any] = {"created": "2026-01-31T14:25:01+0000", "config": {"model": "m", "seed": 0, "text": "zwölf"}}


def test_create_open_and_read_back(tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs", "faq", RECORD)
    assert (run.name, run.path) == ("faq", tmp_path / "runs" / "faq")
    assert run.record() == {"schema_version": 1, **RECORD}
    assert yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8")) == RECORD["config"]
    assert is_run(run.path)
    assert is_run(str(run.path))
    assert open_run(run.path) == run
    assert pickle.loads(pickle.dumps(run)) == run


def test_the_name_of_the_directory_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = create_run(tmp_path, "faq", RECORD)
    (tmp_path / "production").symlink_to(run.path)
    (run.path / "model").mkdir()
    monkeypatch.chdir(run.path / "model")
    assert open_run(Path("..")).name == "faq"
    monkeypatch.chdir(run.path)
    assert open_run(Path()).name == "faq"
    assert open_run(Path("../production")).name == "production"


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    create_run(tmp_path, "faq", RECORD)
    before = (tmp_path / "faq" / "run.json").read_bytes()
    for attempt in (lambda: create_run(tmp_path, "faq", {**RECORD, "created": "later"}), lambda: require_free(tmp_path, "faq")):
        with pytest.raises(RunError, match="a run of this name exists and is never overwritten") as caught:
            attempt()
        assert caught.value.exit_code == 2
    assert (tmp_path / "faq" / "run.json").read_bytes() == before


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "-flag", "two words", "a\n", "+x"])
def test_names_that_cannot_be_a_directorys(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="the run name"):
        create_run(tmp_path, name, RECORD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["faq", "20260131-142501-faq-m", "größe", "v1.2+b_3"])
def test_names_that_can(tmp_path: Path, name: str) -> None:
    assert create_run(tmp_path, name, RECORD).name == name


def test_the_default_name_can_be_used(tmp_path: Path) -> None:
    name = default_name(tmp_path / "my faq (v2)", "owner/model name")
    assert re.fullmatch(r"\d{8}-\d{6}-my-faq-v2-model-name", name)
    create_run(tmp_path, name, RECORD)


class TestBadDirectories:
    def test_not_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"there is no run\.json; expected a run directory"):
            open_run(tmp_path)
        assert not is_run(tmp_path)

    def test_a_newer_one(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        (run.path / "run.json").write_text('{"schema_version": 2, "surprise": true}', encoding="utf-8")
        with pytest.raises(RunError, match=r"schema version 2; expected at most 1 \(this is tunesmith [\d.]+\)"):
            open_run(run.path)

    def test_a_broken_one(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        (run.path / "run.json").write_text('{"schema', encoding="utf-8")
        with pytest.raises(RunError, match="not JSON"):
            open_run(run.path)

    def test_an_unfinished_one(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        assert not run.is_complete
        with pytest.raises(RunError, match=r"the run has not finished.*tunesmith train --resume"):
            run.manifest()
        run.write_manifest({"num_steps": 3})
        assert run.is_complete
        assert run.manifest() == {"schema_version": 1, "num_steps": 3}


class TestMetrics:
    def test_append_and_read(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        assert run.metrics() == []
        lines = [{"kind": "step", "step": 1, "loss": 2.5}, {"kind": "validation", "step": 1, "loss": 2.0}]
        for line in lines:
            run.append_metrics(line)
        assert run.metrics() == lines

    def test_dropping_what_comes_after_a_checkpoint_heals_a_torn_line(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        for step in (1, 2, 3):
            run.append_metrics({"kind": "step", "step": step})
        with run.metrics_file.open("a", encoding="utf-8") as file:
            file.write('{"kind": "st')
        run.drop_metrics_after(2)
        run.append_metrics({"kind": "step", "step": 3, "again": True})
        assert [line["step"] for line in run.metrics()] == [1, 2, 3]
        assert run.metrics()[-1]["again"]

    def test_dropping_from_a_run_without_metrics(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        run.drop_metrics_after(0)
        assert run.metrics() == []


class TestCheckpoints:
    def test_the_last_ones_stay(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        assert run.checkpoints() == []
        for step in (90, 100, 9, 1000):
            run.checkpoint_path(step).mkdir(parents=True)
        (run.checkpoints_dir / ".step-00002000.partial-1").mkdir()
        assert [path.name for path in run.checkpoints()] == ["step-00000009", "step-00000090", "step-00000100", "step-00001000"]
        run.keep_last_checkpoints(2)
        assert [path.name for path in run.checkpoints()] == ["step-00000100", "step-00001000"]
        run.keep_last_checkpoints(5)
        assert len(run.checkpoints()) == 2

    def test_leftovers_go(self, tmp_path: Path) -> None:
        run = create_run(tmp_path, "faq", RECORD)
        for directory in (run.path, run.checkpoints_dir, run.best_dir):
            (directory / ".x.partial-1").mkdir(parents=True)
        run.remove_leftovers()
        assert not list(run.path.rglob("*.partial-*"))
        assert is_run(run.path)


def test_list_runs_oldest_first(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == []
    for name, created in (("b", "2026-01-02"), ("a", "2026-01-03"), ("d", "2026-01-01"), ("c", "2026-01-01")):
        create_run(tmp_path, name, {**RECORD, "created": created})
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert [run.name for run in list_runs(tmp_path)] == ["c", "d", "b", "a"]


class TestProvenance:
    def test_what_is_kept(self) -> None:
        record = provenance()
        assert record.keys() == {"created", "command", "directory", "git_commit", "python", "versions"}
        assert {"torch", "transformers", "peft", "tunesmith"} <= record["versions"].keys()
        json.dumps(record)

    def git(self, directory: Path, *arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=directory, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit_seen_from(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
        monkeypatch.chdir(directory)
        commit: str | None = provenance()["git_commit"]
        return commit

    @pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
    @pytest.mark.parametrize("state", ["loose", "packed", "detached", "worktree"])
    def test_the_commit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
        repository = tmp_path / "repository"
        (repository / "sub").mkdir(parents=True)
        self.git(repository, "init", "-q")
        assert self.commit_seen_from(repository, monkeypatch) is None
        self.git(repository, "commit", "-q", "--allow-empty", "-m", "x")
        head = self.git(repository, "rev-parse", "HEAD")
        if state == "packed":
            self.git(repository, "pack-refs", "--all")
        if state == "detached":
            self.git(repository, "checkout", "-q", "--detach")
        if state == "worktree":
            self.git(repository, "worktree", "add", "-q", str(tmp_path / "other"))
            repository = tmp_path / "other"
            (repository / "sub").mkdir()
        assert self.commit_seen_from(repository / "sub", monkeypatch) == head

    def test_no_repository(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.commit_seen_from(tmp_path, monkeypatch) is None


def test_paths_are_where_the_page_says(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.evaluation_records_file == tmp_path / "evaluation" / "records.jsonl"
    assert run.evaluation_report_file == tmp_path / "evaluation" / "report.json"
    assert run.html_report_file == tmp_path / "evaluation" / "report.html"
    assert run.analysis_dir == tmp_path / "analysis"
    assert run.model_dir == tmp_path / "model"
