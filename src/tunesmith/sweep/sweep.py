"""Run what is left of a sweep, several trials at a time, and say what they amount to.

>>> config = SweepConfig(data="prepared/faq", models=("smollm2-135m-instruct",), sizes=(0.125, 0.25, 0.5, 1))
>>> print("\\n".join(run_sweep(SweepDirectory.create(Path("sweeps/faq"), config)).summary_lines()))
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from tunesmith.files import remove_leftovers, write_text
from tunesmith.sweep.cluster import RayCluster
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.local import run_here
from tunesmith.sweep.on_ray import run_on_ray
from tunesmith.sweep.page import render_page
from tunesmith.sweep.plan import Trial
from tunesmith.sweep.report import SweepReport, build_report

Say = Callable[[str], None]
Runner = Callable[[deque[Trial]], Iterator[tuple[Trial, TrialEnd]]]
"""Runs what waits, also what is added to it in between."""

RETRIES = 2
"""Of a trial whose process, worker or machine was lost."""


def run_sweep(
    sweep: SweepDirectory,
    *,
    processes: int = 1,
    cores: int | None = None,
    cluster: RayCluster | None = None,
    retries: int = RETRIES,
    retry: bool = False,
    say: Say = lambda text: None,
) -> SweepReport:
    """Run every trial that has not ended, and write the report.

    Args:
        sweep: an open directory.
        processes: trials at a time on this machine.
        cores: threads of a trial on this machine; None: its share of the cores.
        cluster: run the trials there instead.
        retries: how often a trial is tried once more whose process, worker or machine was lost, or that had no memory.
        retry: trials that failed before are run once more; else they are passed over.
        say: hears of every trial.

    Raises:
        KeyboardInterrupt: stopped by the user; the trials under way have saved themselves.
        RunError: the data set has changed, another process is running this sweep, or the cluster went away.
        ConfigError: Ray is not installed, or the cluster cannot be used.
    """
    with sweep.locked():
        sweep.write_data()
        remove_leftovers(sweep.runs_dir)
        trials, left = sweep.trials(), remaining(sweep, retries=retries, retry=retry)
        say(f"{len(trials)} trials" + (f", {len(trials) - len(left)} of them ended before" if len(left) < len(trials) else ""))

        def run(waiting: deque[Trial]) -> Iterator[tuple[Trial, TrialEnd]]:
            return run_on_ray(sweep, waiting, cluster, say=say) if cluster else run_here(sweep, waiting, processes, cores=cores)

        lost = {trial.name: 0 if retry else _times_lost(sweep, trial) for trial in left}
        for number, (trial, end) in enumerate(with_retries(run, left, lost, retries, say), start=1):
            say(f"{number} of {len(left)}: {trial.name} {_came_to(end)}")
        report = build_report(sweep)
        sweep.write_report(report.to_json())
        write_text(sweep.page_file, render_page(report, title=str(sweep.path)))
    return report


def _came_to(end: TrialEnd) -> str:
    where = f" on {end.host}" if end.host and end.host != socket.gethostname() else ""
    return f"failed{where}: {end.error}" if end.error else f"done in {end.seconds:,.0f} s{where}"


def remaining(sweep: SweepDirectory, *, retries: int, retry: bool) -> list[Trial]:
    """Trials that have not ended, those that were lost less often than allowed, and with `retry` all that failed."""
    ends = sweep.ends()

    def is_left(trial: Trial) -> bool:
        end = ends.get(trial.name)
        if end is None or (retry and end.status == "failed"):
            return True
        return end.is_lost and _times_lost(sweep, trial) <= retries

    return [trial for trial in sweep.trials() if is_left(trial)]


def _times_lost(sweep: SweepDirectory, trial: Trial) -> int:
    return sum(end.is_lost for end in sweep.failures().get(trial.name, ()))


def with_retries(run: Runner, trials: Sequence[Trial], lost: dict[str, int], retries: int, say: Say) -> Iterator[tuple[Trial, TrialEnd]]:
    """What each trial came to at last; one that is lost waits again, behind the others."""
    waiting = deque(trials)
    for trial, end in run(waiting):
        if end.is_lost:
            lost[trial.name] += 1
            if lost[trial.name] <= retries:
                say(f"{trial.name} was lost and is tried once more ({lost[trial.name]} of {retries}): {end.error}")
                waiting.append(trial)
                continue
        yield trial, end
