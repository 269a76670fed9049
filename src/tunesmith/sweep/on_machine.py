"""What a worker of a cluster does: one trial in a process of its own, in the sweep's directory or far from it.

A machine that has the sweep's directory, as through a network file system, works in it. On another one the sweep is laid out in
`sweeps/` of tunesmith's cache there, with the models that it lacks (sending.py), and what a trial wrote is read from it piece by piece
(gathering.py). The folder outlives the worker: a trial that was interrupted on this machine goes on there from its last checkpoint.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from tunesmith.sweep.sending import SWEEP, LocalModel, is_here, write_pieces

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
    model: str
    """Of the trial, as the sweep names it."""
    models: Sequence[LocalModel]
    """Of the sweep, on the machine of the order."""
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
    """None: something is lacking to begin with."""
    lacks: Sequence[str] = ()
    """Parts that have to be sent."""
    machine: str = ""
    """Ray's id of it."""
    away: str | None = None
    """The sweep's folder on this machine, when it is not the one the order named."""
    files: Sequence[tuple[str, int]] = ()
    """Under `away`, what has to be brought home: path and bytes."""


Parts = Mapping[str, Sequence[tuple[str, Any]]]
"""By name of a part: names of files and what Ray knows their pieces by."""


def carry_out(order: Order, parts: Parts | None = None) -> Outcome:
    """Run the trial; of `parts` nothing is fetched that is not needed."""
    is_shared = order.marker is not None and Path(order.marker).is_file()
    if refusal := _refusal(order, is_shared):
        end = TrialEnd(name=order.trial, status="failed", error=refusal, seconds=0.0, host=socket.gethostname())
        return Outcome(end=end)
    if is_shared:
        sweep = SweepDirectory.open(Path(order.sweep))
        return Outcome(end=_run(sweep, _trial(sweep, order), order))
    folder, parts = folder_of(order.identity), parts or {}
    if lacks := [part for part in _needed(folder, order.models) if part not in parts]:
        return Outcome(end=None, lacks=lacks)
    sweep = lay_out(folder, order.models, lambda part: _fetched(parts[part]))
    trial = _trial(sweep, order)
    end = _run(sweep, trial, order)
    return Outcome(end=end, machine=_machine(), away=str(folder), files=files_of(sweep, trial, is_done=end.status == "done"))


def _refusal(order: Order, is_shared: bool) -> str | None:
    """Why the trial cannot be run on this machine and not be brought there either."""
    host = socket.gethostname()
    if (own := metadata.version("tunesmith")) != order.version:
        return f"{host} has tunesmith {own}; install {order.version} there, as where the sweep was started"
    model = next((model for model in order.models if model.reference == order.model), None)
    if model and (model.is_run or is_shared) and not is_here(model):
        what = "run" if model.is_run else "model"
        has = f"has another {what} at {model.path} than" if Path(model.path).exists() else f"does not have the {what} {model.path} of"
        return f"{host} {has} the machine where the sweep was started; copy it there, or to storage that all of them see"
    return None


def _needed(folder: Path, models: Sequence[LocalModel]) -> list[str]:
    if (folder / RECORD).is_file():
        return []
    return [SWEEP, *(model.part for model in models if not model.is_run and not is_here(model))]


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


def lay_out(folder: Path, models: Sequence[LocalModel], fetch: Callable[[str], Iterator[tuple[str, bytes]]]) -> SweepDirectory:
    """The sweep with all of its subsets; several workers of a machine may ask for it, and only the first fetches its parts."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if needed := _needed(folder, models):
            _remove(folder)  # of which somebody who was stopped left a part
            for rest in folder.parent.glob(f".{folder.name}.partial-*"):  # of somebody who was killed: no other is at it now
                shutil.rmtree(rest)
            with atomic_directory(folder) as staging:
                for name in ("data", "runs", "logs"):
                    (staging / name).mkdir()
                for part in needed:
                    write_pieces(staging if part == SWEEP else staging / part, fetch(part))
                sent = {model.path: _place_of(model, folder) for model in models if model.part in needed}
                _place(staging / RECORD, folder, sent)
        sweep = SweepDirectory.open(folder)
        sweep.write_data()
    return sweep


def _fetched(part: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, bytes]]:
    import ray

    for name, reference in part:
        yield name, ray.get(reference)


def _place_of(model: LocalModel, folder: Path) -> str:
    return str(folder.resolve() / model.part / Path(model.path).name)


def _place(record_file: Path, folder: Path, sent: Mapping[str, str]) -> None:
    """Have the sweep find its data set, and the models that were sent with it, where they arrived."""
    record = json.loads(record_file.read_text(encoding="utf-8"))
    record["config"]["data"] = str(folder / record["config"]["data"])
    record["config"]["models"] = [sent.get(model, model) for model in record["config"]["models"]]
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
