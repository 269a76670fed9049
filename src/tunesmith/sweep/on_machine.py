"""What a worker of a cluster does: one trial in a process of its own, in the sweep's directory or far from it.

A machine that has the sweep's directory, as through a network file system, works in it. On another one the sweep is unpacked into
`sweeps/` of tunesmith's cache there, and what a trial wrote is read from it piece by piece (gathering.py). The folder outlives the
worker: a trial that was interrupted on this machine goes on there from its last checkpoint.
"""

from __future__ import annotations

import io
import json
import shutil
import socket
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from tunesmith.assets import cache_dir
from tunesmith.files import atomic_directory, write_json
from tunesmith.sweep.directory import RECORD, SweepDirectory, TrialEnd
from tunesmith.sweep.local import SECONDS_BETWEEN_LOOKS, end_of, start, stop
from tunesmith.sweep.plan import Trial

FORGOTTEN = ".forgotten"
"""Ends the names of what is being removed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A trial, for a worker."""

    sweep: str
    """Absolute path of the sweep's directory where the order was given."""
    marker: str | None
    """Absolute path of a file that was just made in it: whoever sees it shares the directory; None: nobody does."""
    identity: str
    """Of the sweep; names its folder on machines without the directory."""
    trial: str
    cores: int
    gpus: float
    directory: str
    """That relative paths start from, where there is such a directory."""
    version: str
    """Of tunesmith."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of an order."""

    end: TrialEnd | None
    """None: there was nothing to work on, send the sweep."""
    machine: str = ""
    """Ray's id of it."""
    away: str | None = None
    """The sweep's folder on this machine, when it is not the one the order named."""
    files: Sequence[tuple[str, int]] = ()
    """Under `away`, what has to be brought home: path and bytes."""


def carry_out(order: Order, packed: Sequence[Any] = ()) -> Outcome:
    """Run the trial; `packed` refers to the sweep's `packed_sweep`, which is not fetched where it is not needed."""
    if (own := metadata.version("tunesmith")) != order.version:
        error = f"{socket.gethostname()} has tunesmith {own}; install {order.version} there, as where the sweep was started"
        return Outcome(end=TrialEnd(name=order.trial, status="failed", error=error, seconds=0.0, host=socket.gethostname()))
    if order.marker and Path(order.marker).is_file():
        sweep = SweepDirectory.open(Path(order.sweep))
        return Outcome(end=_run(sweep, _trial(sweep, order), order))
    folder = folder_of(order.identity)
    if not (folder / RECORD).is_file() and not packed:
        return Outcome(end=None)
    sweep = unpack_sweep(folder, lambda: _fetched(packed))
    trial = _trial(sweep, order)
    end = _run(sweep, trial, order)
    return Outcome(end=end, machine=_machine(), away=str(folder), files=files_of(sweep, trial, is_done=end.status == "done"))


def folder_of(identity: str) -> Path:
    """Of a sweep on a machine that does not share its directory."""
    return cache_dir() / "sweeps" / identity


def _machine() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def _trial(sweep: SweepDirectory, order: Order) -> Trial:
    return next(trial for trial in sweep.trials() if trial.name == order.trial)


def _run(sweep: SweepDirectory, trial: Trial, order: Order) -> TrialEnd:
    """In looks, not in one wait: Ray's way to cancel a task is an exception between two instructions."""
    directory = Path(order.directory)
    hidden = {} if order.gpus else {"CUDA_VISIBLE_DEVICES": ""}  # Ray's versions differ in whether they hide what was not asked for
    process = start(sweep, trial, order.cores, directory=directory if directory.is_dir() else None, environment=hidden)
    try:
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    finally:
        stop([process])
    return end_of(sweep, trial, process.returncode)


def unpack_sweep(folder: Path, fetch: Callable[[], bytes]) -> SweepDirectory:
    """With all of its subsets; several workers of a machine may ask for it, and only the first fetches it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not (folder / RECORD).is_file():
            _remove(folder)  # of which somebody who was stopped left a part
            with atomic_directory(folder) as staging, tarfile.open(fileobj=io.BytesIO(fetch())) as archive:
                archive.extractall(staging, filter="data")
                _place(staging / RECORD, folder)
        sweep = SweepDirectory.open(folder)
        sweep.write_data()
    return sweep


def _fetched(packed: Sequence[Any]) -> bytes:
    import ray

    content: bytes = ray.get(packed[0])
    return content


def _place(record_file: Path, folder: Path) -> None:
    """Have the sweep find its data set, packed with it, where it is unpacked."""
    record = json.loads(record_file.read_text(encoding="utf-8"))
    record["config"]["data"] = str(folder / record["config"]["data"])
    write_json(record_file, record)


def files_of(sweep: SweepDirectory, trial: Trial, *, is_done: bool) -> tuple[tuple[str, int], ...]:
    """The log, and the run once it is whole: one that failed stays for another attempt."""
    run = sweep.runs_dir / trial.name
    files = [sweep.log_file(trial), *(sorted(run.rglob("*")) if is_done else ())]
    return tuple((str(file.relative_to(sweep.path)), file.stat().st_size) for file in files if file.is_file() and file.name != ".lock")


def read_piece(folder: str, name: str, offset: int, size: int) -> bytes:
    """Of a file that an outcome names."""
    with (Path(folder) / name).open("rb") as file:
        file.seek(offset)
        return file.read(size)


def forget(folder: str, names: Sequence[str] | None) -> None:
    """Files and folders below it that were brought home; None: all of the sweep."""
    for path in [Path(folder)] if names is None else [Path(folder) / name for name in names]:
        _remove(path)


def _remove(path: Path) -> None:
    """At once for whoever looks for it; a worker that is stopped in between leaves a rest under a name that is cleared next time."""
    with suppress(FileNotFoundError):
        path.rename(path.with_name(f".{uuid4().hex}{FORGOTTEN}"))
    for rest in path.parent.glob(f".*{FORGOTTEN}"):
        if rest.is_dir():
            shutil.rmtree(rest, ignore_errors=True)
        else:
            rest.unlink(missing_ok=True)
