"""What the trials of a sweep amount to: a table, learning curves, and the best run.

The best is chosen on the validation split, and its figures on the test split are reported: choosing on the test split would flatter it
(Hastie et al. 2009, section 7.2). Losses of models with different tokenizers are compared per byte of text, not per token.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from tunesmith.data.storing.prepared import load_prepared
from tunesmith.evaluate.records import EvaluationRecord, read_records
from tunesmith.evaluate.report import EvaluationReport, read_report
from tunesmith.evaluate.scorers import LOSS, Metric
from tunesmith.evaluate.wording import signed
from tunesmith.runs import RunDirectory, open_run
from tunesmith.sweep.curve import Curve, Floats, fit_curve
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.plan import Trial
from tunesmith.types import Example


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """A trial in short; what it has not come to is None."""

    name: str
    model: str
    num_examples: int
    varied: Mapping[str, Any]
    status: str
    """`done`, `failed`, or `left`: not run yet."""
    error: str | None = None
    validation_loss: float | None = None
    """Nats per supervised token, of the weights kept."""
    validation_nats_per_byte: float | None = None
    base: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The headline metrics of the evaluation, of the base model."""
    tuned: Mapping[str, float] = dataclasses.field(default_factory=dict)
    verdict: str | None = None
    """Against the base model."""
    seconds: float | None = None
    """Of training."""
    run: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """A size of the training split."""

    num_examples: int
    value: float
    """Mean over the seeds."""
    values: tuple[float, ...]
    """Of each seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve:
    """One metric over sizes, everything else the same."""

    title: str
    """What is the same: model and settings."""
    metric: str
    metric_title: str
    decimals: int
    base: float
    """Without training."""
    points: tuple[CurvePoint, ...]
    fit: Curve | None
    """None where there are too few sizes."""

    @property
    def sentence(self) -> str:
        """`loss: 2.19 untrained, 1.93 (147), …; twice the data (2,350): 1.48 [1.45, 1.52], -0.07 [-0.09, -0.05]`."""
        form = f"{{:.{self.decimals}f}}"
        points = ", ".join(f"{form.format(point.value)} ({point.num_examples:,})" for point in self.points)
        text = f"{self.title}, {self.metric_title}: {form.format(self.base)} untrained, {points}"
        if self.fit is None:
            return f"{text}; four sizes are needed to say what more data would bring"
        value, low, high = (form.format(number) for number in self.fit.doubled)
        gain, least, most = (signed(number, self.decimals) for number in self.fit.doubled_gain)
        return f"{text}; twice the data ({2 * self.fit.largest:,}) by the fit: {value} [{low}, {high}], {gain} [{least}, {most}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport:
    """Everything a sweep found."""

    results: tuple[TrialResult, ...]
    metrics: Mapping[str, str]
    """Name to title, of the headline metrics."""
    curves: tuple[LearningCurve, ...]
    best: str | None
    """Name of the trial with the lowest validation loss; None without a validation split."""
    num_test: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def best_result(self) -> TrialResult | None:
        return next((result for result in self.results if result.name == self.best), None)

    def summary_lines(self) -> list[str]:
        """Below the table: curves and the best."""
        lines = [curve.sentence for curve in self.curves]
        if best := self.best_result:
            figures = ", ".join(f"{title} {best.base[name]:.3f} -> {best.tuned[name]:.3f}" for name, title in self.metrics.items())
            held_out = f"on {self.num_test:,} held-out examples: {figures}"
            lines.append(f"best by validation loss: {best.name} ({best.validation_loss:.4f}); {held_out}; {best.verdict}")
        elif any(result.status == "done" for result in self.results):
            lines.append("no best: without a validation split it would be chosen by the test split, and flattered")
        return lines


def build_report(sweep: SweepDirectory) -> SweepReport:
    """Read every run of the sweep.

    Raises:
        RunError: a run's evaluation cannot be read.
    """
    trials, ends = sweep.trials(), sweep.ends()
    done = {trial.name: open_run(sweep.runs_dir / trial.name) for trial in trials if _is_done(ends.get(trial.name))}
    reports = {name: read_report(run) for name, run in done.items()}
    num_bytes = _num_reference_bytes(load_prepared(sweep.config.data).validation)
    results = [_result(sweep, trial, ends.get(trial.name), done.get(trial.name), reports.get(trial.name), num_bytes) for trial in trials]
    judged = [result for result in results if result.validation_nats_per_byte is not None]
    best = min(judged, key=lambda result: result.validation_nats_per_byte or 0.0).name if judged else None
    metrics = {c.metric.name: c.metric.title for report in reports.values() for c in report.headline}
    return SweepReport(
        results=tuple(results),
        metrics=metrics,
        curves=tuple(_curves(sweep, trials, done, reports)),
        best=best,
        num_test=max((report.num_examples for report in reports.values()), default=0),
    )


def _is_done(end: TrialEnd | None) -> bool:
    return end is not None and end.status == "done"


def _num_reference_bytes(examples: Sequence[Example]) -> int:
    return sum(len((example.reference if example.text is None else example.text).encode()) for example in examples)


def _result(
    sweep: SweepDirectory, trial: Trial, end: TrialEnd | None, run: RunDirectory | None, report: EvaluationReport | None, num_bytes: int
) -> TrialResult:
    known: dict[str, Any] = {
        "name": trial.name,
        "model": trial.model,
        "num_examples": trial.num_examples or sweep.num_train,
        "varied": dict(trial.varied),
        "status": end.status if end else "left",
        "error": end.error if end else None,
    }
    if run is None or report is None:
        return TrialResult(**known)
    manifest, preflight = run.manifest(), run.preflight_record()
    loss, validation = manifest["best_loss"], preflight["validation"]
    return TrialResult(
        **known,
        validation_loss=loss,
        validation_nats_per_byte=loss * validation["num_supervised"] / num_bytes if loss is not None and num_bytes else None,
        base={c.metric.name: c.base for c in report.headline},
        tuned={c.metric.name: c.tuned for c in report.headline},
        verdict=report.verdict,
        seconds=manifest["seconds"],
        run=str(run.path),
    )


def _curves(
    sweep: SweepDirectory, trials: Sequence[Trial], done: Mapping[str, RunDirectory], reports: Mapping[str, EvaluationReport]
) -> list[LearningCurve]:
    """One for each metric of each group of trials that differ in size and seed alone."""
    groups: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        if trial.name in done:
            rest = [f"{key} {value}" for key, value in trial.varied.items() if key != "seed"]
            groups[", ".join([trial.model, *rest])][trial.num_examples or sweep.num_train].append(trial.name)
    records = {name: read_records(run.evaluation_records_file) for name, run in done.items()}
    return [
        _curve(title, comparison.metric, by_size, records, reports)
        for title, by_size in groups.items()
        if len(by_size) > 1
        for comparison in reports[by_size[min(by_size)][0]].headline
    ]


Records = Sequence[EvaluationRecord]


def _curve(
    title: str,
    metric: Metric,
    by_size: Mapping[int, Sequence[str]],
    records: Mapping[str, Records],
    reports: Mapping[str, EvaluationReport],
) -> LearningCurve:
    """Over the examples that have the metric in every trial."""
    names = [name for group in by_size.values() for name in group]
    shared = set.intersection(*({record.id for record in records[name] if _has(record, metric)} for name in names))
    weights = _weights([record for record in records[names[0]] if record.id in shared], metric)
    columns = {name: _column([record for record in records[name] if record.id in shared], metric) for name in names}
    sizes = sorted(by_size)
    points = []
    for size in sizes:
        values = tuple(float(columns[name].sum() / weights.sum()) for name in by_size[size])
        points.append(CurvePoint(num_examples=size, values=values, value=fmean(values)))
    numerators = np.stack([np.mean([columns[name] for name in by_size[size]], axis=0) for size in sizes])  # (K, n)
    bases = [comparison.base for name in names for comparison in reports[name].headline if comparison.metric.name == metric.name]
    return LearningCurve(
        title=title,
        metric=metric.name,
        metric_title=metric.title,
        decimals=metric.decimals + 1,
        base=fmean(bases),
        points=tuple(points),
        fit=fit_curve(np.array(sizes, dtype=np.float64), numerators, weights),
    )


def _has(record: EvaluationRecord, metric: Metric) -> bool:
    return metric.name == LOSS.name or metric.name in record.tuned.scores


def _column(run: Records, metric: Metric) -> Floats:
    return np.array([record.tuned.loss_total if metric.name == LOSS.name else record.tuned.scores[metric.name] for record in run])


def _weights(run: Records, metric: Metric) -> Floats:
    return np.array([record.tuned.num_supervised if metric.name == LOSS.name else 1 for record in run], dtype=np.float64)
