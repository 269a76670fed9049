"""The learning curves of a sweep: each headline metric over the sizes of the training split, everything else the same."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from tunesmith.evaluate.records import EvaluationRecord, read_records
from tunesmith.evaluate.report import EvaluationReport
from tunesmith.evaluate.scorers import LOSS, Metric
from tunesmith.evaluate.scorers.own import MARK
from tunesmith.evaluate.wording import signed
from tunesmith.runs import RunDirectory
from tunesmith.sweep.curve import UNBOUNDED, Bounds, Curve, Floats, fit_curve
from tunesmith.sweep.directory import SweepDirectory
from tunesmith.sweep.plan import Trial


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
        """`loss: 2.19 untrained, 1.93 (147), …; twice the data (2,350): 1.48 [1.45, 1.52], -0.07 [-0.09, -0.05]`, and where that misses."""
        form = f"{{:.{self.decimals}f}}"
        points = ", ".join(f"{form.format(point.value)} ({point.num_examples:,})" for point in self.points)
        text = f"{self.title}, {self.metric_title}: {form.format(self.base)} untrained, {points}"
        if self.fit is None:
            return f"{text}; four sizes are needed to say what more data would bring"
        value, low, high = (form.format(number) for number in self.fit.doubled)
        gain, least, most = (signed(number, self.decimals) for number in self.fit.doubled_gain)
        text += f"; twice the data ({2 * self.fit.largest:,}) by the fit: {value} [{low}, {high}], {gain} [{least}, {most}]"
        warning = self.fit.warning(self.decimals)
        return f"{text}; {warning}" if warning else text


def learning_curves(
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
        fit=fit_curve(np.array(sizes, dtype=np.float64), numerators, weights, bounds=bounds_of(metric)),
    )


def bounds_of(metric: Metric) -> Bounds:
    """What the metric can be; a scorer of the user's own gives any number."""
    if metric.name == LOSS.name:
        return Bounds(0.0, math.inf)
    return UNBOUNDED if MARK in metric.name else Bounds(0.0, metric.top)


def _has(record: EvaluationRecord, metric: Metric) -> bool:
    return metric.name == LOSS.name or metric.name in record.tuned.scores


def _column(run: Records, metric: Metric) -> Floats:
    return np.array([record.tuned.loss_total if metric.name == LOSS.name else record.tuned.scores[metric.name] for record in run])


def _weights(run: Records, metric: Metric) -> Floats:
    return np.array([record.tuned.num_supervised if metric.name == LOSS.name else 1 for record in run], dtype=np.float64)
