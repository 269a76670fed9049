"""The sweep directory, which can be read at any time and gone on with after any end.

sweeps/faq-sizes/
  sweep.json       written first: settings, data fingerprint, command
  data/            n100-seed-0/ …: prepared directories with fewer training examples
  runs/            001-n100/ …: a run for each trial, like any other
  logs/            001-n100.log: what the trial said
  base/            what base models answered, for the trials that ask them the same (base_answers.py)
  trials.jsonl     append-only: when and where each attempt at a trial was started, and how it ended
  report.json, report.html
"""

from __future__ import annotations

import dataclasses
import json
import socket
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from tunesmith.config import SweepConfig, build
from tunesmith.data.publishing.subset import write_subset
from tunesmith.data.storing.prepared import PreparedData, load_prepared
from tunesmith.errors import RunError
from tunesmith.files import append_json_lines, atomic_directory, read_json_lines, write_json
from tunesmith.runs import provenance
from tunesmith.sweep.plan import Trial, plan_trials

SCHEMA_VERSION = 1
RECORD = "sweep.json"
STARTED = "started"
"""Status of a line that tells of a start; those of ends are in `TrialEnd`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEnd:
    """How a trial ended."""

    name: str
    status: Literal["done", "failed"]
    error: str | None
    """Why it failed, for people."""
    seconds: float
    """Of this process; a trial that was stopped and resumed took longer."""
    host: str | None = None
    """The machine it ran on; None where that is not known."""
    is_lost: bool = False
    """It failed because its process, worker or machine went away, or for want of memory: another attempt may fare better."""


@dataclass(frozen=True, kw_only=True)
class SweepDirectory:
    """A sweep on disk."""

    path: Path
    config: SweepConfig
    num_train: int
    """Examples in the whole training split."""

    @classmethod
    def create(cls, path: Path, config: SweepConfig) -> SweepDirectory:
        """Plan and write a new one.

        Raises:
            RunError: the name is taken.
            ConfigError: the plan cannot be run.
            DataError: the data set cannot be used.
        """
        if path.exists():
            raise RunError(
                str(path),
                "it exists already and is never overwritten",
                expected="a new directory",
                remedy=f"choose another with --out, or go on with `tunesmith sweep --resume {path}`",
            )
        data = load_prepared(config.data)
        config = config.model_copy(update={"data": config.data.resolve()})
        plan_trials(config, num_train=len(data.train))
        with atomic_directory(path) as staging:
            for name in ("data", "runs", "logs"):
                (staging / name).mkdir()
            record = {"config": config.model_dump(mode="json"), "num_train": len(data.train), "data_fingerprint": data.fingerprint}
            write_json(staging / RECORD, {"schema_version": SCHEMA_VERSION, **provenance(), **record})
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> SweepDirectory:
        """An existing one.

        Raises:
            RunError: it is none, or of a newer version.
        """
        try:
            record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            remedy = "start one with `tunesmith sweep DIR --model MODEL --out …`"
            raise RunError(str(path), f"there is no {RECORD}", expected="a sweep directory", remedy=remedy) from None
        except json.JSONDecodeError as error:
            raise RunError(str(path / RECORD), f"not JSON ({error})", expected="a file written by tunesmith", remedy="restore it") from None
        if (version := record["schema_version"]) > SCHEMA_VERSION:
            found = f"schema version {version}"
            raise RunError(str(path), found, expected=f"at most {SCHEMA_VERSION}", remedy="install a newer tunesmith")
        return cls(path=path, config=build(SweepConfig, record["config"], place=str(path / RECORD)), num_train=record["num_train"])

    @property
    def runs_dir(self) -> Path:
        return self.path / "runs"

    @property
    def page_file(self) -> Path:
        return self.path / "report.html"

    def log_file(self, trial: Trial) -> Path:
        return self.path / "logs" / f"{trial.name}.log"

    def trials(self) -> tuple[Trial, ...]:
        """In the order they are run."""
        return plan_trials(self.config, num_train=self.num_train)

    def data_of(self, trial: Trial) -> Path:
        """The data set a trial is trained on; subsets are there once `write_data` was called."""
        if trial.num_examples is None:
            return self.config.data
        return self.path / "data" / f"n{trial.num_examples}-seed-{trial.seed}"

    def write_data(self) -> PreparedData:
        """Write the subsets that are missing, and return the whole data set.

        Raises:
            RunError: the data set is no longer the one the sweep was planned on.
        """
        record = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
        data = load_prepared(self.config.data)
        if data.fingerprint != record["data_fingerprint"]:
            found = f"the data set {data.directory} has changed since the sweep began"
            raise RunError(str(self.path), found, expected=f"fingerprint {record['data_fingerprint']}", remedy="start a new sweep")
        for trial in self.trials():
            if trial.num_examples is not None and not (out := self.data_of(trial)).exists():
                write_subset(data, trial.num_examples, seed=trial.seed, out=out)
        return data

    @property
    def base_dir(self) -> Path:
        return self.path / "base"

    def append_start(self, trial: Trial, *, host: str | None = None) -> None:
        """What an earlier attempt came to holds no longer; `host` is this machine where None."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        append_json_lines(
            self.path / "trials.jsonl", [{"name": trial.name, "status": STARTED, "host": host or socket.gethostname(), "at": when}]
        )

    def append_end(self, end: TrialEnd) -> None:
        """On the disk before it returns; several processes may append."""
        append_json_lines(self.path / "trials.jsonl", [dataclasses.asdict(end)])

    def ends(self) -> dict[str, TrialEnd]:
        """By trial, how its last attempt ended; one that is under way, or was stopped, has no end."""
        ends: dict[str, TrialEnd] = {}
        for line in self._ledger():
            if line["status"] == STARTED:
                ends.pop(line["name"], None)
            else:
                ends[line["name"]] = TrialEnd(**line)
        return ends

    def failures(self) -> Mapping[str, list[TrialEnd]]:
        """By trial, every attempt that failed, oldest first."""
        failures: dict[str, list[TrialEnd]] = defaultdict(list)
        for line in self._ledger():
            if line["status"] == "failed":
                failures[line["name"]].append(TrialEnd(**line))
        return failures

    def host_of(self, trial: Trial) -> str | None:
        """Where the attempt under way was started; None: nobody wrote that down, as where a machine without this directory is at it."""
        lines = [line for line in self._ledger() if line["name"] == trial.name]
        return lines[-1].get("host") if lines and lines[-1]["status"] == STARTED else None

    def _ledger(self) -> list[dict[str, Any]]:
        file = self.path / "trials.jsonl"
        return read_json_lines(file) if file.is_file() else []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Run trials as the only process that does; the system lets go of the lock when the process dies.

        Raises:
            RunError: another process is at it.
        """
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout:
            found, expected = "another process is running this sweep", "one at a time"
            raise RunError(str(self.path), found, expected=expected, remedy="wait for it to end, or stop it with Ctrl-C") from None

    def lock_of(self, trial: Trial) -> FileLock:
        """Held by the process that is at a trial; one that was left by its sweep holds it until it has saved."""
        return FileLock(self.path / "logs" / f".{trial.name}.lock")

    def write_report(self, report: dict[str, Any]) -> None:
        write_json(self.path / "report.json", {"schema_version": SCHEMA_VERSION, **report})
