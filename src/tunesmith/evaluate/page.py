"""The report as a page for people: one HTML file, no network, no scripts, readable on a phone, in dark mode and on paper.

    text = render_html(report, records, run.metrics(), analysis=None)
    write_text(run.html_report_file, text)

Everything a user or a model wrote goes through jinja2's autoescape; only the charts, drawn here from numbers, are markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tunesmith.evaluate import wording
from tunesmith.evaluate.charts import forest_chart, learning_rate_chart, loss_chart
from tunesmith.evaluate.differences import Span, mark_shared
from tunesmith.evaluate.flips import FlipKind, RightRule, flip_kind
from tunesmith.evaluate.heatmap import heatmap
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.report import EvaluationReport
from tunesmith.evaluate.scorers import metric_of
from tunesmith.pages import environment

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_SHOWN = 60
"""Answers shown of each kind; the page stays under a few megabytes, and `records.jsonl` has them all."""
MOST_CELLS = 12
"""Labels of a confusion matrix shown as a table with numbers; more are drawn."""
NUM_OPEN = 3
"""Of the flips, so many stand open at first."""

_KINDS: Mapping[FlipKind, str] = {
    "newly_right": "Newly right",
    "newly_wrong": "Newly wrong",
    "both_wrong": "Wrong both times",
    "both_right": "Right both times",
}
_ENDINGS = {
    "end_of_turn": "ended by itself",
    "stop_string": "ended at a stop string",
    "max_new_tokens": "cut at the token limit",
    "context_full": "cut: context full",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownAnswer:
    """One model's answer, ready for the page."""

    spans: tuple[Span, ...]
    ending: str
    num_tokens: int
    scores: str
    why: str
    """Explanations of the scores, those that have one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownExample:
    """One example, ready for the page."""

    record: EvaluationRecord
    base: ShownAnswer
    tuned: ShownAnswer
    is_open: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Examples of one kind of flip."""

    title: str
    kind: FlipKind
    num_examples: int
    """Of this kind, shown or not."""
    examples: tuple[ShownExample, ...]


def render_html(
    report: EvaluationReport,
    records: Sequence[EvaluationRecord],
    metrics: Sequence[Mapping[str, Any]],
    analysis: Mapping[str, Any] | None = None,
    *,
    judgements: Sequence[Mapping[str, Any]] = (),
    benchmarks: Markup | None = None,
) -> str:
    """The whole page.

    Args:
        report: of these records.
        records: for the answers side by side.
        metrics: lines of the run's `metrics.jsonl`; may be empty.
        analysis: the document `analysis.json` (`Analysis.to_json()`), or None where the run was not analysed.
        judgements: each with `lines` for people, as `judging.judgement.read_judgements` has them.
        benchmarks: a section of the page, from `benchmarks.page.render_section`.
    """
    from markupsafe import Markup

    charts = {"forest": forest_chart(report.comparisons), "loss": loss_chart(metrics), "rate": learning_rate_chart(metrics)}
    page: str = _template().render(
        report=report,
        maps={name: Markup(text) for name, text in _maps(report).items()},  # noqa: S704 (its texts are escaped)
        charts={name: Markup(chart) if chart else None for name, chart in charts.items()},  # noqa: S704 (drawn from numbers)
        sections=_sections(report, records),
        analysis=analysis,
        judgements=judgements,
        benchmarks=benchmarks,
    )
    return page


def _maps(report: EvaluationReport) -> dict[str, str]:
    """Drawings of confusion matrices that are too large for a table, by model."""
    confusion = report.confusion
    if confusion is None or len(confusion.labels) <= MOST_CELLS:
        return {}
    tables = {"base": confusion.base, "tuned": confusion.tuned}
    return {name: heatmap(confusion, table, title=f"confusion matrix, {name}") for name, table in tables.items()}


def _template() -> Any:
    pages = environment("tunesmith.evaluate")
    pages.filters |= {
        "signed": lambda value, digits: _typeset(wording.signed(value, digits)),
        "bracketed": lambda interval, digits: _typeset(wording.bracketed(interval, digits)),
        "minus": _minus,
        "p_text": lambda p_value: _typeset(wording.p_text(p_value)),
        "roughly": wording.roughly,
        "shade": lambda count, counts: f"{100 * count / (sum(counts) or 1):.0f}",
        "fixed": lambda value, digits: f"{value:.{digits}f}",
    }
    pages.globals |= {"share": wording.share, "counted": wording.counted}
    return pages.get_template("report.html")


def _typeset(text: str) -> str:
    """Real minus signs, and no line break within a figure."""
    return _minus(text).replace(" ", "\u00a0")


def _minus(text: str) -> str:
    """Hyphens before numbers made minus signs."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _sections(report: EvaluationReport, records: Sequence[EvaluationRecord]) -> list[Section]:
    """Flips first; within a kind the largest change of the deciding score first."""
    rule = report.flips.rule
    answered = [record for record in records if record.is_answered and rule.applies(record)]
    by_kind: dict[FlipKind, list[EvaluationRecord]] = {kind: [] for kind in _KINDS}
    for record in sorted(answered, key=partial(_change, rule=rule), reverse=True):
        by_kind[flip_kind(record, rule)].append(record)
    return [_section(kind, found) for kind, found in by_kind.items() if found]


def _change(record: EvaluationRecord, rule: RightRule) -> float:
    return abs(record.tuned.scores[rule.metric] - record.base.scores[rule.metric])


def _section(kind: FlipKind, records: Sequence[EvaluationRecord]) -> Section:
    num_open = NUM_OPEN if kind in ("newly_right", "newly_wrong") else 0
    shown = tuple(_example(record, is_open=i < num_open) for i, record in enumerate(records[:MOST_SHOWN]))
    return Section(title=_KINDS[kind], kind=kind, num_examples=len(records), examples=shown)


def _example(record: EvaluationRecord, *, is_open: bool) -> ShownExample:
    base, tuned = _answer(record.base, record.reference), _answer(record.tuned, record.reference)
    return ShownExample(record=record, base=base, tuned=tuned, is_open=is_open)


def _answer(answer: ModelAnswer, reference: str) -> ShownAnswer:
    scores = [f"{(metric := metric_of(name)).title} {value:.{metric.decimals}f}" for name, value in answer.scores.items()]
    return ShownAnswer(
        spans=tuple(mark_shared(answer.completion, reference)),
        ending=_ENDINGS[answer.finish_reason],
        num_tokens=answer.num_tokens,
        scores=" · ".join([f"loss {answer.loss:.2f}", *scores]),
        why="; ".join(f"{metric_of(name).title}: {why}" for name, why in answer.explanations.items()),
    )
