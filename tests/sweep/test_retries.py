"""Trials whose process or machine was lost are tried again and written down; nobody is at a trial twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.sweep.made import make_sweep
from tunesmith.errors import RunError
from tunesmith.sweep import trial as trial_process
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.local import end_of, run_here
from tunesmith.sweep.page import render_page
from tunesmith.sweep.plan import Trial
from tunesmith.sweep.report import build_report
from tunesmith.sweep.sweep import remaining, run_sweep, with_retries


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDirectory:
    """Of two trials, which nobody has run."""
    return make_sweep(tmp_path)


def end(trial: Trial, error: str | None, *, is_lost: bool = False, host: str | None = None) -> TrialEnd:
    return TrialEnd(name=trial.name, status="failed" if error else "done", error=error, seconds=1.0, host=host, is_lost=is_lost)


def test_what_is_lost_waits_again_and_what_failed_does_not(sweep: SweepDirectory) -> None:
    first, second = sweep.trials()
    coming = {first.name: iter([end(first, "gone", is_lost=True), end(first, None)]), second.name: iter([end(second, "a mistake")])}
    order = []

    def run(waiting: deque[Trial]) -> Iterator[tuple[Trial, TrialEnd]]:
        while waiting:
            trial = waiting.popleft()
            order.append(trial.name)
            yield trial, next(coming[trial.name])

    said: list[str] = []
    ends = list(with_retries(run, [first, second], {first.name: 0, second.name: 0}, 2, said.append))
    assert order == [first.name, second.name, first.name]
    assert [(trial.name, end.error) for trial, end in ends] == [(second.name, "a mistake"), (first.name, None)]
    assert said == [f"{first.name} was lost and is tried once more (1 of 2): gone"]


def test_a_trial_that_is_lost_every_time_fails_with_all_its_attempts(sweep: SweepDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    script = sweep.path.parent / "script"
    script.write_text("#!/bin/sh\nkill -9 $$\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setattr("tunesmith.sweep.local.sys.executable", str(script))
    report = run_sweep(sweep, retries=1)
    assert [(result.status, len(result.failures)) for result in report.results] == [("failed", 1)] * 2
    assert "killed by signal 9" in report.results[0].failures[0]
    assert sum(line["status"] == "started" for line in _ledger(sweep)) == 4
    assert f"{report.results[0].name}: before it was failed, attempt failed" in report.summary_lines()[-2]
    assert "Attempts that failed" in render_page(report, title="sweep")
    assert remaining(sweep, retries=1, retry=False) == []
    assert remaining(sweep, retries=2, retry=False) == list(sweep.trials())  # one more attempt is allowed now
    assert remaining(sweep, retries=0, retry=True) == list(sweep.trials())


def test_a_mistake_is_not_tried_again(sweep: SweepDirectory) -> None:
    first, second = sweep.trials()
    sweep.append_end(end(first, "max_length is too small"))
    sweep.append_end(end(second, "its worker was lost", is_lost=True, host="node-2"))
    assert remaining(sweep, retries=2, retry=False) == [second]
    sweep.append_end(end(second, None))
    assert remaining(sweep, retries=2, retry=False) == []
    assert sweep.failures()[second.name][0].host == "node-2"


def test_lines_of_earlier_versions_can_be_read(sweep: SweepDirectory) -> None:
    name = sweep.trials()[0].name
    lines = [{"name": name, "status": "started"}, {"name": name, "status": "failed", "error": "of memory", "seconds": 2.0}]
    (sweep.path / "trials.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert sweep.ends() == {name: TrialEnd(name=name, status="failed", error="of memory", seconds=2.0)}
    assert build_report(sweep).results[0].failures == ()  # it is the one that counts


def test_a_sweep_is_run_by_one_process_at_a_time(sweep: SweepDirectory) -> None:
    with sweep.locked(), pytest.raises(RunError, match="another process is running this sweep"):
        run_sweep(SweepDirectory.open(sweep.path))


def test_a_process_that_was_left_at_a_trial_is_waited_for(sweep: SweepDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_process, "stop_when_left", lambda: None)
    monkeypatch.setattr(trial_process, "SECONDS_FOR_ANOTHER", 0.1)
    monkeypatch.setattr(trial_process, "run_trial", lambda sweep, trial: end(trial, None))
    first = sweep.trials()[0]
    with sweep.lock_of(first):
        assert trial_process.main([str(sweep.path), first.name]) == 1
    assert sweep.ends()[first.name].is_lost
    assert "another process has been at this trial" in str(sweep.ends()[first.name].error)
    assert trial_process.main([str(sweep.path), first.name]) == 0
    assert sweep.ends()[first.name].status == "done"


def test_want_of_memory_is_no_mistake() -> None:
    assert trial_process.lacked_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert trial_process.lacked_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"))
    assert trial_process.lacked_memory(OSError(12, "Cannot allocate memory"))
    assert not trial_process.lacked_memory(RuntimeError("shapes (2, 3) and (4, 5)"))


def test_a_process_that_somebody_stopped_is_lost(sweep: SweepDirectory) -> None:
    assert end_of(sweep, sweep.trials()[0], 130).is_lost
    assert not end_of(sweep, sweep.trials()[1], 1).is_lost


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_trial_ends_with_its_sweep_even_if_born_in_the_background() -> None:
    """A shell has its background processes ignore SIGINT."""
    code = "import time; from tunesmith.sweep.trial import stop_when_left; stop_when_left(); print('ready', flush=True); time.sleep(600)"
    shell = ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, code]
    process = subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    started = time.monotonic()
    process.stdin.close()
    assert process.wait(60) != 0
    assert time.monotonic() - started < 60


def test_what_is_added_in_between_is_run(sweep: SweepDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.sweep.local.sys.executable", "false")
    first, second = sweep.trials()
    waiting, seen = deque([first]), []
    for trial, _ in run_here(sweep, waiting, 1):
        seen.append(trial.name)
        if trial is first:
            waiting.append(second)
    assert seen == [first.name, second.name]


def _ledger(sweep: SweepDirectory) -> list[dict[str, object]]:
    return [json.loads(line) for line in (sweep.path / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
