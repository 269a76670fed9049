"""Trials in processes of this machine, several at a time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tunesmith.distributed.environment import outside_groups
from tunesmith.errors import TrainingInterrupted
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.plan import Trial
from tunesmith.workers import available_cores

Process = subprocess.Popen[bytes]
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_SAVE = 120
"""A trial that is stopped finishes its step and writes a checkpoint."""


def run_here(sweep: SweepDirectory, waiting: deque[Trial], processes: int, *, cores: int | None = None) -> Iterator[tuple[Trial, TrialEnd]]:
    """Each attempt at a trial with its end, as they end; those under way are stopped when the caller is.

    Args:
        sweep: an open directory.
        waiting: what to run; the caller may add to it in between.
        processes: trials at a time.
        cores: threads of each trial; None: its share of the cores.
    """
    running: dict[Process, Trial] = {}
    threads = cores or max(1, available_cores() // processes)
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                trial = waiting.popleft()
                running[start(sweep, trial, threads)] = trial
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for process in [process for process in running if process.poll() is not None]:
                trial = running.pop(process)
                yield trial, end_of(sweep, trial, process.returncode)
    finally:
        stop(list(running))


def start(
    sweep: SweepDirectory, trial: Trial, threads: int, *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> Process:
    """In a session of its own, so that Ctrl-C reaches it through us alone; it stops when its standard input ends.

    Args:
        sweep: its directory on this machine.
        trial: what to run.
        threads: to compute with.
        directory: that relative paths start from; None: this process's.
        environment: variables besides those of this process.
    """
    sweep.append_start(trial)
    with sweep.log_file(trial).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tunesmith.sweep.trial", str(sweep.path.resolve()), trial.name],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**outside_groups(os.environ), **(environment or {}), "OMP_NUM_THREADS": str(threads)},
            cwd=directory,
            start_new_session=True,
        )


def end_of(sweep: SweepDirectory, trial: Trial, code: int) -> TrialEnd:
    """What the trial wrote down since it was started; when it could not any more, that it was killed."""
    if end := sweep.ends().get(trial.name):
        return end
    how = f"killed by signal {-code}, as for want of memory" if code < 0 else f"ended with code {code}"
    error = f"the process was {how}; see {sweep.log_file(trial)}"
    is_lost = code < 0 or code == TrainingInterrupted.exit_code  # the latter: by somebody else than us, as where a machine is shut down
    end = TrialEnd(name=trial.name, status="failed", error=error, seconds=0.0, host=socket.gethostname(), is_lost=is_lost)
    sweep.append_end(end)
    return end


def stop(running: Sequence[Process]) -> None:
    """Have them save and end."""
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
    for process in running:
        try:
            process.wait(SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            process.kill()
