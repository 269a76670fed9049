"""A whole sweep of tiny models in its processes: failures passed over, stopped and gone on with, nothing done twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tunesmith.config import EvaluateConfig, GenerateConfig, PrepareConfig, SweepConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import ConfigError, RunError
from tunesmith.runs import open_run
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.local import run_here
from tunesmith.sweep.on_ray import RayCluster
from tunesmith.sweep.sweep import run_sweep

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
    ends = run_here(sweep, trials, processes=1)
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
    for trial, end in (running := run_here(sweep, sweep.trials(), processes=1)):
        assert (trial.name, end.status) == ("001", "failed")
        assert "no-such-model" in str(end.error)
    running.close()
    monkeypatch.setattr("tunesmith.sweep.local.sys.executable", str(_killer(tmp_path)))
    (_, end), *_ = run_here(sweep, sweep.trials(), processes=1)
    assert "killed by signal 9" in str(end.error)
    assert sweep.ends()["001"] == end


def _killer(tmp_path: Path) -> Path:
    script = tmp_path / "killed"
    script.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
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


def test_a_ray_cluster_gives_the_same_results(data: Path, tiny_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'tunesmith[ray]'")
    config = SweepConfig(data=data, models=(str(tiny_llama),), sizes=(10,), vary={"seed": (0, 1)}, fixed=FIXED, evaluation=EVALUATION)
    here = run_sweep(SweepDirectory.create(tmp_path / "here", config))
    there = run_sweep(SweepDirectory.create(tmp_path / "there", config), cluster=RayCluster())
    for one, other in zip(here.results, there.results, strict=True):
        assert (one.name, one.status, one.validation_loss, one.tuned) == (other.name, other.status, other.validation_loss, other.tuned)
    assert (here.best, here.curves) == (there.best, there.curves)


def test_without_ray_it_is_said_how_to_get_it(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    sweep = SweepDirectory.create(tmp_path / "sweep", SweepConfig(data=data, models=("tiny",)))
    with pytest.raises(ConfigError, match=r"pip install 'tunesmith\[ray\]'"):
        run_sweep(sweep, cluster=RayCluster())
