"""The report as Markdown, to be pasted into a model card: settings, scores with intervals, number of examples, date, known failures.

## Evaluation

Better than the base model on 140 held-out examples (2026-01-31).

| metric | base | tuned | difference | 95 % interval | n | verdict |
|---|---:|---:|---:|---|---:|---|
| loss | 2.57 | 1.83 | -0.74 | [-0.80, -0.68] | 140 | better |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tunesmith.evaluate.comparison import Comparison, Verdict
from tunesmith.evaluate.report import EvaluationReport
from tunesmith.evaluate.wording import bracketed, counted, share, signed

MOST_GROUPS = 10
"""Error groups listed."""

_CLAIMS: Mapping[Verdict, str] = {
    "better": "Better than the base model",
    "worse": "Worse than the base model",
    "cannot tell": "Cannot be told apart from the base model",
}


def render_markdown(report: EvaluationReport, analysis: Mapping[str, Any] | None = None) -> str:
    """The whole document.

    Args:
        report: of the evaluation.
        analysis: the document `analysis.json` (`Analysis.to_json()`), or None where the run was not analysed.
    """
    claim = f"{_CLAIMS[report.verdict]} on {counted(report.num_examples, 'held-out example')} ({report.date})."
    parts = ["## Evaluation", claim, _table(report), _flips(report), _settings(report), _failures(analysis) if analysis else ""]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(report: EvaluationReport) -> str:
    head = f"| metric | base | tuned | difference | {report.confidence_words} interval | n | verdict |"
    return "\n".join([head, "|---|---:|---:|---:|---|---:|---|", *map(_row, report.comparisons)])


def _row(comparison: Comparison) -> str:
    digits = comparison.decimals
    interval = bracketed(comparison.interval, digits) if comparison.interval else "none"
    figures = f"{comparison.base:.{digits}f} | {comparison.tuned:.{digits}f} | {signed(comparison.difference, digits)}"
    return f"| {escaped(comparison.metric.title)} | {figures} | {interval} | {comparison.num_examples:,} | {comparison.verdict} |"


def _flips(report: EvaluationReport) -> str:
    flips = report.flips
    if not flips.num_examples:
        return ""
    right = f"Right ({escaped(flips.rule.words)}): {flips.num_right_tuned} of {flips.num_examples}, the base model {flips.num_right_base}"
    ended = f"ended by itself: {share(report.tuned.num_ended, report.tuned.num_answers)} of the answers"
    return f"{right}; {len(flips.newly_right)} newly right, {len(flips.newly_wrong)} newly wrong; {ended}."


def _settings(report: EvaluationReport) -> str:
    generation = report.settings["generation"]
    decoding = "greedy" if generation["temperature"] == 0 else f"sampled at temperature {generation['temperature']:g}"
    by = f", answers by {escaped(report.answered_by)}" if report.answered_by else ""
    left_out = f", {counted(report.num_left_out, 'example')} left out as too long" if report.num_left_out else ""
    lines = [
        f"base model: {escaped(report.model_name)}",
        f"run: {escaped(report.run_name)}",
        f"data: {report.split} split, {counted(report.num_examples, 'example')}{left_out}, fingerprint `{report.data_fingerprint}`",
        f"decoding: {decoding}, at most {generation['max_new_tokens']} new tokens, seed {report.settings['seed']}{by}",
        f"verdict: by {' and '.join(escaped(comparison.metric.title) for comparison in report.headline)}; paired tests, corrected for "
        f"{counted(len(report.comparisons), 'metric')} (Holm)",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _failures(analysis: Mapping[str, Any]) -> str:
    """Error groups of the tuned model, the most frequent first."""
    groups = [group for group in analysis["groups"] if group["num_tuned"]]
    sound = f"{analysis['num_without_failure_tuned']} of {analysis['num_examples']} answers are in no error group."
    rows = [f"| {escaped(group['title'])} | {group['num_base']} | {group['num_tuned']} |" for group in groups[:MOST_GROUPS]]
    table = "\n".join(["| error group | base | tuned |", "|---|---:|---:|", *rows]) if rows else ""
    return "\n\n".join(part for part in ("### Known failures", sound, table) if part)


def escaped(text: str) -> str:
    """Text of users as Markdown shows it, on one line and within a table's cell."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))
