"""A sweep unpacked on a machine that has not its directory, and a run brought home from there, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunesmith.config import PrepareConfig, SweepConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.sweep import gathering
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.gathering import bring_home
from tunesmith.sweep.on_machine import Order, Outcome, carry_out, files_of, forget, lay_out, read_piece
from tunesmith.sweep.sending import SWEEP, TransferError, identity_of, pieces_of


@pytest.fixture
def home(tmp_path: Path) -> SweepDirectory:
    rows = [{"question": f"What is {n}?", "answer": f"{n} is {('red', 'green', 'blue')[n % 3]}."} for n in range(60)]
    (tmp_path / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare([tmp_path / "faq.jsonl"], tmp_path / "prepared", PrepareConfig(near_threshold=1))
    config = SweepConfig(data=tmp_path / "prepared", models=("tiny",), sizes=(10, 1.0))
    sweep = SweepDirectory.create(tmp_path / "sweep", config)
    sweep.write_data()
    return sweep


@pytest.fixture
def away(home: SweepDirectory, tmp_path: Path) -> SweepDirectory:
    """The same sweep on the other machine, with a run of its first trial."""
    away = lay_out(tmp_path / "cache" / "sweeps" / identity_of(home), (), lambda part: pieces_of(home, part))
    trial = away.trials()[0]
    run = away.runs_dir / trial.name
    (run / "model").mkdir(parents=True)
    data = str(away.data_of(trial))
    record = {"config": {"data": data, "model": "tiny"}, "data": {"directory": data}, "model": {"reference": "tiny"}}
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (run / "model" / "weights").write_bytes(bytes(range(256)) * 3)
    (run / "metrics.jsonl").write_text("", encoding="utf-8")
    (run / ".lock").touch()
    away.log_file(trial).write_text("trained\n", encoding="utf-8")
    return away


def outcome(away: SweepDirectory, *, is_done: bool = True) -> Outcome:
    trial = away.trials()[0]
    end = TrialEnd(name=trial.name, status="done", error=None, seconds=1.0)
    return Outcome(end=end, machine="m", away=str(away.path), files=files_of(away, trial, is_done=is_done))


def pull_from(away: SweepDirectory) -> Callable[[str, int, int], bytes]:
    return lambda name, offset, size: read_piece(str(away.path), name, offset, size)


def test_the_other_machine_has_the_same_trials_and_data(home: SweepDirectory, away: SweepDirectory) -> None:
    assert [trial.name for trial in away.trials()] == [trial.name for trial in home.trials()]
    for one, other in zip(home.trials(), away.trials(), strict=True):
        assert away.data_of(other) != home.data_of(one)
        assert load_prepared(away.data_of(other)).fingerprint == load_prepared(home.data_of(one)).fingerprint

    def unexpected(part: str) -> Iterator[tuple[str, bytes]]:
        raise AssertionError(f"{part} fetched again")

    assert lay_out(away.path, (), unexpected).path == away.path


def test_a_run_comes_home_in_pieces_and_names_the_data_here(
    home: SweepDirectory, away: SweepDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "PIECE_BYTES", 100)
    trial = home.trials()[0]
    (home.runs_dir / trial.name).mkdir()  # left by an attempt that was made here
    (home.runs_dir / trial.name / "unfinished").touch()
    home.log_file(trial).write_text("begun\n", encoding="utf-8")
    bring_home(home, trial, outcome(away), pull_from(away), lambda promise: promise)
    run = home.runs_dir / trial.name
    assert sorted(str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()) == [
        "config.yaml", "metrics.jsonl", "model/weights", "run.json"
    ]  # fmt: skip
    assert (run / "model" / "weights").read_bytes() == bytes(range(256)) * 3
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["data"]["directory"] == record["config"]["data"] == str(home.data_of(trial).resolve())
    assert home.log_file(trial).read_text(encoding="utf-8") == "begun\ntrained\n"
    forget(str(away.path), [f"runs/{trial.name}"])
    assert list(away.runs_dir.iterdir()) == []
    assert away.log_file(trial).exists()
    forget(str(away.path), [f"logs/{trial.name}.log", "logs/another.log"])
    assert not away.log_file(trial).exists()
    forget(str(away.path), None)
    assert not away.path.exists()


def test_what_a_stopped_worker_left_of_a_sweep_gives_way(home: SweepDirectory, away: SweepDirectory) -> None:
    (away.path / "sweep.json").unlink()
    rest = away.path.with_name(".0.forgotten")
    (rest / "runs").mkdir(parents=True)
    again = lay_out(away.path, (), lambda part: pieces_of(home, part))
    assert list(again.runs_dir.iterdir()) == []
    assert (away.path / "sweep.json").is_file()
    assert not rest.exists()


def test_a_run_that_comes_short_leaves_all_as_it_was(home: SweepDirectory, away: SweepDirectory) -> None:
    trial = home.trials()[0]
    earlier = home.runs_dir / trial.name
    earlier.mkdir()
    (earlier / "weights").touch()
    whole = outcome(away)
    (away.runs_dir / trial.name / "model" / "weights").write_bytes(b"short")
    with pytest.raises(TransferError, match="768"):
        bring_home(home, trial, whole, pull_from(away), lambda promise: promise)
    assert list(home.runs_dir.iterdir()) == [earlier]
    assert list(earlier.iterdir()) == [earlier / "weights"]
    assert not home.log_file(trial).exists(), "it comes with the next attempt"


def test_nothing_is_written_outside_of_the_run(home: SweepDirectory, away: SweepDirectory) -> None:
    trial = home.trials()[0]
    sly = Outcome(end=None, machine="m", away=str(away.path), files=((f"runs/{trial.name}/../../sweep.json", 3),))
    with pytest.raises(TransferError, match="outside"):
        bring_home(home, trial, sly, lambda name, offset, size: b"abc", lambda promise: promise)


def test_of_a_trial_that_failed_there_the_log_comes(home: SweepDirectory, away: SweepDirectory) -> None:
    trial = home.trials()[0]
    bring_home(home, trial, outcome(away, is_done=False), pull_from(away), lambda promise: promise)
    assert list(home.runs_dir.iterdir()) == []
    assert home.log_file(trial).read_text(encoding="utf-8") == "trained\n"


def test_another_tunesmith_and_a_missing_sweep_are_said(home: SweepDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "empty"))
    values = {"sweep": str(home.path), "marker": None, "identity": "x", "trial": home.trials()[0].name, "directory": str(tmp_path)}
    values |= {"model": "tiny", "models": ()}
    old = carry_out(Order(**values, cores=1, gpus=0.0, version="0.0.1")).end  # type: ignore[arg-type]
    assert old is not None
    assert "install 0.0.1 there" in str(old.error)
    from importlib import metadata

    assert carry_out(Order(**values, cores=1, gpus=0.0, version=metadata.version("tunesmith"))) == Outcome(end=None, lacks=[SWEEP])  # type: ignore[arg-type]
