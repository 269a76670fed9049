"""What the studio knows of runs and data sets, read from their directories and kept until a file changes.

    >>> library = Library(Path("runs"), Path("prepared"))
    >>> for run in library.runs():
    ...     print(run.name, run.status, run.reason)
    faq-1 finished None
    broken unreadable run.json is not JSON
    >>> library.run("faq-1")         # by a name that stands in a URL: looked up among those there are, never made into a path

Nothing here trusts a file: a directory that cannot be read is one `RunSummary` with the status `unreadable` and the reason. All methods may
be called from any thread.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar
from weakref import WeakValueDictionary

from tunesmith.runs import SCHEMA_VERSION, RunDirectory
from tunesmith.studio.metrics import FollowedMetrics, Metrics, Stamp
from tunesmith.studio.processes import ProcessNote, look_at
from tunesmith.studio.readable import Unreadable, find, items, mapping, number, read_object, shown, text, whole

Value = TypeVar("Value")
Status = Literal["running", "finished", "interrupted", "failed", "unreadable"]

MOST_KEPT = 64
"""Documents of `Library.document`, such as an evaluation's records, kept in memory; the least recently used go first."""
MOST_RUNS = 10_000
"""Directories looked at; more are another kind of folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One headline metric of an evaluation: base against tuned."""

    name: str
    title: str
    base: float
    tuned: float
    difference: float
    interval: tuple[float, float]
    """Of the difference."""
    decimals: int
    verdict: str
    higher_is_better: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """One run in a row; of what cannot be read only name, path, status and reason say something."""

    name: str
    path: Path
    status: Status
    reason: str | None = None
    """Why it failed or cannot be read."""
    created: str = ""
    """`2026-01-31T14:25:01+0000`"""
    model: str = ""
    method: str = ""
    objective: str = ""
    data: str = ""
    """Directory of the prepared data."""
    parent: str | None = None
    """Name of the run it was trained from."""
    num_steps: int = 0
    planned_steps: int | None = None
    best_loss: float | None = None
    """On the validation split."""
    tokens_per_second: float | None = None
    verdict: str | None = None
    scores: tuple[Score, ...] = ()
    process: ProcessNote | None = None

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory(self.path)

    @property
    def is_running(self) -> bool:
        return self.status == "running"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSummary:
    """One prepared data set in a row."""

    name: str
    """Its place below the data directory, or its whole path where a run names one that lies elsewhere."""
    path: Path
    reason: str | None = None
    """Why it cannot be read."""
    num_examples: tuple[int, int, int] = (0, 0, 0)
    """Train, validation, test."""
    template: str = ""
    fingerprint: str = ""


@dataclass
class _Readers:
    """Who makes many objects and no garbage now, in whatever thread."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    count: int = 0
    was_enabled: bool = True


_READERS = _Readers()


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's garbage collector pauses while anybody is in here.

    It would look through what is read again and again meanwhile. For ten thousand records that took longer than reading them, and
    every page stood still for it.
    """
    with _READERS.lock:
        if not _READERS.count:
            _READERS.was_enabled = gc.isenabled()
            gc.disable()
        _READERS.count += 1
    try:
        yield
    finally:
        with _READERS.lock:
            _READERS.count -= 1
            if not _READERS.count and _READERS.was_enabled:
                gc.enable()


@dataclass
class _Kept:
    stamps: tuple[Stamp | None, ...]
    summary: RunSummary


