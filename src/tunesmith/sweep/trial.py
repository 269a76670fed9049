"""One trial, in a process of its own: train, evaluate, and write down how it ended.

    python -m tunesmith.sweep.trial SWEEP_DIRECTORY TRIAL_NAME

A process of its own gives its memory back, cannot take the sweep down with it, and leaves a run directory like any other.
What it did already is not done again: an interrupted run is resumed, a finished one is evaluated. It ends with whoever started it, and
waits for a process that is still at the same trial, having been left by a sweep or a worker that was killed.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

import torch
from filelock import Timeout

from tunesmith.errors import TrainingInterrupted, TunesmithError
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.runs import RunDirectory, is_run, open_run
from tunesmith.sweep.base_answers import KeptAnswers
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.local import SECONDS_TO_SAVE
from tunesmith.sweep.plan import Trial
from tunesmith.train.observer import Silent
from tunesmith.train.train import resume, train

FAILED = 1
SECONDS_FOR_ANOTHER = SECONDS_TO_SAVE + 60
"""How long a process that is still at this trial is waited for; on a file system of a network a dead machine's lock stays a while."""
MEMORY_WORDS = ("out of memory", "can't allocate memory", "Cannot allocate memory", "not enough memory", "_ALLOC_FAILED")
"""In what torch's allocators and CUDA's libraries say, whose errors are plain RuntimeErrors."""


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
    error, is_lost = None, False
    try:
        run = _trained(sweep, trial)
        if not run.evaluation_report_file.is_file():
            say = Speaking().say
            evaluate_run(run, sweep.config.evaluation, say=say, keep_base=KeptAnswers(directory=sweep.base_dir, trial=trial.name, say=say))
    except TrainingInterrupted:
        raise
    except TunesmithError as mistake:
        error = str(mistake)
    except Exception as fault:  # noqa: BLE001 - a fault of ours: the other trials go on, and the log has it all
        traceback.print_exc()
        error, is_lost = f"{type(fault).__name__}: {fault}", lacked_memory(fault)
    seconds, host = time.monotonic() - started, socket.gethostname()
    return TrialEnd(name=trial.name, status="failed" if error else "done", error=error, seconds=seconds, host=host, is_lost=is_lost)


def lacked_memory(error: BaseException) -> bool:
    """Whether it was memory that lacked, of which there may be more another time."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in MEMORY_WORDS)


def _trained(sweep: SweepDirectory, trial: Trial) -> RunDirectory:
    path = sweep.runs_dir / trial.name
    if not is_run(path):
        return train(trial.train_config(sweep.data_of(trial)), runs_dir=sweep.runs_dir, name=trial.name, observer=Speaking())
    run = open_run(path)
    return run if run.is_complete else resume(path, observer=Speaking())


def stop_when_left() -> None:
    """Behave as after Ctrl-C once standard input ends: the sweep wants it, or is no more. What does not end then is ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who was started in the background of a shell was told to ignore it

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # not through sys.stdin, whose lock would be held while Python ends
            pass
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(SECONDS_TO_SAVE)
        os._exit(TrainingInterrupted.exit_code)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Exit code 0, 1 when the trial failed, 130 when it was stopped."""
    directory, name = arguments
    stop_when_left()
    sweep = SweepDirectory.open(Path(directory))
    trial = next(trial for trial in sweep.trials() if trial.name == name)
    try:
        with sweep.lock_of(trial).acquire(timeout=SECONDS_FOR_ANOTHER):
            end = run_trial(sweep, trial)
            sweep.append_end(end)
    except TrainingInterrupted as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print("stopped; the next attempt goes on from the last checkpoint", file=sys.stderr)
        return TrainingInterrupted.exit_code
    except Timeout:
        error = f"another process has been at this trial for more than {SECONDS_FOR_ANOTHER} s"
        end = TrialEnd(name=name, status="failed", error=error, seconds=SECONDS_FOR_ANOTHER, host=socket.gethostname(), is_lost=True)
        sweep.append_end(end)
    if end.error:
        print(end.error, file=sys.stderr)
    return 0 if end.status == "done" else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
