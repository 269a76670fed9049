"""What the sweep's process does with what comes of a cluster, on a stand-in for Ray whose machines are folders."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sweep.made import make_sweep
from tunesmith.errors import ConfigError
from tunesmith.sweep.cluster import RayCluster, describe
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.on_machine import Outcome, carry_out, files_of, lay_out
from tunesmith.sweep.on_ray import _Driver
from tunesmith.sweep.plan import Trial
from tunesmith.sweep.sending import identity_of, pieces_of

pytest.importorskip("ray", reason="Ray is an extra of its own: pip install 'tunesmith[ray]'")

MACHINE = "ab" * 28
"""As Ray writes its ids."""


class LostError(Exception):
    """Stands for Ray's own."""


class FailedTaskError(LostError):
    """Likewise."""


Attempt = Callable[[SweepDirectory, Trial], bool]
"""Writes into the sweep of the other machine; whether the trial is done."""


@dataclass(kw_only=True)
class FakeRay:
    """Tasks are done when they are ordered; a trial takes the next of `attempts`, everything else is run as it is."""

    away: SweepDirectory
    attempts: Iterator[Attempt]
    before: Callable[[str, tuple[Any, ...]], None] = lambda name, arguments: None
    """Hears of every other task; what it raises is what the task comes to."""
    ordered: list[str] = field(default_factory=list)
    exceptions: Any = field(default_factory=lambda: SimpleNamespace(RayError=LostError, RayTaskError=FailedTaskError))

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        return lambda function: SimpleNamespace(remote=lambda *arguments: self._promise(function, arguments))

    def _promise(self, function: Any, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        try:
            if function is carry_out:
                self.ordered.append(arguments[0].trial)
                value = self._attempt(arguments[0].trial)
            else:
                self.before(function.__name__, arguments)
                value = function(*arguments)
        except LostError as error:
            lost = error
            return lambda: _raise(lost)
        return lambda: value

    def _attempt(self, name: str) -> Outcome:
        trial = next(trial for trial in self.away.trials() if trial.name == name)
        is_done = next(self.attempts)(self.away, trial)
        end = TrialEnd(
            name=name, status="done" if is_done else "failed", error=None if is_done else "a mistake", seconds=1.0, host="node-2"
        )
        return Outcome(end=end, machine=MACHINE, away=str(self.away.path), files=files_of(self.away, trial, is_done=is_done))

    def wait(self, promises: Sequence[Any], **options: Any) -> tuple[list[Any], list[Any]]:
        return list(promises[:1]), list(promises[1:])

    def get(self, promise: Callable[[], Any]) -> Any:
        return promise()


def _raise(error: Exception) -> Any:
    raise error


def works(sweep: SweepDirectory, trial: Trial) -> bool:
    """Trained and evaluated."""
    write_run(sweep, trial, weights=b"new")
    say(sweep, trial, "trained\n")
    return True


def fails(sweep: SweepDirectory, trial: Trial) -> bool:
    """At some step after its first checkpoint."""
    checkpoint = sweep.runs_dir / trial.name / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True, exist_ok=True)
    say(sweep, trial, "failed\n")
    return False


def is_lost(sweep: SweepDirectory, trial: Trial) -> bool:
    """With its worker."""
    raise LostError("the node died")


def write_run(sweep: SweepDirectory, trial: Trial, *, weights: bytes) -> None:
    run = sweep.runs_dir / trial.name
    (run / "evaluation").mkdir(parents=True, exist_ok=True)
    data = str(sweep.data_of(trial))
    for name, record in (
        ("run.json", {"config": {"data": data, "model": "tiny"}, "data": {"directory": data}, "model": {"reference": "tiny"}}),
        ("manifest.json", {}),
    ):
        (run / name).write_text(json.dumps(record), encoding="utf-8")
    (run / "weights").write_bytes(weights)
    (run / "evaluation" / "report.json").write_text("{}", encoding="utf-8")


def say(sweep: SweepDirectory, trial: Trial, text: str) -> None:
    with sweep.log_file(trial).open("a", encoding="utf-8") as log:
        log.write(text)


@pytest.fixture
def home(tmp_path: Path) -> SweepDirectory:
    """Of two trials."""
    return make_sweep(tmp_path)


