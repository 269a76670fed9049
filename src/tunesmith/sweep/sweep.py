"""Run what is left of a sweep, several trials at a time, and say what they amount to.

>>> config = SweepConfig(data="prepared/faq", models=("smollm2-135m-instruct",), sizes=(0.125, 0.25, 0.5, 1))
>>> print("\\n".join(run_sweep(SweepDirectory.create(Path("sweeps/faq"), config)).summary_lines()))
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from tunesmith.files import write_text
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.page import render_page
from tunesmith.sweep.plan import Trial
from tunesmith.sweep.report import SweepReport, build_report
from tunesmith.workers import available_cores

Say = Callable[[str], None]
Process = subprocess.Popen[bytes]
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_SAVE = 120
"""A trial that is stopped finishes its step and writes a checkpoint."""


def run_sweep(sweep: SweepDirectory, *, processes: int = 1, retry: bool = False, say: Say = lambda text: None) -> SweepReport:
    """Run every trial that has not ended, and write the report.

    Args:
        sweep: an open directory.
        processes: trials at a time; each has its share of the cores.
        retry: trials that failed are run once more; else they are passed over.
        say: hears of every trial.

    Raises:
        KeyboardInterrupt: stopped by the user; the trials under way have saved themselves.
        RunError: the data set has changed.
    """
    sweep.write_data()
    ends, trials = sweep.ends(), sweep.trials()
    left = [trial for trial in trials if trial.name not in ends or (retry and ends[trial.name].status == "failed")]
    say(f"{len(trials)} trials" + (f", {len(trials) - len(left)} of them ended before" if len(left) < len(trials) else ""))
    for number, (trial, end) in enumerate(_run_all(sweep, left, processes), start=1):
        say(f"{number} of {len(left)}: {trial.name} " + (f"failed: {end.error}" if end.error else f"done in {end.seconds:,.0f} s"))
    report = build_report(sweep)
    sweep.write_report(report.to_json())
    write_text(sweep.page_file, render_page(report, title=str(sweep.path)))
    return report


def _run_all(sweep: SweepDirectory, trials: Sequence[Trial], processes: int) -> Iterator[tuple[Trial, TrialEnd]]:
    """Each trial with its end, as they end; those under way are stopped when the caller is."""
    waiting = deque(trials)
    running: dict[Process, Trial] = {}
    threads = max(1, available_cores() // processes)
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                trial = waiting.popleft()
                running[_start(sweep, trial, threads)] = trial
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for process in [process for process in running if process.poll() is not None]:
                trial = running.pop(process)
                yield trial, _end_of(sweep, trial, process.returncode)
    finally:
        _stop(list(running))


def _start(sweep: SweepDirectory, trial: Trial, threads: int) -> Process:
    """In a session of its own, so that Ctrl-C reaches it through us alone; it stops when its standard input ends."""
    with sweep.log_file(trial).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tunesmith.sweep.trial", str(sweep.path), trial.name],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            start_new_session=True,
        )


def _end_of(sweep: SweepDirectory, trial: Trial, code: int) -> TrialEnd:
    """What the trial wrote down; when it could not any more, that it was killed."""
    if code in (0, 1) and (end := sweep.ends().get(trial.name)):
        return end
    how = f"killed by signal {-code}, as for want of memory" if code < 0 else f"ended with code {code}"
    end = TrialEnd(name=trial.name, status="failed", error=f"the process was {how}; see {sweep.log_file(trial)}", seconds=0.0)
    sweep.append_end(end)
    return end


def _stop(running: Sequence[Process]) -> None:
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
    for process in running:
        try:
            process.wait(SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            process.kill()