class Library:
    """The runs and data sets of two directories."""

    def __init__(self, runs_dir: Path, data_dir: Path) -> None:
        self.runs_dir, self.data_dir = runs_dir, data_dir
        self._lock = threading.RLock()
        self._runs: dict[str, _Kept] = {}
        self._metrics: dict[str, FollowedMetrics] = {}
        self._data: dict[str, tuple[Stamp | None, DataSummary]] = {}
        self._documents: OrderedDict[tuple[Path, str], tuple[Stamp | None, Any]] = OrderedDict()
        self._turns: WeakValueDictionary[tuple[Path, str], Any] = WeakValueDictionary()  # locks of what is being read

    def runs(self) -> list[RunSummary]:
        """All runs, the newest first, those that cannot be read last."""
        with self._lock:
            names = _directories(self.runs_dir, "run.json")
            for gone in self._runs.keys() - set(names):
                del self._runs[gone]
                self._metrics.pop(gone, None)
            found = [self._summary(name) if shown(name) == name else _nameless(self.runs_dir / name) for name in names]
        return sorted(found, key=lambda run: (run.status != "unreadable", run.created, run.name), reverse=True)

    def run(self, name: str) -> RunSummary | None:
        """The run of this name, None where there is none; whatever else the name may spell."""
        with self._lock:
            return self._summary(name) if shown(name) == name and name in _directories(self.runs_dir, "run.json") else None

    def metrics(self, run: RunSummary) -> Metrics:
        """Steps and validations of a run, as they stand now."""
        with self._lock:
            return self._metrics.setdefault(run.name, FollowedMetrics(run.directory.metrics_file)).look()

    def document(self, file: Path, kind: str, read: Callable[[Path], Value]) -> Value:
        """What `read` makes of a file, kept until the file changes; `kind` tells several readings of one file apart.

        Whoever asks for what is being read waits for it: read twice at once it would take both of them twice as long.

        Raises:
            Unreadable: the file is absent.
        """
        key = file, kind
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            stamp = stamp_of(file)
            if stamp is None:
                raise Unreadable(f"there is no {file.name}")
            with self._lock:
                if key in self._documents and self._documents[key][0] == stamp:
                    self._documents.move_to_end(key)
                    kept: Value = self._documents[key][1]
                    return kept
            with uncollected():
                value = read(file)
            with self._lock:
                self._documents[key] = (stamp, value)
                self._documents.move_to_end(key)
                while len(self._documents) > MOST_KEPT:
                    self._documents.popitem(last=False)
        return value

    def data_sets(self) -> list[DataSummary]:
        """The prepared data sets of the data directory by name, then those elsewhere that runs were trained on."""
        with self._lock:
            own = [self._data_summary(name, self.data_dir / name) for name in _directories(self.data_dir, "manifest.json")]
            known = {one.path.resolve() for one in own}
            elsewhere = {Path(run.data) for run in self.runs() if run.data} - known
            found = [self._data_summary(str(path), path) for path in sorted(elsewhere) if stamp_of(path / "manifest.json")]
        return [*own, *found]

    def data_set(self, name: str) -> DataSummary | None:
        """The data set of this name among `data_sets`, None where there is none."""
        return next((one for one in self.data_sets() if one.name == name), None)

    def _data_summary(self, name: str, path: Path) -> DataSummary:
        stamp = stamp_of(path / "manifest.json")
        kept = self._data.get(name)
        if kept is None or kept[0] != stamp:
            kept = self._data[name] = (stamp, _read_data(name, path))
        return kept[1]

    def _summary(self, name: str) -> RunSummary:
        run = RunDirectory(self.runs_dir / name)
        files = (run.path / "run.json", run.path / "manifest.json", run.evaluation_report_file, run.process_file, run.metrics_file)
        stamps = tuple(map(stamp_of, files))
        kept = self._runs.get(name)
        is_open = kept is not None and kept.summary.status == "running"  # a process may end without a word
        if kept is None or is_open or kept.stamps != stamps:
            # A finished run's figures stand in its manifest; reading every step of 200 runs would take seconds.
            seen = None if stamps[1] else self._metrics.setdefault(name, FollowedMetrics(run.metrics_file)).look()
            kept = self._runs[name] = _Kept(stamps, _read_run(run, seen))
        return kept.summary


def _nameless(path: Path) -> RunSummary:
    """A directory whose name no address can hold."""
    return RunSummary(name=shown(path.name), path=path, status="unreadable", reason="the directory's name is no text")


def _directories(parent: Path, marker: str) -> list[str]:
    """Names of the folders that hold the marker; links lead wherever their maker wished, so they are followed as the user's own."""
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for _, entry in zip(range(MOST_RUNS), entries, strict=False) if entry.is_dir()]
    except OSError:
        return []
    return sorted(name for name in names if not name.startswith(".") and stamp_of(parent / name / marker))


def stamp_of(file: Path) -> Stamp | None:
    """What changes with the file; None where there is none."""
    try:
        found = file.stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read_run(run: RunDirectory, metrics: Metrics | None) -> RunSummary:
    try:
        record = read_object(run.path / "run.json")
        return _summarise(run, record, metrics)
    except Unreadable as reason:
        return RunSummary(name=run.name, path=run.path, status="unreadable", reason=str(reason))


