"""What the trials of a sweep amount to: a table, learning curves, and the best run.

The best is chosen on the validation split, and its figures on the test split are reported: choosing on the test split would flatter it
(Hastie et al. 2009, section 7.2). How losses are compared says choice.py.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.storing.prepared import load_prepared
from tunesmith.evaluate.report import EvaluationReport, read_report
from tunesmith.runs import RunDirectory, open_run
from tunesmith.sweep.choice import choose_best, scored_examples
from tunesmith.sweep.directory import SweepDirectory, TrialEnd
from tunesmith.sweep.learning import LearningCurve, learning_curves
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
    """`done`, `failed`, or `left`: not run to its end yet."""
    error: str | None = None
    objective: str | None = None
    validation_loss: float | None = None
    """The objective's, of the weights kept; of supervised training nats per supervised token."""
    validation_nats_per_byte: float | None = None
    """Of supervised training."""
    validation_left_out: tuple[str, ...] = ()
    """Ids of the examples whose loss is not in it, being too long for this trial."""
    test_left_out: int = 0
    """Held-out examples that were too long to be evaluated."""
    base: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The headline metrics of the evaluation, of the base model."""
    tuned: Mapping[str, float] = dataclasses.field(default_factory=dict)
    verdict: str | None = None
    """Against the base model."""
    seconds: float | None = None
    """Of training."""
    run: str | None = None
    failures: tuple[str, ...] = ()
    """Of its attempts before the last, oldest first: on which machine, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepReport:
    """Everything a sweep found."""

    results: tuple[TrialResult, ...]
    metrics: Mapping[str, str]
    """Name to title, of the headline metrics."""
    curves: tuple[LearningCurve, ...]
    best: str | None
    """Name of the trial with the lowest validation loss; None where losses are missing or do not compare."""
    notes: tuple[str, ...]
    """What is to be known about the comparison of the trials."""
    num_test: int

    def to_json(self) -> dict[str, Any]:
        """Its fields, and every curve's sentence."""
        values = dataclasses.asdict(self)
        curves = [{**record, "sentence": curve.sentence} for record, curve in zip(values["curves"], self.curves, strict=True)]
        return {**values, "curves": curves}

    @property
    def best_result(self) -> TrialResult | None:
        return next((result for result in self.results if result.name == self.best), None)

    def summary_lines(self) -> list[str]:
        """Below the table: curves, the best, and what is to be known about the comparison."""
        lines = [curve.sentence for curve in self.curves]
        if best := self.best_result:
            figures = ", ".join(f"{title} {best.base[name]:.3f} -> {best.tuned[name]:.3f}" for name, title in self.metrics.items())
            held_out = f"on {self.num_test:,} held-out examples: {figures}"
            lines.append(f"best by validation loss: {best.name} ({best.validation_loss:.4f}); {held_out}; {best.verdict}")
        for result in self.results:
            if result.failures:
                attempts = "attempt" if len(result.failures) == 1 else f"{len(result.failures)} attempts"
                lines.append(f"{result.name}: before it was {result.status}, {attempts} failed: {'; '.join(result.failures)}")
        return [*lines, *self.notes]


def build_report(sweep: SweepDirectory) -> SweepReport:
    """Read every run of the sweep.

    Raises:
        RunError: a run's evaluation cannot be read.
    """
    trials, ends = sweep.trials(), sweep.ends()
    done = {trial.name: open_run(sweep.runs_dir / trial.name) for trial in trials if _is_done(ends.get(trial.name))}
    reports = {name: read_report(run) for name, run in done.items()}
    validation = load_prepared(sweep.config.data).validation
    failures = sweep.failures()
    results = [
        dataclasses.replace(
            _result(sweep, trial, ends.get(trial.name), done.get(trial.name), reports.get(trial.name), validation),
            failures=_earlier(failures.get(trial.name, ()), ends.get(trial.name)),
        )
        for trial in trials
    ]
    best, notes = choose_best([result for result in results if result.status == "done"])
    metrics = {c.metric.name: c.metric.title for report in reports.values() for c in report.headline}
    return SweepReport(
        results=tuple(results),
        metrics=metrics,
        curves=tuple(learning_curves(sweep, trials, done, reports)),
        best=best,
        notes=(*notes, *_mixed_weights(trials, done)),
        num_test=max((report.num_examples for report in reports.values()), default=0),
    )


def _mixed_weights(trials: Sequence[Trial], done: Mapping[str, RunDirectory]) -> Iterator[str]:
    """Models whose trials began with unlike weights, as where machines fetched them from unlike places."""
    weights: dict[str, dict[str, str]] = defaultdict(dict)
    for trial in trials:
        if run := done.get(trial.name):
            model = run.record()["model"]
            weights[trial.model].setdefault(model.get("weights", ""), f"{trial.name} with those of {model['origin']}")
    for model, found in weights.items():
        if len(found) > 1:
            yield f"the trials of {model} do not compare: not all began with the same weights, {' and '.join(found.values())}"


def _is_done(end: TrialEnd | None) -> bool:
    return end is not None and end.status == "done"


def _earlier(failures: Sequence[TrialEnd], end: TrialEnd | None) -> tuple[str, ...]:
    """All that failed but the last, if that is what the trial came to."""
    before = failures[:-1] if failures and failures[-1] == end else failures
    return tuple(f"{failure.error}" + (f" (on {failure.host})" if failure.host else "") for failure in before)


def _result(
    sweep: SweepDirectory,
    trial: Trial,
    end: TrialEnd | None,
    run: RunDirectory | None,
    report: EvaluationReport | None,
    validation: Sequence[Example],
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
    manifest = run.manifest()
    return TrialResult(
        **known,
        **_validation(manifest, run.preflight_record()["validation"], validation),
        base={c.metric.name: c.base for c in report.headline},
        tuned={c.metric.name: c.tuned for c in report.headline},
        test_left_out=report.num_left_out,
        verdict=report.verdict,
        seconds=manifest["seconds"],
        run=str(run.path),
    )


def _validation(manifest: Mapping[str, Any], preflight: Mapping[str, Any] | None, validation: Sequence[Example]) -> dict[str, Any]:
    """What a run lost on the validation split, and on which of its examples; per byte where the loss is one of tokens."""
    loss, objective = manifest["best_loss"], manifest["objective"]
    if loss is None or preflight is None:
        return {"objective": objective}
    scored = scored_examples(validation, preflight["dropped"])
    per_byte = loss * preflight["num_supervised"] / scored.num_bytes if objective == "sft" else None
    return {
        "objective": objective,
        "validation_loss": loss,
        "validation_nats_per_byte": per_byte,
        "validation_left_out": scored.left_out,
    }
