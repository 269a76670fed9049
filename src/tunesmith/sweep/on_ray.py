"""Trials as Ray tasks, on this machine or a cluster, whether or not its machines share the sweep's directory.

A task starts the same process as a local sweep does, so the results are the same. Ray itself tries no task again: a trial whose worker
or machine was lost comes back as such, is written down, and waits again with what the sweep has left to run. When this process is
killed, Ray ends its workers and they their trials; what was finished is in the sweep's directory.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

from tunesmith.errors import RunError, first_line
from tunesmith.sweep.cluster import RayCluster, Say, connected, describe
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.gathering import bring_home, end_at_home
from tunesmith.sweep.local import SECONDS_TO_SAVE
from tunesmith.sweep.on_machine import Order, Outcome, carry_out, forget, read_piece
from tunesmith.sweep.plan import Trial
from tunesmith.sweep.sending import SWEEP, TransferError, identity_of, local_models, pieces_of

RETRIES_OF_A_PIECE = 3


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
    ray = connected(cluster)
    try:
        describe(ray, cluster, say)
        yield from _Driver(ray, sweep, cluster, say).run(waiting)
    except ConnectionError as error:
        remedy = f"`tunesmith sweep --resume {sweep.path} --on ray` once it is back"
        found = f"the cluster cannot be reached any more ({first_line(error)})"
        raise RunError(str(sweep.path), found, expected="a cluster until the last trial", remedy=remedy) from None
    finally:
        ray.shutdown()


class _Driver:
    """Orders out and outcomes in, of one sweep on one cluster."""

    def __init__(self, ray: Any, sweep: SweepDirectory, cluster: RayCluster, say: Say = lambda text: None) -> None:
        self.ray, self.sweep, self.cluster, self.say = ray, sweep, cluster, say
        self.task = ray.remote(num_cpus=cluster.cores, num_gpus=cluster.gpus, max_retries=0)(carry_out)
        self.models = local_models(sweep)
        self.identity = identity_of(sweep, self.models)
        self.marker = sweep.path.resolve() / f".driver-{uuid4().hex}"
        self.parts: dict[str, list[tuple[str, Any]]] = {}
        """What machines asked for of the sweep: names of files and references to their pieces."""
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
                    running[self._order(trial)] = trial
                else:
                    yield trial, end
            ends = self.sweep.ends()
            if all(trial.name in ends and ends[trial.name].status == "done" for trial in self.sweep.trials()):
                self._clear()
        finally:
            self._stop(list(running))
            self.marker.unlink(missing_ok=True)

    def _order(self, trial: Trial) -> Any:
        order = Order(
            sweep=str(self.sweep.path.resolve()),
            marker=str(self.marker) if self.cluster.may_share else None,
            identity=self.identity,
            trial=trial.name,
            model=trial.model,
            models=self.models,
            cores=self.cluster.cores,
            gpus=self.cluster.gpus,
            directory=str(Path.cwd()),
            version=metadata.version("tunesmith"),
        )
        return self.task.remote(order, self.parts)  # references inside of something, Ray does not fetch before it is asked to

    def _send(self, part: str) -> None:
        """Into the cluster's object store, which moves to a disk what it has no room for."""
        if part not in self.parts:
            if part != SWEEP:
                path = next(model.path for model in self.models if model.part == part)
                self.say(f"sending {path} to the machines that do not have it")
            self.parts[part] = [(name, self.ray.put(content)) for name, content in pieces_of(self.sweep, part, self.models)]

    def _end(self, reference: Any, trial: Trial) -> TrialEnd | None:
        """How the attempt ended, written down; None: something has to be sent first."""
        try:
            outcome: Outcome = self.ray.get(reference)
            if outcome.end and outcome.away:
                self._bring_home(outcome, outcome.away, trial)
            for part in outcome.lacks:
                self._send(part)
        except (self.ray.exceptions.RayError, TransferError) as error:
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
        exceptions = self.ray.exceptions
        is_ours = isinstance(error, exceptions.RayTaskError) and not isinstance(getattr(error, "cause", None), exceptions.RayError)
        what = f"its worker failed: {_last_line(error)}" if is_ours else f"its worker was lost: {_in_short(error)}"
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


def _in_short(error: Exception) -> str:
    """Without what Ray advises to those who run the cluster."""
    return re.split(r", node ID: |\. This can happen if | To see node death ", first_line(error))[0]
