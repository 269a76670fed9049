"""The run directory: the only room that knows a file name inside a run.

runs/faq-smollm2/
  run.json            written first: schema version, command, settings, seed, git commit, versions, data fingerprint
  config.yaml         the resolved settings, for people
  preflight.json      what the rendering check saw
  metrics.jsonl       append-only: one line a step, one a validation
  renderer.json       template and fingerprint that generation and serving must match
  reference/          for DPO and KTO: what the starting model said of the answers
  activations.json    for freeze: whether what the frozen layers compute is reused; activations.bin while it trains
  checkpoints/step-00000040/   all that resuming needs
  best/step-00000040/          trained weights at the best validation loss
  model/              the result: a PEFT adapter, or a folder `from_pretrained` loads
  process.json        which process trains in this run, or how the last one ended
  manifest.json       written last: its presence means the run is complete
  evaluation/         answers.jsonl, records.jsonl, report.json, report.html, report.md; votes.jsonl of people
                      judgement.json, judge_votes.jsonl, judge_calls/ of judges
  analysis/           records.jsonl, actions.json, review.csv, analysis.json
  probes/             scope.json, leaks.json
  benchmarks/         report.json, report.html, and a folder for each model with its answers, task by task
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import yaml
from filelock import FileLock, Timeout

from tunesmith.errors import RunError, TrainingInterrupted
from tunesmith.files import read_json_lines, remove_leftovers, write_json, write_text

SCHEMA_VERSION = 1
"""Of run directories; a higher one was written by a newer tunesmith and is refused."""


@dataclass(frozen=True)
class RunDirectory:
    """Paths inside one run, and reading and writing of its records."""

    path: Path
    is_followed: ClassVar[bool] = False
    """Whether another rank of the group writes it."""

    @property
    def name(self) -> str:
        """The directory's, also where it is called `.`; a link to it has a name of its own."""
        return (self.path.resolve() if self.path.name in ("", "..") else self.path).name

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best_dir(self) -> Path:
        return self.path / "best"

    @property
    def reference_dir(self) -> Path:
        return self.path / "reference"

    @property
    def activations_file(self) -> Path:
        return self.path / "activations.bin"

    @property
    def model_dir(self) -> Path:
        return self.path / "model"

    @property
    def evaluation_dir(self) -> Path:
        return self.path / "evaluation"

    @property
    def evaluation_records_file(self) -> Path:
        return self.evaluation_dir / "records.jsonl"

    @property
    def evaluation_answers_file(self) -> Path:
        """Of the latest evaluation, before they were scored."""
        return self.evaluation_dir / "answers.jsonl"

    @property
    def evaluation_vllm_log_file(self) -> Path:
        """What vLLM said, where the latest evaluation asked it."""
        return self.evaluation_dir / "vllm.log"

    @property
    def evaluation_report_file(self) -> Path:
        return self.evaluation_dir / "report.json"

    @property
    def html_report_file(self) -> Path:
        return self.evaluation_dir / "report.html"

    @property
    def markdown_report_file(self) -> Path:
        return self.evaluation_dir / "report.md"

    @property
    def votes_file(self) -> Path:
        return self.evaluation_dir / "votes.jsonl"

    @property
    def ratings_file(self) -> Path:
        return self.evaluation_dir / "ratings.jsonl"

    @property
    def judgement_file(self) -> Path:
        return self.evaluation_dir / "judgement.json"

    @property
    def judge_votes_file(self) -> Path:
        return self.evaluation_dir / "judge_votes.jsonl"

    @property
    def judge_calls_dir(self) -> Path:
        """What judges were asked and said, one file (`tunesmith.chat.ledger`) for each judge and question."""
        return self.evaluation_dir / "judge_calls"

    @property
    def analysis_dir(self) -> Path:
        return self.path / "analysis"

    @property
    def probes_dir(self) -> Path:
        return self.path / "probes"

    @property
    def scope_file(self) -> Path:
        return self.probes_dir / "scope.json"

    @property
    def leaks_file(self) -> Path:
        return self.probes_dir / "leaks.json"

    @property
    def analysis_file(self) -> Path:
        """The analysis of the latest evaluation, absent where there is none."""
        return self.analysis_dir / "analysis.json"

    def forget_analysis(self) -> None:
        """There are new answers. What was paid for or worked on stays: what a judge said, tables of rows under review."""
        for name in ("analysis.json", "records.jsonl", "actions.json"):
            (self.analysis_dir / name).unlink(missing_ok=True)

    @property
    def benchmarks_dir(self) -> Path:
        return self.path / "benchmarks"

    @property
    def process_file(self) -> Path:
        return self.path / "process.json"

    @property
    def is_complete(self) -> bool:
        return (self.path / "manifest.json").is_file()

    def record(self) -> dict[str, Any]:
        """What was known when the run started (`run.json`)."""
        return _read_record(self.path / "run.json")

    def manifest(self) -> dict[str, Any]:
        """The run's results.

        Raises:
            RunError: the run has not finished.
        """
        if not self.is_complete:
            raise RunError(
                str(self.path),
                "the run has not finished",
                expected="a manifest.json",
                remedy=f"finish it with `tunesmith train --resume {self.path}`",
            )
        return _read_record(self.path / "manifest.json")

    def write_manifest(self, values: Mapping[str, Any]) -> None:
        write_json(self.path / "manifest.json", {"schema_version": SCHEMA_VERSION, **values})

    def renderer_record(self) -> dict[str, Any]:
        return _read_record(self.path / "renderer.json")

    def write_renderer_record(self, values: Mapping[str, Any]) -> None:
        write_json(self.path / "renderer.json", {"schema_version": SCHEMA_VERSION, **values})

    def write_preflight(self, values: Mapping[str, Any]) -> None:
        write_json(self.path / "preflight.json", values)

    def preflight_record(self) -> dict[str, Any]:
        """What the rendering check saw of the splits `train` and `validation` (None without one)."""
        return _read_record(self.path / "preflight.json")

    def activations_record(self) -> dict[str, Any] | None:
        """What was decided about reusing activations; None where nothing was."""
        file = self.path / "activations.json"
        return _read_record(file) if file.is_file() else None

    def write_activations_record(self, values: Mapping[str, Any]) -> None:
        write_json(self.path / "activations.json", {"schema_version": SCHEMA_VERSION, **values})

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of `metrics.jsonl`, each with a `kind`: `step` or `validation`."""
        return read_json_lines(self.metrics_file) if self.metrics_file.is_file() else []

    def drop_metrics_after(self, step: int) -> None:
        """Forget what was logged after the checkpoint being resumed, so that no step is counted twice."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        write_text(self.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(self.checkpoints_dir.glob("step-*")) if self.checkpoints_dir.is_dir() else []

    def checkpoint_path(self, step: int) -> Path:
        return self.checkpoints_dir / f"step-{step:08d}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Train in this run as the only process that does; the system lets go of the lock when the process dies.

        Raises:
            RunError: another process is at it.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(
                str(self.path),
                "another process is training in this run",
                expected="one at a time",
                remedy="wait for it to end, or stop it with Ctrl-C",
            ) from None
        try:
            with self._noting_process():
                yield
        finally:
            lock.release()

    @contextmanager
    def _noting_process(self) -> Iterator[None]:
        """Keep in `process.json` who is at it and how it ended, so that what watches the run stops this process and no other."""
        import psutil  # here, so that a bare Python can list runs

        own = psutil.Process()
        process = {"pid": own.pid, "started": own.create_time(), "host": socket.gethostname(), "command": own.cmdline()}
        note = {"schema_version": SCHEMA_VERSION, "run": str(self.path.resolve()), **process}  # a copy of the run names the first one
        write_json(self.process_file, {**note, "outcome": "running", "message": None})
        outcome, message = "failed", None
        try:
            yield
            outcome = "done"
        except (KeyboardInterrupt, TrainingInterrupted):
            outcome = "interrupted"
            raise
        except BaseException as error:
            message = str(error) or type(error).__name__
            raise
        finally:
            with suppress(OSError):  # a full disk; the error that is on its way says so
                write_json(self.process_file, {**note, "outcome": outcome, "message": message})

    def remove_leftovers(self) -> None:
        """Clear away what a killed process left half-written. Call when going on with the run."""
        for directory in (self.path, self.checkpoints_dir, self.best_dir):
            remove_leftovers(directory)

    def keep_last_checkpoints(self, count: int) -> None:
        for old in self.checkpoints()[:-count]:
            shutil.rmtree(old)


