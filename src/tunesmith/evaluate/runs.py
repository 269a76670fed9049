"""Any number of runs on the same held-out examples, beside each other.

>>> comparison = compare_runs([open_run(Path("runs/faq-1")), open_run(Path("runs/faq-2"))], EvaluateConfig())
>>> print("\\n".join(comparison.summary_lines()))
faq-1 -> faq-2
better: ROUGE-L 0.36 against 0.34, +0.02 [+0.01, +0.04], n = 153, p = 0.012
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tunesmith.config import EvaluateConfig
from tunesmith.errors import RunError
from tunesmith.evaluate.comparison import Comparison, compare_on, judge_together
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer, read_records
from tunesmith.evaluate.report import EvaluationReport, read_report
from tunesmith.evaluate.scorers import LOSS, Metric
from tunesmith.runs import RunDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class AgainstFirst:
    """A run and what changed since the first one."""

    run: str
    comparisons: tuple[Comparison, ...]
    newly_right: tuple[str, ...]
    """Ids of examples."""
    newly_wrong: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunsComparison:
    """Runs on the same examples; the first is what the others are compared with."""

    first: str
    num_examples: int
    num_left_out: int
    """Held-out examples that not all runs have; 0 unless only shared ones were asked for."""
    means: Mapping[str, Mapping[str, float]]
    """Base models (the labels of `bases`), then runs, to metric to mean, over the examples that have the metric for all of them."""
    bases: Mapping[str, tuple[str, ...]]
    """A base model's label, its name where that tells it apart, to the runs whose base it is."""
    titles: Mapping[str, str]
    """Metric to title."""
    others: tuple[AgainstFirst, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def summary_lines(self) -> list[str]:
        """For the terminal, below the table of means."""
        lines = [f"on {self.num_examples:,} examples" + (f", {self.num_left_out:,} left out" if self.num_left_out else "")]
        for other in self.others:
            flips = f"{len(other.newly_right)} newly right, {len(other.newly_wrong)} newly wrong"
            lines += ["", f"{self.first} -> {other.run}: {flips}", *(comparison.sentence for comparison in other.comparisons)]
        return [*lines, *(["", *self.notes] if self.notes else [])]


Records = Mapping[str, EvaluationRecord]


def compare_runs(runs: Sequence[RunDirectory], config: EvaluateConfig, *, only_shared: bool = False) -> RunsComparison:
    """Compare every further run with the first, on the headline metrics; verdicts hold for all of them together (Holm).

    Args:
        runs: evaluated ones.
        config: confidence, resamples, seed.
        only_shared: where held-out examples differ, compare on those that all have, instead of refusing.

    Raises:
        RunError: a run was not evaluated, or the examples differ.
    """
    reports = {run.name: read_report(run) for run in runs}
    if len(reports) < len(runs) or len(runs) < 2:
        found = ", ".join(run.name for run in runs)
        raise RunError("runs compare", f"the runs {found}", expected="two or more different ones", remedy="name each run once")
    records = {run.name: {record.id: record for record in read_records(run.evaluation_records_file)} for run in runs}
    ids, num_left_out = _shared_ids(records, only_shared)
    first = runs[0].name
    bases = _bases(reports, records, ids)
    notes = _base_notes(bases, reports)
    combined = [_combined(records, one, bases) for one in ids]
    metrics = _metrics(reports, combined, notes)
    compared = _compared(metrics, combined, first, [name for name in reports if name != first], config)
    rule = reports[first].flips.rule
    return RunsComparison(
        first=first,
        num_examples=len(ids),
        num_left_out=num_left_out,
        means=_means(metrics, combined, (*bases, *reports)),
        bases=bases,
        titles={metric.name: metric.title for metric in metrics},
        others=tuple(_against_first(name, comparisons, combined, first, rule) for name, comparisons in compared.items()),
        notes=tuple(notes),
    )


def _shared_ids(records: Mapping[str, Records], only_shared: bool) -> tuple[list[str], int]:
    """Ids in the order of the first run, and how many examples not all runs have.

    Raises:
        RunError: the examples differ, or none is shared.
    """
    names = list(records)
    first = records[names[0]]
    for name in names[1:]:
        differing = first.keys() ^ records[name].keys()
        if differing and not only_shared:
            found = f"{len(differing):,} of the examples {names[0]} and {name} were evaluated on are not the same"
            remedy = "prepare the later data with --like the earlier, or compare on what they share with --only-shared"
            raise RunError("runs compare", found, expected="the same held-out examples", remedy=remedy)
    shared = [one for one in first if all(one in other for other in records.values())]
    if not shared:
        raise RunError("runs compare", "no example is shared", expected="the same held-out examples", remedy="evaluate on the same data")
    return shared, len(set().union(*records.values())) - len(shared)


def _metrics(reports: Mapping[str, EvaluationReport], combined: Sequence[EvaluationRecord], notes: list[str]) -> list[Metric]:
    """Headline metrics that all runs have, on the same example at least once; the loss only over the same tokens."""
    shared = set.intersection(*({c.metric.name for c in report.headline} for report in reports.values()))
    metrics = [c.metric for c in next(iter(reports.values())).headline if c.metric.name in shared]
    if any(len({record.answer(name).num_supervised for name in reports}) > 1 for record in combined):
        notes.append("the loss is not compared: the models cut the answers into different tokens")
        metrics = [metric for metric in metrics if metric.name != LOSS.name]
    nowhere = [metric for metric in metrics if not _with_metric(metric, combined)]
    notes += [f"{metric.title} is not compared: no example has a score of it in all runs" for metric in nowhere]
    return [metric for metric in metrics if metric not in nowhere]


def _with_metric(metric: Metric, combined: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Those whose answers all have it, so that means beside each other are of the same examples."""
    if metric.name == LOSS.name:
        return list(combined)
    return [record for record in combined if all(metric.name in answer.scores for answer in record.answers.values())]


def _bases(reports: Mapping[str, EvaluationReport], records: Mapping[str, Records], ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Label of each base model to the runs that have it; one that was asked in two ways, so that its answers differ, is two."""
    found: dict[str, tuple[str, ...]] = {}
    for run, report in reports.items():
        alike = [label for label, runs in found.items() if reports[runs[0]].model_name == report.model_name]
        same = [label for label in alike if _same_answers(records[found[label][0]], records[run], ids)]
        if same:
            found[same[0]] += (run,)
            continue
        label = f"{report.model_name} ({run})" if alike else report.model_name
        while label in reports or label in found:  # a run may be called what it likes
            label += " (base)"
        found[label] = (run,)
    return found


def _same_answers(first: Records, second: Records, ids: Sequence[str]) -> bool:
    return all(first[one].base.completion == second[one].base.completion for one in ids)


def _base_notes(bases: Mapping[str, tuple[str, ...]], reports: Mapping[str, EvaluationReport]) -> list[str]:
    """Whose rows these are, where it is not plain."""
    named = "; ".join(f"{label} of {', '.join(runs)}" for label, runs in bases.items())
    notes = [f"{len(bases)} rows are base models: {named}"] if len(bases) > 1 else []
    for label, runs in bases.items():
        name = reports[runs[0]].model_name
        if name in reports:
            notes.append(f"{name} is the run of that name; the row of the base model {name} is {label}")
    return notes


def _combined(records: Mapping[str, Records], one: str, bases: Mapping[str, tuple[str, ...]]) -> EvaluationRecord:
    """One record with every base model's answer under its label, and every run's tuned answer under the run's name."""
    first = next(iter(records.values()))[one]
    answers = {label: records[runs[0]][one].base for label, runs in bases.items()}
    return dataclasses.replace(first, answers={**answers, **{name: run[one].tuned for name, run in records.items()}})


def _compared(
    metrics: Sequence[Metric], combined: Sequence[EvaluationRecord], first: str, others: Sequence[str], config: EvaluateConfig
) -> dict[str, tuple[Comparison, ...]]:
    number = max(1, len(metrics) * len(others))
    flat = [compare_on(metric, combined, config, first, other, num_comparisons=number) for other in others for metric in metrics]
    judged = judge_together(flat, config)
    return {other: judged[place * len(metrics) : (place + 1) * len(metrics)] for place, other in enumerate(others)}


def _means(metrics: Sequence[Metric], combined: Sequence[EvaluationRecord], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    having = {metric: _with_metric(metric, combined) for metric in metrics}
    return {label: {metric.name: _mean(metric, [one.answer(label) for one in having[metric]]) for metric in metrics} for label in labels}


def _mean(metric: Metric, answers: Sequence[ModelAnswer]) -> float:
    if metric.name == LOSS.name:
        return sum(answer.loss_total for answer in answers) / sum(answer.num_supervised for answer in answers)
    return fmean(answer.scores[metric.name] for answer in answers)


def _against_first(
    name: str, comparisons: tuple[Comparison, ...], combined: Sequence[EvaluationRecord], first: str, rule: RightRule
) -> AgainstFirst:
    answers = {record.id: (record.answer(first), record.answer(name)) for record in combined}
    known = {one: pair for one, pair in answers.items() if all(rule.metric in answer.scores for answer in pair)}
    before = {one: rule.is_right(pair[0]) for one, pair in known.items()}
    after = {one: rule.is_right(pair[1]) for one, pair in known.items()}
    return AgainstFirst(
        run=name,
        comparisons=comparisons,
        newly_right=tuple(one for one in before if after[one] and not before[one]),
        newly_wrong=tuple(one for one in before if before[one] and not after[one]),
    )
