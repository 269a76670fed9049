"""Which process trains in a run, and asking it to stop; starting one.

    >>> seen = look_at(run_dir)
    >>> seen.is_alive, seen.pid
    (True, 4711)
    >>> stop(run_dir)      # as Ctrl-C does: the step is finished and saved

`process.json` (see `tunesmith.runs`) names a process by its number *and* the time it began, so that a number the system has given to
somebody else since is never signalled; and the run, so that a copy of a directory stops nobody. Processes are started from lists of words,
never through a shell, and in a session of their own, so that they outlive the studio.
"""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tunesmith.errors import RunError
from tunesmith.runs import RunDirectory
from tunesmith.studio.readable import Unreadable, find, items, number, read_object, text, whole

SAME_START_SECONDS = 2.0
"""Two readings of when a process began may differ by a clock's correction; a number is not given again that quickly."""
LOG_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessNote:
    """What `process.json` says, and whether it is still true."""

    pid: int
    started: float
    """Seconds since 1970."""
    host: str
    outcome: str
    """`running`, `done`, `interrupted` or `failed`, as the process itself wrote it."""
    message: str | None
    """Why it failed."""
    is_alive: bool
    """The process is there, on this machine, and is at this run."""

    @property
    def is_elsewhere(self) -> bool:
        """Of another machine: nothing can be said about whether it runs."""
        return self.host != socket.gethostname()


def look_at(run: RunDirectory) -> ProcessNote | None:
    """The note of a run; None where there is none, as of runs of earlier versions, or none that can be read."""
    try:
        note = read_object(run.process_file)
    except Unreadable:
        return None
    pid, started, host = whole(note, "pid"), number(note, "started"), text(note, "host")
    if pid is None or pid <= 0 or started is None or host is None:
        return None
    outcome = text(note, "outcome") or "running"
    is_here = outcome == "running" and host == socket.gethostname() and find(note, "run") == str(run.path.resolve())
    process = _process(pid, started) if is_here else None
    alive = process is not None and _may_train(process, items(note, "command"))
    return ProcessNote(pid=pid, started=started, host=host, outcome=outcome, message=text(note, "message"), is_alive=alive)


def _process(pid: int, started: float) -> psutil.Process | None:
    """The process of this number if it is still the one that began then, and has not ended."""
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started) <= SAME_START_SECONDS
        return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OverflowError):
        return None


def _may_train(process: psutil.Process, command: list[Any]) -> bool:
    """Whether it is `tunesmith` or `python -m tunesmith`, or the note's own command, as of a script or notebook that trains."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(Path(word).name.partition(".")[0] == "tunesmith" for word in words) or words == command


def stop(run: RunDirectory) -> None:
    """Send SIGINT to the process that trains in this run; it finishes its step and saves.

    Raises:
        RunError: no process of this machine is at it, or it belongs to somebody else.
    """
    note = look_at(run)
    process = _process(note.pid, note.started) if note and note.is_alive else None
    if process is None:
        remedy = "stop it on the machine where it runs" if note and note.is_elsewhere else "resume it, if it is not finished"
        raise RunError(run.name, "no process on this machine is training in it", expected="a run that is running", remedy=remedy)
    try:
        process.send_signal(signal.SIGINT)  # psutil looks once more whether the number is still the same process'
    except psutil.Error as error:
        raise RunError(
            run.name, f"its process cannot be stopped ({error})", expected="a process of yours", remedy="stop it there"
        ) from None


def command_line(*words: str | Path) -> list[str]:
    """A `tunesmith` command by this Python, as a list."""
    return [sys.executable, "-m", "tunesmith", *map(str, words)]


@dataclass(frozen=True, kw_only=True)
class Started:
    """A process that the studio started."""

    name: str
    """Of the run."""
    words: tuple[str, ...]
    """After `tunesmith`."""
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def tail(self) -> str:
        """The end of what it printed."""
        return tail(self.log)

    def stop(self) -> None:
        """As Ctrl-C does; nothing where it has ended."""
        self.process.send_signal(signal.SIGINT)


class Starter:
    """Starts `tunesmith` commands for runs, and remembers them."""

    def __init__(self, logs_dir: Path) -> None:
        self.logs_dir = logs_dir
        self._started: dict[str, Started] = {}

    def start(self, name: str, words: Sequence[str | Path]) -> Started:
        """Start `tunesmith WORDS` with its output at the end of a log file: a run that is resumed has one for all its parts.

        Raises:
            RunError: a process that was started for this run is still at it.
        """
        before = self._started.get(name)
        if before is not None and before.exit_code is None:
            raise RunError(name, "it was started and is running", expected="one process at a time", remedy="wait for it, or stop it")
        self.logs_dir.mkdir(parents=True, exist_ok=True)
        log = self.logs_dir / f"{name}.log"
        with log.open("ab") as output:
            output.write(_heading(words))
            output.flush()
            process = subprocess.Popen(  # noqa: S603 - a list of words, no shell
                command_line(*words), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        started = Started(name=name, words=tuple(map(str, words)), log=log, process=process)
        self._started[name] = started
        return started

    def get(self, name: str) -> Started | None:
        """What was started for the run of this name, ended or not."""
        return self._started.get(name)

    def all(self) -> list[Started]:
        """In the order of starting."""
        return list(self._started.values())


def _heading(words: Sequence[str | Path]) -> bytes:
    """When, and what: the line before a command's output."""
    typed = shlex.join(["tunesmith", *map(str, words)])
    return f"[{time.strftime('%Y-%m-%dT%H:%M:%S%z')}] {typed}\n".encode("utf-8", "replace")


def tail(log: Path) -> str:
    """The last 64 KiB of a log as text, from a line's beginning; what a terminal would overwrite is left out."""
    try:
        with log.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(max(0, size - LOG_TAIL_BYTES))
            content = handle.read().decode("utf-8", "replace")
    except OSError:
        return ""
    if size > LOG_TAIL_BYTES:
        content = content.partition("\n")[2]
    return "\n".join(line.rpartition("\r")[2] for line in content.removesuffix("\n").split("\n"))
