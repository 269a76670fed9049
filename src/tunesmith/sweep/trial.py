"""One trial, in a process of its own: train, evaluate, and write down how it ended.

    python -m tunesmith.sweep.trial SWEEP_DIRECTORY TRIAL_NAME

A process of its own gives its memory back, cannot take the sweep down with it, and leaves a run directory like any other.
What it did already is not done again: an interrupted run is resumed, a finished one is evaluated.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from tunesmith.errors import TrainingInterrupted, TunesmithError
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.sweep.base_answers import KeptAnswers
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.plan import Trial
from tunesmith.train.observer import Silent
from tunesmith.train.train import resume, train

FAILED = 1


class Speaking(Silent):
    """Sentences go to the trial's log."""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def run_trial(sweep: SweepDirectory, trial: Trial) -> TrialEnd:
    """Train and evaluate; a failure that has a reason is a result, too.

    Raises:
        KeyboardInterrupt, TrainingInterrupted: the sweep is being stopped; the next one goes on here.
    """
    started = time.monotonic()
    try:
        run = _trained(sweep, trial)
        if not run.evaluation_report_file.is_file():
            say = Speaking().say
            evaluate_run(run, sweep.config.evaluation, say=say, keep_base=KeptAnswers(directory=sweep.base_dir, trial=trial.name, say=say))
    except TrainingInterrupted:
        raise
    except TunesmithError as error:
        return TrialEnd(name=trial.name, status="failed", error=str(error), seconds=time.monotonic() - started)
    except Exception as error:  # noqa: BLE001 - a fault of ours: the other trials go on, and the log has it all
        traceback.print_exc()
        return TrialEnd(name=trial.name, status="failed", error=f"{type(error).__name__}: {error}", seconds=time.monotonic() - started)
    return TrialEnd(name=trial.name, status="done", error=None, seconds=time.monotonic() - started)


def _trained(sweep: SweepDirectory, trial: Trial) -> RunDirectory:
    path = sweep.runs_dir / trial.name
    if not is_run(path):
        return train(trial.train_config(sweep.data_of(trial)), runs_dir=sweep.runs_dir, name=trial.name, observer=Speaking())
    run = open_run(path)
    return run if run.is_complete else resume(path, observer=Speaking())


def stop_when_left() -> None:
    """Behave as after Ctrl-C once standard input ends: the sweep wants it, or is no more."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # not through sys.stdin, whose lock would be held while Python ends
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Exit code 0, 1 when the trial failed, 130 when it was stopped."""
    directory, name = arguments
    stop_when_left()
    sweep = SweepDirectory.open(Path(directory))
    trial = next(trial for trial in sweep.trials() if trial.name == name)
    try:
        end = run_trial(sweep, trial)
    except TrainingInterrupted as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    sweep.append_end(end)
    if end.error:
        print(end.error, file=sys.stderr)
    return 0 if end.status == "done" else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
