"""Run what is left of a sweep, several trials at a time, and say what they amount to.

>>> config = SweepConfig(data="prepared/faq", models=("smollm2-135m-instruct",), sizes=(0.125, 0.25, 0.5, 1))
>>> print("\\n".join(run_sweep(SweepDirectory.create(Path("sweeps/faq"), config)).summary_lines()))
"""

from __future__ import annotations

from collections.abc import Callable

from tunesmith.files import write_text
from tunesmith.sweep.directory import SweepDirectory
from tunesmith.sweep.local import run_here
from tunesmith.sweep.on_ray import RayCluster, run_on_ray
from tunesmith.sweep.page import render_page
from tunesmith.sweep.report import SweepReport, build_report

Say = Callable[[str], None]


def run_sweep(
    sweep: SweepDirectory, *, processes: int = 1, cluster: RayCluster | None = None, retry: bool = False, say: Say = lambda text: None
) -> SweepReport:
    """Run every trial that has not ended, and write the report.

    Args:
        sweep: an open directory.
        processes: trials at a time on this machine; each has its share of the cores.
        cluster: run the trials there instead.
        retry: trials that failed are run once more; else they are passed over.
        say: hears of every trial.

    Raises:
        KeyboardInterrupt: stopped by the user; the trials under way have saved themselves.
        RunError: the data set has changed.
        ConfigError: Ray is not installed, or the cluster cannot be reached.
    """
    sweep.write_data()
    ends, trials = sweep.ends(), sweep.trials()
    left = [trial for trial in trials if trial.name not in ends or (retry and ends[trial.name].status == "failed")]
    say(f"{len(trials)} trials" + (f", {len(trials) - len(left)} of them ended before" if len(left) < len(trials) else ""))
    ended = run_on_ray(sweep, left, cluster) if cluster else run_here(sweep, left, processes)
    for number, (trial, end) in enumerate(ended, start=1):
        say(f"{number} of {len(left)}: {trial.name} " + (f"failed: {end.error}" if end.error else f"done in {end.seconds:,.0f} s"))
    report = build_report(sweep)
    sweep.write_report(report.to_json())
    write_text(sweep.page_file, render_page(report, title=str(sweep.path)))
    return report