@dataclass(frozen=True)
class FollowedRun(RunDirectory):
    """A run as the other ranks of a group see it: the first one writes, what these would write is the same and is not written."""

    is_followed: ClassVar[bool] = True

    def write_manifest(self, values: Mapping[str, Any]) -> None: ...

    def write_renderer_record(self, values: Mapping[str, Any]) -> None: ...

    def write_preflight(self, values: Mapping[str, Any]) -> None: ...

    def write_activations_record(self, values: Mapping[str, Any]) -> None: ...

    def append_metrics(self, values: Mapping[str, Any]) -> None: ...

    def drop_metrics_after(self, step: int) -> None: ...

    def remove_leftovers(self) -> None: ...

    def keep_last_checkpoints(self, count: int) -> None: ...

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield


def _read_record(file: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            str(file.parent), f"there is no {file.name}", expected="a run directory", remedy="see `tunesmith runs` for the runs there are"
        ) from None
    except json.JSONDecodeError as error:
        raise RunError(
            str(file), f"not JSON ({error})", expected="a file written by tunesmith", remedy="restore it, or train again under another name"
        ) from None
    version = record.get("schema_version", 0)
    if version > SCHEMA_VERSION:
        raise RunError(
            str(file),
            f"schema version {version}",
            expected=f"at most {SCHEMA_VERSION} (this is tunesmith {metadata.version('tunesmith')})",
            remedy="install a newer tunesmith",
        )
    return record