def _summarise(run: RunDirectory, record: dict[str, Any], metrics: Metrics | None) -> RunSummary:
    if (version := whole(record, "schema_version")) is None or version > SCHEMA_VERSION:
        raise Unreadable(f"run.json has the schema version {str(find(record, 'schema_version'))[:40]}, this is {SCHEMA_VERSION}")
    for keys in (("created",), ("model", "name"), ("config", "method"), ("data", "directory")):
        if text(record, *keys) is None:
            raise Unreadable(f"run.json has no {'.'.join(keys)}")
    manifest = read_object(run.path / "manifest.json") if run.is_complete else None
    process = look_at(run)
    status, reason = _status(manifest is not None, process)
    verdict, scores = _evaluation(run)
    parent = text(record, "parent")
    return RunSummary(
        name=run.name,
        path=run.path,
        status=status,
        reason=reason,
        created=text(record, "created") or "",
        model=text(record, "model", "name") or "",
        method=text(record, "config", "method") or "",
        objective=text(record, "config", "objective") or "",
        data=text(record, "data", "directory") or "",
        parent=Path(parent).name if parent else None,
        num_steps=metrics.last_step if metrics and manifest is None else whole(manifest, "num_steps") or 0,
        planned_steps=whole(record, "cost", "num_steps"),
        best_loss=number(manifest, "best_loss") if manifest is not None else metrics.best_loss if metrics else None,
        tokens_per_second=number(manifest, "tokens_per_second") if manifest is not None else _speed(metrics),
        verdict=verdict,
        scores=scores,
        process=process,
    )


def _status(is_complete: bool, process: ProcessNote | None) -> tuple[Status, str | None]:
    if is_complete:
        return "finished", None
    if process is None or process.outcome == "interrupted":
        return "interrupted", None
    if process.outcome == "failed":
        return "failed", process.message
    if process.is_elsewhere:
        return "running", f"as far as is known: its process is on {process.host}"
    return ("running", None) if process.is_alive else ("interrupted", "its process ended without a word: killed, or the machine went down")


def _speed(metrics: Metrics | None) -> float | None:
    latest = metrics.steps["tokens_per_second"][-20:] if metrics else []
    known = [speed for speed in latest if speed is not None]
    return sum(known) / len(known) if known else None


def _evaluation(run: RunDirectory) -> tuple[str | None, tuple[Score, ...]]:
    """Verdict and headline; a report that is not one says so in the verdict's place."""
    if not run.evaluation_report_file.is_file():
        return None, ()
    try:
        report = read_object(run.evaluation_report_file)
    except Unreadable as reason:
        return f"cannot be read: {reason}", ()
    deciding = {name for name in items(report, "deciding") if isinstance(name, str)}
    scores = [_score(one) for one in items(report, "comparisons") if text(one, "metric", "name") in deciding]
    return text(report, "verdict"), tuple(score for score in scores if score is not None)


def _score(comparison: object) -> Score | None:
    base, tuned, difference = (number(comparison, key) for key in ("base", "tuned", "difference"))
    interval = [number({"": end}, "") for end in items(comparison, "interval")]
    if base is None or tuned is None or difference is None or len(interval) != 2:
        return None
    low, high = interval
    if low is None or high is None:
        return None
    metric = mapping(comparison, "metric")
    return Score(
        name=text(metric, "name") or "",
        title=text(metric, "title") or text(metric, "name") or "",
        base=base,
        tuned=tuned,
        difference=difference,
        interval=(low, high),
        decimals=min(6, max(0, whole(metric, "decimals") or 0)),
        verdict=text(comparison, "verdict") or "",
        higher_is_better=metric.get("higher_is_better") is not False,
    )


def _read_data(name: str, path: Path) -> DataSummary:
    try:
        manifest = read_object(path / "manifest.json")
    except Unreadable as reason:
        return DataSummary(name=name, path=path, reason=str(reason))
    if not mapping(manifest, "splits"):
        return DataSummary(name=name, path=path, reason="manifest.json is not of a prepared data set")
    train, validation, test = (_num_examples(manifest, split) for split in ("train", "validation", "test"))
    return DataSummary(
        name=name,
        path=path,
        num_examples=(train, validation, test),
        template=text(manifest, "settings", "template") or "",
        fingerprint=text(manifest, "fingerprint") or "",
    )


def _num_examples(manifest: dict[str, Any], split: str) -> int:
    return whole(manifest, "counts", split) or 0
