"""Runs brought home from machines that do not have the sweep's directory.

Runs come in pieces, each read by a task on the machine that has it, so that no run is in memory whole; they are put together under
another name and renamed, so that a run at home is whole, and what was here before stays until then. Where it was trained is then as at
home: its `run.json` names data set and model there.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from tunesmith.files import atomic_directory, sync_directory, write_json, write_text
from tunesmith.runs import RunDirectory
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.on_machine import Outcome
from tunesmith.sweep.plan import Trial
from tunesmith.sweep.sending import TransferError, write_pieces

NAMING_PATHS = ("run.json", "model/adapter_config.json", "model/README.md")
"""Files of a run in which paths of its data set and model stand."""
PIECE_BYTES = 8 * 2**20
PIECES_AHEAD = 4
Pull = Callable[[str, int, int], Any]
"""(name, offset, size) -> a promise of these bytes of a file of the outcome."""
Redeem = Callable[[Any], bytes]


def bring_home(sweep: SweepDirectory, trial: Trial, outcome: Outcome, pull: Pull, redeem: Redeem) -> None:
    """The run, if it is whole, and the log; where something is missing, all that is here stays as it was.

    An attempt of the same trial that was left here gives way to it.

    Raises:
        TransferError: something is missing.
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
        write_pieces(staging, ((str(Path(name).relative_to(f"runs/{trial.name}")), content) for name, content in contents))
        _settle(staging, trial, sweep.data_of(trial).resolve())
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
        raise TransferError(f"{name}: {len(content):,} bytes came of {size:,}")
    return name, content


def _settle(run: Path, trial: Trial, data: Path) -> None:
    """Have the run name data set and model of this machine, which their fingerprints say are the same."""
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    there, here = record["config"]["model"], trial.model
    moved = {record["config"]["data"]: str(data)}
    if there != trial.model:  # a folder, a file or a run: models known by name are so everywhere
        here = moved[there] = str(Path(trial.model).expanduser().resolve())
    for name in NAMING_PATHS:
        if (file := run / name).is_file():
            write_text(file, _renamed(file.read_text(encoding="utf-8"), moved))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["config"]["model"] = trial.model
    if record["model"]["reference"] == here:
        record["model"]["reference"] = trial.model
    write_json(run / "run.json", record)
    write_text(run / "config.yaml", yaml.safe_dump(record["config"], sort_keys=False, allow_unicode=True))


def _renamed(text: str, moved: Mapping[str, str]) -> str:
    """Paths as they are in plain text and in JSON, which may write some characters otherwise."""
    for old, new in moved.items():
        for ascii_alone in (False, True):
            written, instead = (json.dumps(path, ensure_ascii=ascii_alone)[1:-1] for path in (old, new))
            text = text.replace(written, instead)
    return text