def require_free(runs_dir: Path, name: str) -> None:
    """Refuse a name before anything costs time.

    Raises:
        RunError: the name is taken, or cannot be a directory's.
    """
    if not re.fullmatch(r"[\w][\w.+-]*", name):
        raise RunError(
            str(runs_dir), f"the run name {name!r}", expected="letters, digits and . _ + -", remedy="choose another name with --name"
        )
    if (runs_dir / name).exists():
        raise _taken(runs_dir / name)


def create_run(runs_dir: Path, name: str, record: Mapping[str, Any]) -> RunDirectory:
    """Make `runs_dir/name` with its `run.json` and `config.yaml`.

    Raises:
        RunError: the name is taken, or cannot be a directory's.
    """
    require_free(runs_dir, name)
    path = runs_dir / name
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise _taken(path) from None
    run = RunDirectory(path)
    write_json(path / "run.json", {"schema_version": SCHEMA_VERSION, **record})
    write_text(path / "config.yaml", yaml.safe_dump(dict(record["config"]), sort_keys=False, allow_unicode=True))
    return run


def _taken(path: Path) -> RunError:
    return RunError(
        str(path),
        "a run of this name exists and is never overwritten",
        expected="a free name",
        remedy=f"choose another with --name, or continue it with --resume {path}",
    )


def open_run(path: Path) -> RunDirectory:
    """Open an existing run, whole or interrupted.

    Raises:
        RunError: not a run directory, or from a newer version.
    """
    run = RunDirectory(path)
    run.record()
    return run


def is_run(path: str | Path) -> bool:
    """Tell a run directory from a model folder."""
    return (Path(path) / "run.json").is_file()


def list_runs(runs_dir: Path) -> list[RunDirectory]:
    """Runs in `runs_dir`, oldest first; those whose record cannot be read come before all."""
    if not runs_dir.is_dir():
        return []
    runs = [RunDirectory(path) for path in runs_dir.iterdir() if is_run(path)]
    return sorted(runs, key=lambda run: (_created(run), run.name))


def _created(run: RunDirectory) -> str:
    try:
        return str(run.record()["created"])
    except RunError:  # of a newer version: one run must not hide the others
        return ""


def default_name(data: Path, model: str) -> str:
    """Date, data and model: `20260131-142501-faq-smollm2-135m-instruct`."""
    parts = [time.strftime("%Y%m%d-%H%M%S"), data.resolve().name, Path(model).name]
    return re.sub(r"[^\w.+]+", "-", "-".join(parts))


def provenance() -> dict[str, Any]:
    """Where a run came from: command, time, versions, git commit of the working directory."""
    packages = ("tunesmith", "torch", "transformers", "peft", "safetensors", "tokenizers")
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "directory": str(Path.cwd()),
        "git_commit": _git_commit(Path.cwd()),
        "python": sys.version.split()[0],
        "versions": {name: metadata.version(name) for name in packages},
    }


def _git_commit(directory: Path) -> str | None:
    """Commit of the user's working directory; None without git or outside a repository."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "rev-parse", "HEAD"], cwd=directory, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else None
