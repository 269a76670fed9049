"""What all benchmarks do alike: run a side in a process of its own, take medians, describe the machine.

Imports the standard library alone, because the peers' scripts import it too, in environments without tunesmith:

    task = read_task()                       # in a side's script: what it was asked to do
    ...
    write_figures(task, {"seconds": 12.3})   # and what it measured
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MODEL = "smollm2-135m-instruct"

Figures = dict[str, Any]
"""What one process measured, or a summary of several."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Starts the sides' scripts one after another; all share one scratch folder, so that what a peer compiles is compiled once."""

    scratch: Path
    threads: int

    def run(self, script: str, task: Mapping[str, Any], *, python: str = sys.executable) -> Figures:
        """Run `bench/SCRIPT` from start to end and return its figures.

        Raises:
            SystemExit: the script failed; shows the end of what it said.
        """
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        task_file = folder / "task.json"
        task_file.write_text(json.dumps({"output_dir": str(folder), "threads": self.threads, **task}), encoding="utf-8")
        done = subprocess.run(
            [python, str(HERE / script), str(task_file)],
            cwd=self.scratch,
            env={**os.environ, "PYTHONPATH": _path(), "OMP_NUM_THREADS": str(self.threads), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        figures_file = folder / "figures.json"
        if done.returncode or not figures_file.is_file():
            raise SystemExit(f"{script} failed (exit {done.returncode}):\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
        figures: Figures = json.loads(figures_file.read_text(encoding="utf-8"))
        return figures


def _path() -> str:
    """The sides' scripts find this module."""
    before = os.environ.get("PYTHONPATH")
    return f"{HERE}{os.pathsep}{before}" if before else str(HERE)


@contextmanager
def runner(threads: int) -> Iterator[Runner]:
    """A runner whose scratch folder goes at the end."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as scratch:
        yield Runner(scratch=Path(scratch), threads=threads)


def read_task() -> dict[str, Any]:
    """In a side's script: what `Runner.run` asked for, with `threads` and an empty `output_dir`."""
    task: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return task


def write_figures(task: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """In a side's script: hand back what was measured, peak memory and Python version added."""
    whole = {"peak_memory_bytes": peak_memory_bytes(), "python": platform.python_version(), **figures}
    (Path(task["output_dir"]) / "figures.json").write_text(json.dumps(whole), encoding="utf-8")


def peak_memory_bytes() -> int:
    """Most resident memory this process has had, loading included."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage also counts what the process was before it became this program
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS


class TreeMemory:
    """The most memory this process and its children have had together within the block, looked at ten times a second.

    Proportional set sizes where the system has them: what processes share counts once.
    """

    peak_bytes = 0

    def __enter__(self) -> TreeMemory:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.1):
            self.peak_bytes = max(self.peak_bytes, sum(map(_proportional_bytes, _tree(os.getpid()))))


def _tree(pid: int) -> list[int]:
    """A process and all its descendants (Linux)."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        children = [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(one for child in children for one in _tree(child))]


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def parser_for(description: str | None, *, repeats: int = 3) -> argparse.ArgumentParser:
    """The options every benchmark has; its first doc line says what it measures."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--model", default=MODEL, help="a named model or a folder")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of each side; medians are reported")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="write the whole record here as JSON")
    return parser


def medians(runs: Sequence[Figures], keys: Sequence[str]) -> Figures:
    """Of each key that the runs have."""
    return {key: statistics.median(run[key] for run in runs) for key in keys if all(key in run for run in runs)}


def compared(figures: Mapping[str, Sequence[Figures]], keys: Sequence[str], ratio_keys: Sequence[str]) -> dict[str, Any]:
    """Medians of every side over its runs, and tunesmith's over each other side's; a figure of zero has no ratio."""
    middle = {side: medians(runs, keys) for side, runs in figures.items()}
    ours = middle["tunesmith"]
    over = {side: {key: ours[key] / theirs[key] for key in ratio_keys if theirs.get(key)} for side, theirs in middle.items()}
    del over["tunesmith"]
    return {"medians": middle, "ratios": over, "versions": {side: runs[-1]["versions"] for side, runs in figures.items()}}


def machine(threads: int) -> Figures:
    """Enough to know the machine again."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None,
        "system": platform.platform(),
        "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    """Model name of the processor, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def record(options: argparse.Namespace, **parts: Any) -> Figures:
    """The whole record of a benchmark: when, where, on what work, and its parts."""
    told = {key: value.name if isinstance(value, Path) else value for key, value in vars(options).items()}
    work = {key: value for key, value in told.items() if key != "out" and not key.endswith("python")}  # paths of one machine
    return {"date": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "machine": machine(options.threads), "work": work, **parts}


def publish(summary: Figures, out: Path | None) -> None:
    """Print the record without its single runs; with `out`, keep all of it."""
    print(json.dumps({key: value for key, value in summary.items() if key != "runs"}, indent=2))
    if out:
        out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
