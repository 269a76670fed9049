"""A whole sweep of tiny models in its processes: failures passed over, stopped and gone on with, nothing done twice."""

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path

import pytest

from tunesmith.config import EvaluateConfig, GenerateConfig, PrepareConfig, SweepConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import ConfigError, RunError
from tunesmith.runs import open_run
from tunesmith.sweep.cluster import RayCluster
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.local import end_of, run_here
from tunesmith.sweep.report import build_report
from tunesmith.sweep.sweep import run_sweep
from tunesmith.sweep.trial import run_trial

EVALUATION = EvaluateConfig(generation=GenerateConfig(max_new_tokens=4), limit=6)
FIXED = {"max_steps": 3, "evaluate_every": 2, "estimate": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    rows = [{"question": f"What is {n}?", "answer": f"{n} is {('red', 'green', 'blue')[n % 3]}."} for n in range(60)]
    (directory / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare([directory / "faq.jsonl"], directory / "prepared", PrepareConfig(near_threshold=1))
    return directory / "prepared"


def test_a_failing_trial_is_passed_over_and_a_stopped_sweep_goes_on(data: Path, tiny_llama: Path, tmp_path: Path) -> None:
    vary = {"max_length": (256, 8)}  # nothing fits into 8 tokens
    config = SweepConfig(data=data, models=(str(tiny_llama),), sizes=(10, 1.0), vary=vary, fixed=FIXED, evaluation=EVALUATION)
    sweep = SweepDirectory.create(tmp_path / "sweep", config)
    sweep.write_data()
    trials = sweep.trials()
    ends = run_here(sweep, deque(trials), processes=1)
    first, end = next(ends)
    assert end.error is None
    ends.close()  # as Ctrl-C does: the second trial is under way
    assert set(sweep.ends()) == {first.name}
    model = (sweep.runs_dir / first.name / "manifest.json").stat().st_mtime_ns

    said: list[str] = []
    report = run_sweep(SweepDirectory.open(sweep.path), processes=2, say=said.append)
    assert said[0] == "4 trials, 1 of them ended before"
    assert {result.name: result.status for result in report.results} == {
        trials[0].name: "done", trials[1].name: "done", trials[2].name: "failed", trials[3].name: "failed"
    }  # fmt: skip
    assert all("8 tokens" in str(result.error) for result in report.results[2:])
    assert (sweep.runs_dir / first.name / "manifest.json").stat().st_mtime_ns == model  # not once more
    losses = {r.name: r.validation_loss for r in report.results if r.validation_loss is not None}
    assert report.best == min(losses, key=lambda name: losses[name])
    assert [point.num_examples for point in report.curves[0].points] == [10, sweep.num_train]
    assert report.curves[0].points[0].value == report.results[0].tuned["loss"]
    assert "four sizes are needed" in report.summary_lines()[0]
    written = json.loads((sweep.path / "report.json").read_text(encoding="utf-8"))
    assert written["curves"][0]["sentence"] == report.curves[0].sentence
    page = sweep.page_file.read_text(encoding="utf-8")
    assert trials[3].name in page
    assert "<svg" in page

    again = run_sweep(sweep, say=said.append)
    assert said[-1] == "4 trials, 4 of them ended before"
    assert again == report
    trained_on = open_run(sweep.runs_dir / first.name).record()["data"]["directory"]
    assert Path(trained_on) == (sweep.path / "data" / "n10-seed-0").resolve()


def test_a_killed_trial_is_a_failure_with_its_reason(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SweepConfig(data=data, models=("no-such-model",), fixed=FIXED, evaluation=EVALUATION)
    sweep = SweepDirectory.create(tmp_path / "sweep", config)
    sweep.write_data()
    for trial, end in (running := run_here(sweep, deque(sweep.trials()), processes=1)):
        assert (trial.name, end.status) == ("001", "failed")
        assert "no-such-model" in str(end.error)
    running.close()
    monkeypatch.setattr("tunesmith.sweep.local.sys.executable", str(_script(tmp_path, "kill -9 $$")))
    (_, end), *_ = run_here(sweep, deque(sweep.trials()), processes=1)
    assert "killed by signal 9" in str(end.error)
    assert sweep.ends()["001"] == end


def test_trials_ask_the_base_model_once(data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = SweepConfig(data=data, models=(str(tiny_llama),), vary={"lora.rank": (2, 4)}, fixed=FIXED, evaluation=EVALUATION)
    sweep = SweepDirectory.create(tmp_path / "sweep", config)
    for trial in sweep.trials():
        end = run_trial(sweep, trial)
        assert end.error is None
        sweep.append_end(end)
    assert "those that trial 001-rank-2 was given to the same questions" in capsys.readouterr().err
    assert len(list(sweep.base_dir.iterdir())) == 1
    first, second = build_report(sweep).results
    assert first.base == second.base


@pytest.fixture
def failed(data: Path, tiny_llama: Path, tmp_path: Path) -> SweepDirectory:
    """A sweep whose only trial once failed."""
    config = SweepConfig(data=data, models=(str(tiny_llama),), fixed=FIXED, evaluation=EVALUATION)
    sweep = SweepDirectory.create(tmp_path / "sweep", config)
    sweep.append_end(TrialEnd(name="001", status="failed", error="an old error", seconds=1.0))
    return sweep


def test_a_trial_that_is_tried_once_more_has_no_old_error(failed: SweepDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failed.ends()["001"].error == "an old error"
    failed.write_data()
    ends = run_here(failed, deque(failed.trials()), processes=1)
    with monkeypatch.context() as patched:
        patched.setattr("tunesmith.sweep.local.sys.executable", str(_script(tmp_path, "exit 1")))  # says nothing, as where an import fails
        (_, end), *_ = ends
    assert "ended with code 1" in str(end.error)
    failed.append_start(failed.trials()[0])
    assert failed.ends() == {}  # under way, or stopped
    (result,) = build_report(failed).results
    assert (result.status, result.error) == ("left", None)

    report = run_sweep(failed)  # without retry: it did not fail, it was stopped
    assert (report.results[0].status, report.results[0].error) == ("done", None)
    assert run_sweep(failed, retry=True) == report


def test_a_trial_that_wrote_its_end_has_ended_however_its_process_went(failed: SweepDirectory, tmp_path: Path) -> None:
    trial = failed.trials()[0]
    failed.append_start(trial)
    end = TrialEnd(name=trial.name, status="done", error=None, seconds=1.0)
    failed.append_end(end)
    assert end_of(failed, trial, -11) == end
    assert failed.ends() == {trial.name: end}


def _script(tmp_path: Path, line: str) -> Path:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    script.chmod(0o755)
    return script


def test_directories_are_never_overwritten_and_changed_data_are_noticed(data: Path, tmp_path: Path) -> None:
    config = SweepConfig(data=data, models=("tiny",))
    sweep = SweepDirectory.create(tmp_path / "sweep", config)
    with pytest.raises(RunError, match="--resume"):
        SweepDirectory.create(tmp_path / "sweep", config)
    record = json.loads((sweep.path / "sweep.json").read_text(encoding="utf-8"))
    (sweep.path / "sweep.json").write_text(json.dumps({**record, "data_fingerprint": "other"}), encoding="utf-8")
    with pytest.raises(RunError, match="has changed since the sweep began"):
        run_sweep(SweepDirectory.open(sweep.path))
    (sweep.path / "sweep.json").write_text(json.dumps({**record, "schema_version": 99}), encoding="utf-8")
    with pytest.raises(RunError, match="newer tunesmith"):
        SweepDirectory.open(sweep.path)
    with pytest.raises(RunError, match=r"no sweep\.json"):
        SweepDirectory.open(tmp_path)


def test_an_end_whose_line_was_cut_short_does_not_spoil_the_next(data: Path, tmp_path: Path) -> None:
    sweep = SweepDirectory.create(tmp_path / "sweep", SweepConfig(data=data, models=("tiny",)))
    (tmp_path / "sweep" / "trials.jsonl").write_bytes(b'{"name": "a", "status": "do')
    end = TrialEnd(name="b", status="failed", error="for want of memory", seconds=1.0)
    sweep.append_end(end)
    assert sweep.ends() == {"b": end}


def test_without_ray_it_is_said_how_to_get_it(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    sweep = SweepDirectory.create(tmp_path / "sweep", SweepConfig(data=data, models=("tiny",)))
    with pytest.raises(ConfigError, match=r"pip install 'tunesmith\[ray\]'"):
        run_sweep(sweep, cluster=RayCluster())