@pytest.fixture
def away(home: SweepDirectory, tmp_path: Path) -> SweepDirectory:
    return lay_out(tmp_path / "cache" / "sweeps" / identity_of(home), (), lambda part: pieces_of(home, part))


def drive(home: SweepDirectory, ray: FakeRay, trials: Sequence[Trial]) -> list[TrialEnd]:
    return [end for _, end in _Driver(ray, home, RayCluster(may_share=False)).run(deque(trials))]


def test_a_run_is_forgotten_there_once_it_is_written_down_here(home: SweepDirectory, away: SweepDirectory) -> None:
    written: list[dict[str, TrialEnd]] = []

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "forget":
            written.append(home.ends())

    first = home.trials()[0]
    (end,) = drive(home, FakeRay(away=away, attempts=iter([works]), before=before), [first])
    assert written[0] == home.ends() == {first.name: end}
    assert not (away.runs_dir / first.name).exists()


def test_a_log_that_does_not_come_costs_no_run(home: SweepDirectory, away: SweepDirectory) -> None:
    first = home.trials()[0]
    write_run(home, first, weights=b"old")
    (home.runs_dir / first.name / "manifest.json").unlink()  # so that there is something left to do

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "read_piece" and arguments[1].endswith(".log"):
            raise LostError("gone")

    (end,) = drive(home, FakeRay(away=away, attempts=iter([works]), before=before), [first])
    assert end.is_lost
    assert (home.runs_dir / first.name / "weights").read_bytes() == b"old"
    assert (away.runs_dir / first.name / "weights").exists()
    assert [end.name for end in drive(home, FakeRay(away=away, attempts=iter([works])), [first]) if end.status == "done"] == [first.name]
    assert (home.runs_dir / first.name / "weights").read_bytes() == b"new"


def test_a_run_that_came_home_before_a_kill_is_not_sent_out_again(home: SweepDirectory, away: SweepDirectory) -> None:
    first, second = home.trials()
    write_run(home, first, weights=b"home")
    ray = FakeRay(away=away, attempts=iter([works]))
    assert [(end.name, end.status) for end in drive(home, ray, [second, first])] == [(first.name, "done"), (second.name, "done")]
    assert ray.ordered == [second.name]
    assert home.ends()[first.name].status == "done"
    assert (home.runs_dir / first.name / "weights").read_bytes() == b"home"
    assert drive(home, ray, [first])[0].status == "done", "also where nothing else is to be run"


def test_checkpoints_stay_there_until_every_trial_is_done(home: SweepDirectory, away: SweepDirectory) -> None:
    first, second = home.trials()
    drive(home, FakeRay(away=away, attempts=iter([works, fails])), [first, second])
    assert (away.runs_dir / second.name / "checkpoints" / "step-00000001").is_dir()
    drive(home, FakeRay(away=away, attempts=iter([works])), [second])
    assert not away.path.exists()


def test_each_attempt_is_in_the_log_once(home: SweepDirectory, away: SweepDirectory) -> None:
    first = home.trials()[0]
    for attempts in ([fails], [fails], [works]):
        drive(home, FakeRay(away=away, attempts=iter(attempts)), [first])
    assert home.log_file(first).read_text(encoding="utf-8") == "failed\nfailed\ntrained\n"


def test_a_lost_attempt_has_no_machine_of_an_earlier_one(home: SweepDirectory, away: SweepDirectory) -> None:
    first = home.trials()[0]
    ends = [drive(home, FakeRay(away=away, attempts=iter([attempt])), [first])[0] for attempt in (fails, is_lost)]
    assert [(end.is_lost, end.host) for end in ends] == [(False, "node-2"), (True, None)]
    home.append_start(first, host="node-3")  # as who sees the directory does
    assert drive(home, FakeRay(away=away, attempts=iter([is_lost])), [first])[0].host == "node-3"


@pytest.mark.parametrize(("address", "variable"), [("local", None), (None, "local"), (None, None)])
def test_a_ray_of_our_own_does_not_grow(address: str | None, variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    with pytest.raises(ConfigError, match="1 GPUs"):
        describe(ray, RayCluster(address=address, gpus=1), lambda text: None)
    said: list[str] = []
    describe(ray, RayCluster(address="auto", gpus=1), said.append)
    assert "waiting for one" in said[0]
