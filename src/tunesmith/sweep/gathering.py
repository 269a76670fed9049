"""A sweep sent to machines that do not have its directory, and the runs brought home from them.

Runs come in pieces, each read by a task on the machine that has it, so that no run is in memory whole; they are put together under
another name and renamed, so that a run at home is whole. Where it was trained is then as at home: its `run.json` names the data set there.
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
from typing import Any

import yaml

from tunesmith.files import atomic_directory, write_json, write_text
from tunesmith.sweep.directory import RECORD, SweepDirectory
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
    """The run, if it is whole, and the log.

    An attempt of the same trial that was left here unfinished gives way to it.

    Raises:
        IncompleteRunError: something is missing.
    """
    log = f"logs/{trial.name}.log"
    run_files = [(name, size) for name, size in outcome.files if name != log]
    if run_files:
        with sweep.lock_of(trial):
            shutil.rmtree(sweep.runs_dir / trial.name, ignore_errors=True)
            with atomic_directory(sweep.runs_dir / trial.name) as staging:
                for name, content in _contents(run_files, pull, redeem):
                    _append(_below(staging, str(Path(name).relative_to(f"runs/{trial.name}"))), content)
                _settle(staging, sweep.data_of(trial).resolve())
    for _, content in _contents([file for file in outcome.files if file[0] == log], pull, redeem):
        _append(sweep.log_file(trial), content)


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
