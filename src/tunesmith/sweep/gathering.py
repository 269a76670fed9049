"""A sweep sent to machines that do not have its directory, and the runs brought home from them.

Runs come in pieces, each read by a task on the machine that has it, so that no run is in memory whole; they are put together under
another name and renamed, so that a run at home is whole, and what was here before stays until then. Where it was trained is then as at
home: its `run.json` names the data set there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from tunesmith.files import atomic_directory, sync_directory, write_json, write_text
from tunesmith.runs import RunDirectory
from tunesmith.sweep.directory import RECORD, SweepDirectory, TrialEnd
from tunesmith.sweep.on_machine import Outcome
from tunesmith.sweep.plan import Trial

PIECE_BYTES = 8 * 2**20
PIECES_AHEAD = 4
Pull = Callable[[str, int, int], Any]
"""(name, offset, size) -> a promise of these bytes of a file of the outcome."""
Redeem = Callable[[Any], bytes]


class IncompleteRunError(Exception):
    """What came is not what the other machine said it has."""


def identity_of(sweep: SweepDirectory) -> str:
    """The same whenever the sweep is gone on with, another for every other sweep."""
    return hashlib.sha256((sweep.path / RECORD).read_bytes() + str(sweep.path.resolve()).encode()).hexdigest()[:20]


def packed_sweep(sweep: SweepDirectory) -> bytes:
    """A tar archive: record and data set, which are found by a path inside it; the subsets are made where it is unpacked.

    Models that are folders here are named by their whole path, and looked for there.
    """
    record = json.loads((sweep.path / RECORD).read_text(encoding="utf-8"))
    data = sweep.config.data
    record["config"]["data"] = f"source/{data.name}"
    record["config"]["models"] = [os.path.abspath(model) if Path(model).exists() else model for model in sweep.config.models]  # noqa: PTH100
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, RECORD, json.dumps(record).encode())
        for name in ("data", "runs", "logs"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory)
        archive.add(data, f"source/{data.name}")
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def bring_home(sweep: SweepDirectory, trial: Trial, outcome: Outcome, pull: Pull, redeem: Redeem) -> None:
    """The run, if it is whole, and the log; where something is missing, all that is here stays as it was.

    An attempt of the same trial that was left here gives way to it.

    Raises:
        IncompleteRunError: something is missing.
    """
    log_name = f"logs/{trial.name}.log"
    run_files = [(name, size) for name, size in outcome.files if name != log_name]
    with TemporaryFile() as log:
        for _, content in _contents([file for file in outcome.files if file[0] == log_name], pull, redeem):
            log.write(content)
        if run_files:  # last, as nothing that can fail on the other machine may follow it
            _bring_run(sweep, trial, _contents(run_files, pull, redeem))
        log.seek(0)
        with sweep.log_file(trial).open("ab") as own:
            shutil.copyfileobj(log, own)


def _bring_run(sweep: SweepDirectory, trial: Trial, contents: Iterator[tuple[str, bytes]]) -> None:
    """Beside what is here, then into its place by two renames."""
    run = sweep.runs_dir / trial.name
    come, old = (run.with_name(f".{run.name}.partial-{what}") for what in ("come", "old"))  # names that the next command clears away
    with atomic_directory(come) as staging:
        for name, content in contents:
            _append(_below(staging, str(Path(name).relative_to(f"runs/{trial.name}"))), content)
        _settle(staging, sweep.data_of(trial).resolve())
    with sweep.lock_of(trial):
        if run.exists():
            run.rename(old)
        come.rename(run)
    sync_directory(run.parent)
    shutil.rmtree(old, ignore_errors=True)


def end_at_home(sweep: SweepDirectory, trial: Trial) -> TrialEnd | None:
    """Of a run that is here, trained and evaluated, though nobody came to write it down; None: there is something left to do."""
    run = RunDirectory(sweep.runs_dir / trial.name)
    if not (run.is_complete and run.evaluation_report_file.is_file()):
        return None
    return TrialEnd(name=trial.name, status="done", error=None, seconds=0.0)


def _contents(files: list[tuple[str, int]], pull: Pull, redeem: Redeem) -> Iterator[tuple[str, bytes]]:
    """Pieces in order, with the name of their file; an empty file has one."""
    coming: deque[tuple[str, int, Any]] = deque()
    for name, size in files:
        for offset in range(0, max(size, 1), PIECE_BYTES):
            piece = min(PIECE_BYTES, size - offset)
            coming.append((name, piece, pull(name, offset, piece)))
            if len(coming) > PIECES_AHEAD:
                yield _redeemed(*coming.popleft(), redeem)
    while coming:
        yield _redeemed(*coming.popleft(), redeem)


def _redeemed(name: str, size: int, promise: Any, redeem: Redeem) -> tuple[str, bytes]:
    content = redeem(promise)
    if len(content) != size:
        raise IncompleteRunError(f"{name}: {len(content):,} bytes came of {size:,}")
    return name, content


def _below(directory: Path, name: str) -> Path:
    """A path inside, whatever the other machine says."""
    path = directory / name
    if ".." in Path(name).parts or Path(name).is_absolute():
        raise IncompleteRunError(f"{name} lies outside of the run")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _append(file: Path, content: bytes) -> None:
    with file.open("ab") as handle:
        handle.write(content)


def _settle(run: Path, data: Path) -> None:
    """Have the run name the data set of this machine, which its fingerprint says is the same."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["config"]["data"] = record["data"]["directory"] = str(data)
    write_json(run / "run.json", record)
    write_text(run / "config.yaml", yaml.safe_dump(record["config"], sort_keys=False, allow_unicode=True))
