"""Who trains in a run, stopping it and nobody else, starting commands."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.studio.made import make_run, write
from tunesmith.errors import RunError, TrainingInterrupted
from tunesmith.runs import RunDirectory
from tunesmith.studio.processes import Starter, command_line, look_at, stop, tail
from tunesmith.studio.reading import Library

SLEEPER = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(7))\nprint('ready', flush=True)\ntime.sleep(60)"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(make_run(tmp_path / "runs", "faq", data=tmp_path / "prepared", state="interrupted"))


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()


def note(run: RunDirectory, **changes: object) -> None:
    said = {"schema_version": 1, "run": str(run.path.resolve()), "host": socket.gethostname(), **described(os.getpid())}
    write(run.process_file, {**said, "outcome": "running", "message": None, **changes})


def described(pid: int) -> dict[str, object]:
    process = psutil.Process(pid)
    return {"pid": pid, "started": process.create_time(), "command": process.cmdline()}


def status(run: RunDirectory) -> tuple[str, str | None]:
    found = Library(run.path.parent, run.path.parent).run(run.name)
    assert found is not None
    return found.status, found.reason


def test_training_says_who_it_is_and_how_it_ended(run: RunDirectory) -> None:
    with run.locked():
        seen = look_at(run)
        assert seen is not None
        assert (seen.pid, seen.outcome, seen.is_alive) == (os.getpid(), "running", True)
        assert status(run) == ("running", None)
    ended = look_at(run)
    assert ended is not None
    assert (ended.outcome, ended.is_alive) == ("done", False)


def test_an_error_is_kept_with_its_message(run: RunDirectory) -> None:
    with pytest.raises(ValueError, match="boom"), run.locked():
        raise ValueError("boom")
    assert status(run) == ("failed", "boom")


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), TrainingInterrupted("runs/faq", "stopped", expected="x", remedy="y")])
def test_being_stopped_is_no_failure(run: RunDirectory, stopped: BaseException) -> None:
    with pytest.raises(type(stopped)), run.locked():
        raise stopped
    assert status(run) == ("interrupted", None)


def test_a_killed_process_is_told_from_a_running_one(run: RunDirectory, sleeper: subprocess.Popen[str]) -> None:
    note(run, **described(sleeper.pid))
    assert status(run) == ("running", None)
    sleeper.kill()
    sleeper.wait()
    assert status(run) == ("interrupted", "its process ended without a word: killed, or the machine went down")


def test_stopping_is_ctrl_c(run: RunDirectory, sleeper: subprocess.Popen[str]) -> None:
    note(run, **described(sleeper.pid))
    stop(run)
    assert sleeper.wait(timeout=10) == 7


def test_a_number_given_to_somebody_else_is_never_signalled(run: RunDirectory, sleeper: subprocess.Popen[str]) -> None:
    note(run, **{**described(sleeper.pid), "started": psutil.Process(sleeper.pid).create_time() - 60})
    with pytest.raises(RunError, match="no process on this machine"):
        stop(run)
    assert sleeper.poll() is None


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "elsewhere"},
        {"pid": 0},
        {"pid": -1},
        {"pid": 2**70},
        {"pid": "1"},
        {"pid": True},
        {"started": "now"},
        {"outcome": "done"},
    ],
)
def test_a_note_that_names_nobody_here_stops_nobody(run: RunDirectory, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(psutil.Process, "send_signal", lambda self, signum: sent.append(signum))
    note(run, **changes)
    with pytest.raises(RunError):
        stop(run)
    assert sent == []


def test_a_copy_of_a_run_stops_nobody(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(psutil.Process, "send_signal", lambda self, signum: sent.append(signum))
    with run.locked():
        copied = RunDirectory(shutil.copytree(run.path, run.path.with_name("copied")))
        assert status(copied)[0] == "interrupted"
        with pytest.raises(RunError, match="no process on this machine"):
            stop(copied)
        assert sent == []
        stop(run)
    assert sent == [signal.SIGINT]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["python", "-m", "tunesmith", "train"], "running"),
        (["/tunesmith/bin/python", "/tunesmith/bin/tunesmith", "train"], "running"),
        (["python", "mine.py"], "running"),
        (["/tunesmith/bin/python", "other.py"], "interrupted"),
        (["sleep", "60"], "interrupted"),
    ],
)
def test_another_program_is_not_the_one_that_trains(
    run: RunDirectory, words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(run, command=["python", "mine.py"])
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: words)
    assert status(run)[0] == expected


def test_this_test_would_be_stopped_otherwise(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(psutil.Process, "send_signal", lambda self, signum: sent.append(signum))
    note(run)
    stop(run)
    assert sent == [signal.SIGINT]


def test_a_run_elsewhere_says_so(run: RunDirectory) -> None:
    note(run, host="elsewhere")
    assert status(run) == ("running", "as far as is known: its process is on elsewhere")


def test_words_reach_the_command_as_they_are(tmp_path: Path) -> None:
    """No shell has a part in it."""
    starter = Starter(tmp_path / "logs")
    words = ["train", "; touch hacked; $(touch hacked) `touch hacked`", "--model=$(touch hacked)"]
    started = starter.start("faq", words)
    assert started.process.wait(timeout=60) == 2
    assert "there is no such directory" in started.tail()
    assert started.process.args == [*command_line(), *words]
    assert not list(tmp_path.rglob("hacked"))


def test_one_process_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.studio import processes

    monkeypatch.setattr(processes, "command_line", lambda *words: [sys.executable, "-c", "import time; time.sleep(30)"])
    starter = Starter(tmp_path)
    started = starter.start("faq", [])
    try:
        with pytest.raises(RunError, match="it was started and is running"):
            starter.start("faq", [])
    finally:
        started.process.kill()
        started.process.wait()
    assert starter.start("faq", []).exit_code is None
    starter.all()[0].process.kill()


def test_the_log_of_the_first_part_stays_when_a_run_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.studio import processes

    monkeypatch.setattr(processes, "command_line", lambda *words: [sys.executable, "-c", f"print('this is {words[0]}')"])
    starter = Starter(tmp_path)
    for words in (["first", "part"], ["second"]):
        assert starter.start("faq", words).process.wait(timeout=60) == 0
    lines = tail(tmp_path / "faq.log").splitlines()
    assert [lines[0].partition("] ")[2], lines[1]] == ["tunesmith first part", "this is first"]
    assert [lines[2].partition("] ")[2], lines[3]] == ["tunesmith second", "this is second"]
    assert lines[0].startswith("[20")


def test_the_tail_of_a_log_is_whole_lines_without_what_was_overwritten(tmp_path: Path) -> None:
    log = tmp_path / "faq.log"
    log.write_text("10 %\r50 %\rdone\n\xe4nd\n", encoding="utf-8")
    assert tail(log) == "done\n\xe4nd"
    log.write_text("x" * 100_000 + "\nlast\n", encoding="utf-8")
    assert tail(log) == "last"
    assert tail(tmp_path / "none") == ""


def test_a_started_process_outlives_the_one_that_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leads a session of its own, so a Ctrl-C for the studio does not reach it."""
    from tunesmith.studio import processes

    monkeypatch.setattr(processes, "command_line", lambda *words: [sys.executable, "-c", "import time; time.sleep(30)"])
    started = Starter(tmp_path).start("faq", [])
    try:
        time.sleep(0.1)
        assert os.getsid(started.process.pid) == started.process.pid
    finally:
        started.process.kill()
        started.process.wait()
