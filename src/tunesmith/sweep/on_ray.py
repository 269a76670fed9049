"""Trials as Ray tasks, on this machine or a cluster, whether or not its machines share the sweep's directory.

A task starts the same process as a local sweep does, so the results are the same. Ray itself tries no task again: a trial whose worker
or machine was lost comes back as such, is written down, and waits again with what the sweep has left to run. When this process is
killed, Ray ends its workers and they their trials; what was finished is in the sweep's directory.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

from tunesmith.errors import ConfigError, RunError, first_line
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.gathering import IncompleteRunError, bring_home, end_at_home, identity_of, packed_sweep
from tunesmith.sweep.local import SECONDS_TO_SAVE
from tunesmith.sweep.on_machine import Order, Outcome, carry_out, forget, read_piece
from tunesmith.sweep.plan import Trial
from tunesmith.workers import available_cores

OWN_OBJECT_STORE = 2**28
"""Bytes, of a Ray that runs on this machine alone: what goes through it there is small."""
RETRIES_OF_A_PIECE = 3
LOCAL = "local"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class RayCluster:
    """Where, and what a trial takes of it."""

    address: str | None = None
    """`auto`, `HOST:PORT` or `ray://HOST:PORT`; None: `$RAY_ADDRESS`, and without it a Ray of our own on this machine."""
    cores: int = 1
    """Of a trial."""
    gpus: float = 0.0
    """Of a trial; a part of one is possible."""
    may_share: bool = True
    """Machines that have the sweep's directory work in it; else all work in folders of their own."""

    @property
    def resolved_address(self) -> str:
        """With the environment looked at; `local`: a Ray of our own."""
        return self.address or os.environ.get("RAY_ADDRESS") or LOCAL


def run_on_ray(
    sweep: SweepDirectory, waiting: deque[Trial], cluster: RayCluster, *, say: Say = lambda text: None
) -> Iterator[tuple[Trial, TrialEnd]]:
    """Each attempt at a trial with its end, as they end; those under way are stopped when the caller is.

    Args:
        sweep: an open directory.
        waiting: what to run; the caller may add to it in between.
        cluster: where.
        say: hears of the cluster.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached or has no machine for a trial.
        RunError: the cluster went away.
    """
    if not waiting:
        return
    ray = _connected(cluster)
    try:
        _describe(ray, cluster, say)
        yield from _Driver(ray, sweep, cluster).run(waiting)
    except ConnectionError as error:
        remedy = f"`tunesmith sweep --resume {sweep.path} --on ray` once it is back"
        found = f"the cluster cannot be reached any more ({first_line(error)})"
        raise RunError(str(sweep.path), found, expected="a cluster until the last trial", remedy=remedy) from None
    finally:
        ray.shutdown()


def _connected(cluster: RayCluster) -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is told to anybody
    address = cluster.resolved_address
    own: dict[str, Any] = {}
    if address == LOCAL:
        own = {"include_dashboard": False, "num_cpus": available_cores(), "object_store_memory": OWN_OBJECT_STORE}
    try:
        import ray

        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except ImportError:
        found, remedy = "Ray is not installed, or its client is not", "install it with `pip install 'tunesmith[ray]'`"
        raise ConfigError("sweep --on ray", found, expected="the extra `ray`", remedy=remedy) from None
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        found = f"the Ray cluster at {address} cannot be used ({first_line(error)})"
        expected = "the address of a running cluster with this Ray and this Python"
        raise ConfigError("sweep --on ray", found, expected=expected, remedy="correct --ray-address, or install the same there") from None
    return ray


