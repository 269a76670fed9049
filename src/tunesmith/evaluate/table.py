"""The evaluation as a table: one flat row an example, for data frames."""

from __future__ import annotations

from typing import Any

from tunesmith.evaluate.flips import flip_kind
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.report import EvaluationReport
from tunesmith.evaluate.scorers import BALANCED_ACCURACY, LOSS, MACRO_F1

OF_ALL_EXAMPLES = (MACRO_F1, BALANCED_ACCURACY)
"""No single example has one."""


def example_row(record: EvaluationRecord, report: EvaluationReport) -> dict[str, Any]:
    """Columns `id` to `reference`, `change`, then `base_…` and `tuned_…`: answer, finish reason, tokens, loss, every score of the report.

    None where a score does not apply, and for the `change` (`newly_right`, …) of an example that nothing says right or wrong of.
    """
    rule = report.flips.rule
    return {
        "id": record.id,
        "source": record.source,
        "prompt": record.prompt,
        "reference": record.reference,
        "change": flip_kind(record, rule) if record.is_answered and rule.applies(record) else None,
        **_columns("base", record.base, report),
        **_columns("tuned", record.tuned, report),
    }


def _columns(label: str, answer: ModelAnswer, report: EvaluationReport) -> dict[str, Any]:
    names = [comparison.metric.name for comparison in report.comparisons if comparison.metric not in OF_ALL_EXAMPLES]
    return {
        f"{label}_answer": answer.completion,
        f"{label}_finish_reason": answer.finish_reason,
        f"{label}_tokens": answer.num_tokens,
        f"{label}_loss": answer.loss,
        **{f"{label}_{name}": answer.scores.get(name) for name in names if name != LOSS.name},
    }
