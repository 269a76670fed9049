"""Trials as Ray tasks, on this machine or a cluster whose machines share the sweep's directory.

A task starts the same process as a local sweep does, so the results are the same; when a worker dies, the process ends with it, and Ray
runs the task once more: an interrupted run is resumed, a finished one is not run again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.local import end_of, start, stop
from tunesmith.sweep.plan import Trial

MOST_RETRIES = 2
"""Of a task whose worker died."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RayCluster:
    """Where, and what a trial takes of it."""

    address: str | None = None
    """`auto`, `HOST:PORT` or `ray://…`; None starts Ray on this machine."""
    cores: int = 1
    """Of a trial."""
    gpus: float = 0.0
    """Of a trial; a part of one is possible."""


def run_on_ray(sweep: SweepDirectory, trials: Sequence[Trial], cluster: RayCluster) -> Iterator[tuple[Trial, TrialEnd]]:
    """Each trial with its end, as they end; those under way are stopped when the caller is.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _connected(cluster)
    task = ray.remote(num_cpus=cluster.cores, num_gpus=cluster.gpus, max_retries=MOST_RETRIES)(_run)
    running = {task.remote(str(sweep.path.resolve()), trial.name, cluster.cores): trial for trial in trials}
    try:
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            trial = running.pop(done)
            yield trial, _end(ray, done, sweep, trial)
    finally:
        for reference in running:
            ray.cancel(reference)
        ray.shutdown()


def _connected(cluster: RayCluster) -> Any:
    try:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody
        import ray
    except ImportError:
        remedy = "install it with `pip install 'tunesmith[ray]'`"
        raise ConfigError("sweep --on ray", "Ray is not installed", expected="the extra `ray`", remedy=remedy) from None
    try:
        own: dict[str, Any] = {} if cluster.address else {"include_dashboard": False}
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        found = f"no Ray cluster answers at {cluster.address} ({str(error).splitlines()[0]})"
        raise ConfigError("sweep --on ray", found, expected="the address of a running cluster", remedy="correct --ray-address") from None
    return ray


def _run(directory: str, name: str, cores: int) -> TrialEnd:
    """On a worker: one trial in a process of its own."""
    sweep = SweepDirectory.open(Path(directory))
    trial = next(trial for trial in sweep.trials() if trial.name == name)
    process = start(sweep, trial, cores)
    try:
        process.wait()
    finally:
        stop([process])
    return end_of(sweep, trial, process.returncode)


def _end(ray: Any, reference: Any, sweep: SweepDirectory, trial: Trial) -> TrialEnd:
    try:
        end: TrialEnd = ray.get(reference)
    except ray.exceptions.RayError as error:
        if written := sweep.ends().get(trial.name):  # the trial had ended before its worker died
            return written
        end = TrialEnd(name=trial.name, status="failed", error=f"its worker died: {str(error).splitlines()[0]}", seconds=0.0)
        sweep.append_end(end)
    return end