def _describe(ray: Any, cluster: RayCluster, say: Say) -> None:
    """How many trials at a time, and what stands in their way.

    Raises:
        ConfigError: a trial wants more than this machine has, and there is no other.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(_places(machine, cluster) for machine in machines)
    wanted = _count(cluster.cores, "core") + (f" and {cluster.gpus:g} GPUs" if cluster.gpus else "")
    if places:
        say(f"Ray has {_count(len(machines), 'machine')} with room for {_count(places, 'trial')} at a time, of {wanted} each")
    elif cluster.resolved_address != LOCAL:
        say(f"no machine of the cluster has {wanted} now; waiting for one")  # which a cluster that grows may add
    else:
        found = f"a trial of {wanted}, on a machine with {machines[0].get('CPU', 0):g} cores and {machines[0].get('GPU', 0):g} GPUs"
        raise ConfigError("sweep --on ray", found, expected="at most what there is", remedy="lower --cores or --gpus")
    if not cluster.gpus and any(machine.get("GPU") for machine in machines):
        say("the trials run without a GPU, though the cluster has some: --gpus 1 gives each one")


def _places(machine: dict[str, float], cluster: RayCluster) -> int:
    by_cores = machine.get("CPU", 0) // cluster.cores
    return int(min(by_cores, machine.get("GPU", 0) // cluster.gpus) if cluster.gpus else by_cores)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


class _Driver:
    """Orders out and outcomes in, of one sweep on one cluster."""

    def __init__(self, ray: Any, sweep: SweepDirectory, cluster: RayCluster) -> None:
        self.ray, self.sweep, self.cluster = ray, sweep, cluster
        self.task = ray.remote(num_cpus=cluster.cores, num_gpus=cluster.gpus, max_retries=0)(carry_out)
        self.identity = identity_of(sweep)
        self.marker = sweep.path.resolve() / f".driver-{uuid4().hex}"
        self.packed: Any = None
        """Refers to the packed sweep, once a machine asked for it."""
        self.away: dict[str, str] = {}
        """Folders on machines without the directory, by machine."""

    def run(self, waiting: deque[Trial]) -> Iterator[tuple[Trial, TrialEnd]]:
        running: dict[Any, Trial] = {}
        for stale in self.sweep.path.glob(".driver-*"):
            stale.unlink(missing_ok=True)
        self.marker.touch()
        try:
            while waiting or running:
                if waiting:
                    trial = waiting.popleft()
                    if end := self._end_at_home(trial):
                        yield trial, end
                    else:
                        running[self._order(trial)] = trial
                    continue
                (done, *_), _ = self.ray.wait(list(running), num_returns=1)
                trial = running.pop(done)
                if (end := self._end(done, trial)) is None:
                    running[self._order(trial, pack=True)] = trial
                else:
                    yield trial, end
            ends = self.sweep.ends()
            if all(trial.name in ends and ends[trial.name].status == "done" for trial in self.sweep.trials()):
                self._clear()
        finally:
            self._stop(list(running))
            self.marker.unlink(missing_ok=True)

    def _order(self, trial: Trial, *, pack: bool = False) -> Any:
        if pack and self.packed is None:
            self.packed = self.ray.put(packed_sweep(self.sweep))
        order = Order(
            sweep=str(self.sweep.path.resolve()),
            marker=str(self.marker) if self.cluster.may_share else None,
            identity=self.identity,
            trial=trial.name,
            cores=self.cluster.cores,
            gpus=self.cluster.gpus,
            directory=str(Path.cwd()),
            version=metadata.version("tunesmith"),
        )
        return self.task.remote(order, [self.packed] if self.packed else [])  # in a list, Ray does not fetch it before it is asked to

    def _end(self, reference: Any, trial: Trial) -> TrialEnd | None:
        """How the attempt ended, written down; None: the machine has to be sent the sweep first."""
        try:
            outcome: Outcome = self.ray.get(reference)
            if outcome.end and outcome.away:
                self._bring_home(outcome, outcome.away, trial)
        except (self.ray.exceptions.RayError, IncompleteRunError) as error:
            return self._lost(error, trial)
        if outcome.end and outcome.end != self.sweep.ends().get(trial.name):  # the trial could not write it here
            self.sweep.append_start(trial, host=outcome.end.host)
            self.sweep.append_end(outcome.end)
        if outcome.end and outcome.away:  # written down first: nothing but the ledger says that it need not be done again
            self._forget_there(outcome.machine, outcome.away, outcome.end)
        return outcome.end

    def _end_at_home(self, trial: Trial) -> TrialEnd | None:
        """Of a trial whose run came home before this process, or one before it, could write that down."""
        if end := end_at_home(self.sweep, trial):
            self.sweep.append_end(end)
        return end

    def _lost(self, error: Exception, trial: Trial) -> TrialEnd:
        """Of an attempt that came to nothing, unless the trial had ended before its worker died."""
        written = self.sweep.ends().get(trial.name)
        if written and written.status == "done":
            return written
        is_ours = isinstance(error, self.ray.exceptions.RayTaskError)  # raised by our own code there, or for want of it
        what = f"its worker failed: {_last_line(error)}" if is_ours else f"its worker was lost: {first_line(error)}"
        end = TrialEnd(name=trial.name, status="failed", error=what, seconds=0.0, host=self.sweep.host_of(trial), is_lost=not is_ours)
        self.sweep.append_end(end)
        return end

    def _bring_home(self, outcome: Outcome, away: str, trial: Trial) -> None:
        self.away[outcome.machine] = away
        read = self._there(outcome.machine, read_piece)
        bring_home(self.sweep, trial, outcome, lambda name, offset, size: read.remote(away, name, offset, size), self.ray.get)

    def _forget_there(self, machine: str, away: str, end: TrialEnd) -> None:
        """What is at home; the checkpoints of a trial that failed stay for another attempt."""
        is_done = end.status == "done"
        run = [f"runs/{end.name}"] if is_done else []
        forgetting = self._there(machine, forget).remote(away, [f"logs/{end.name}.log", *run])
        if not is_done:  # the next attempt may begin there at once, and its log is another one
            self.ray.wait([forgetting], timeout=SECONDS_TO_SAVE)

    def _there(self, machine: str, function: Callable[..., Any]) -> Any:
        """A task for this machine alone, which takes nothing of what trials want."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        strategy = NodeAffinitySchedulingStrategy(node_id=machine, soft=False)
        return self.ray.remote(num_cpus=0, max_retries=RETRIES_OF_A_PIECE, scheduling_strategy=strategy)(function)

    def _clear(self) -> None:
        """Once all is at home, for until then checkpoints may be gone on with; what a machine that went away kept is lost with it."""
        clearing = [self._there(machine, forget).remote(folder, None) for machine, folder in self.away.items()]
        if clearing:
            self.ray.wait(clearing, num_returns=len(clearing), timeout=SECONDS_TO_SAVE)

    def _stop(self, running: list[Any]) -> None:
        """Trials save themselves before Ray goes away."""
        for reference in running:
            self.ray.cancel(reference)
        if running:
            self.ray.wait(running, num_returns=len(running), timeout=SECONDS_TO_SAVE)


def _last_line(error: Exception) -> str:
    """Of a traceback: what was raised."""
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
