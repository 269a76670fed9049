"""The evaluation report: what an evaluation found, as one JSON document and as lines for the terminal.

    better: loss 1.83 against 2.57, -0.74 [-0.80, -0.68], n = 140, p < 0.001
    better: ROUGE-L 0.31 against 0.18, +0.13 [+0.10, +0.16], n = 140, p < 0.001

The page for people is made from it by `tunesmith.evaluate.page`.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import mean, median
from typing import Any, get_args

from tunesmith.config import EvaluateConfig
from tunesmith.errors import RunError
from tunesmith.evaluate.comparison import Comparison, Verdict, compare_records, score_names
from tunesmith.evaluate.confusion import Confusion, confusion_lines
from tunesmith.evaluate.flips import Flips, find_flips
from tunesmith.evaluate.labels import label_answers
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import LOSS
from tunesmith.evaluate.wording import bracketed, counted, p_text, share, signed
from tunesmith.evaluate.words import num_words
from tunesmith.runs import RunDirectory
from tunesmith.types import FinishReason

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerShape:
    """How one model's answers look, whatever they say."""

    median_words: float
    mean_words: float
    mean_tokens: float
    finish_reasons: Mapping[FinishReason, int]
    """Number of answers that ended for each reason."""

    @property
    def num_answers(self) -> int:
        return sum(self.finish_reasons.values())

    @property
    def num_ended(self) -> int:
        """Answers the model ended by itself."""
        return self.finish_reasons["end_of_turn"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """Base against tuned on one split."""

    schema_version: int = SCHEMA_VERSION
    run_name: str
    model_name: str
    """The base model's."""
    split: str
    data_fingerprint: str
    date: str
    """Of the evaluation, `2026-01-31`."""
    settings: Mapping[str, Any]
    """The whole `EvaluateConfig`, its scorers as they were resolved."""
    deciding: tuple[str, ...]
    """The metrics that decide the verdict: the loss, of the probabilities, and the first score, of the words produced."""
    num_examples: int
    num_left_out: int
    """Examples of the split that could not be evaluated (too long) and are in no figure."""
    comparisons: tuple[Comparison, ...]
    flips: Flips
    confusion: Confusion | None
    """Where labels were scored."""
    reference_median_words: float
    base: AnswerShape
    tuned: AnswerShape
    answered_by: str = ""
    """`vLLM 0.32.0` where not our own engine generated the answers; losses are always its own."""

    @property
    def headline(self) -> tuple[Comparison, ...]:
        return tuple(comparison for comparison in self.comparisons if comparison.metric.name in self.deciding)

    @property
    def verdict(self) -> Verdict:
        """Better if a headline metric is better and none worse; worse likewise; else cannot tell."""
        verdicts = {comparison.verdict for comparison in self.headline} - {"cannot tell"}
        return verdicts.pop() if len(verdicts) == 1 else "cannot tell"

    @property
    def confidence_words(self) -> str:
        """`95 %`."""
        return f"{100 * self.settings['confidence']:g} %"

    def to_json(self) -> dict[str, Any]:
        """The document `report.json`; `verdict` and `headline` are there for scripts and are computed again on reading."""
        values = dataclasses.asdict(self)
        derived = {"verdict": self.verdict, "headline": [comparison.sentence for comparison in self.headline]}
        return {"schema_version": self.schema_version, **derived, **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EvaluationReport:
        """Read `to_json`'s document.

        Raises:
            RunError: it is from another version.
        """
        if values.get("schema_version") != SCHEMA_VERSION:
            found = f"schema version {values.get('schema_version')}"
            raise RunError("report.json", found, expected=str(SCHEMA_VERSION), remedy="evaluate the run again with `tunesmith evaluate`")
        parts = {
            "comparisons": tuple(Comparison.from_json(comparison) for comparison in values["comparisons"]),
            "deciding": tuple(values["deciding"]),
            "flips": Flips.from_json(values["flips"]),
            "confusion": Confusion.from_json(values["confusion"]) if values["confusion"] else None,
            "base": AnswerShape(**values["base"]),
            "tuned": AnswerShape(**values["tuned"]),
        }
        return cls(**{**{name: value for name, value in values.items() if name not in ("verdict", "headline")}, **parts})

    def summary_lines(self) -> list[str]:
        """For the terminal; holds square brackets, so print it without markup."""
        notes = [f"left out, too long: {counted(self.num_left_out, 'example')}"] if self.num_left_out else []
        notes += [f"answers by {self.answered_by}, losses by tunesmith's own engine"] if self.answered_by else []
        confused = ["", *confusion_lines(self.confusion)] if self.confusion else []
        return [*(c.sentence for c in self.headline), "", *_table_lines(self), "", *_answer_lines(self), *notes, *confused]


def build_report(
    records: Sequence[EvaluationRecord],
    config: EvaluateConfig,
    *,
    run_name: str,
    model_name: str,
    split: str,
    data_fingerprint: str,
    num_left_out: int = 0,
    date: str | None = None,
    answered_by: str = "",
) -> EvaluationReport:
    """Compare base and tuned over `records`; `num_left_out` examples of the split could not be evaluated.

    `date` is today's where none is given.

    Raises:
        DataError: no records, or numbers that cannot be compared (see `compare_records`).
    """
    comparisons = compare_records(records, config)
    answered = [record for record in records if record.is_answered]
    labels = label_answers(records, "base", "tuned")
    return EvaluationReport(
        run_name=run_name,
        model_name=model_name,
        split=split,
        data_fingerprint=data_fingerprint,
        date=date or datetime.now(UTC).date().isoformat(),
        settings=config.model_dump(mode="json"),
        deciding=(LOSS.name, *score_names(records, config)[:1]),
        num_examples=len(records),
        num_left_out=num_left_out,
        comparisons=comparisons,
        flips=find_flips(records, config.right_threshold, config),
        confusion=labels.confusion if labels else None,
        reference_median_words=median([num_words(record.reference) for record in answered] or [0]),
        base=_shape([record.base for record in answered]),
        tuned=_shape([record.tuned for record in answered]),
        answered_by=answered_by,
    )


def read_report(run: RunDirectory) -> EvaluationReport:
    """The report of a run's latest evaluation.

    Raises:
        RunError: the run has not been evaluated.
    """
    if not run.evaluation_report_file.is_file():
        remedy = f"run `tunesmith evaluate {run.path}` first"
        raise RunError(str(run.path), "the run has not been evaluated", expected="evaluation records", remedy=remedy)
    return EvaluationReport.from_json(json.loads(run.evaluation_report_file.read_text(encoding="utf-8")))


def _shape(answers: Sequence[ModelAnswer]) -> AnswerShape:
    lengths = [num_words(answer.completion) for answer in answers] or [0]
    reasons = Counter(answer.finish_reason for answer in answers)
    return AnswerShape(
        median_words=median(lengths),
        mean_words=mean(lengths),
        mean_tokens=mean([answer.num_tokens for answer in answers] or [0]),
        finish_reasons={reason: reasons[reason] for reason in get_args(FinishReason)},
    )


def _table_lines(report: EvaluationReport) -> list[str]:
    width = max(12, *(len(comparison.metric.title) + 1 for comparison in report.comparisons))
    head = f"{'':{width}}{'base':>8}{'tuned':>8}  {'difference':>10}  {report.confidence_words + ' interval':18}verdict"
    return [head, *(_table_line(comparison, width) for comparison in report.comparisons)]


def _table_line(comparison: Comparison, width: int) -> str:
    digits = comparison.decimals
    interval = bracketed(comparison.interval, digits) if comparison.interval else f"none for n = {comparison.num_examples}"
    figures = f"{comparison.base:8.{digits}f}{comparison.tuned:8.{digits}f}  {signed(comparison.difference, digits):>10}"
    return f"{comparison.metric.title:{width}}{figures}  {interval:18}{comparison.verdict}"


def _answer_lines(report: EvaluationReport) -> list[str]:
    flips, base, tuned = report.flips, report.base, report.tuned
    if not base.num_answers:
        return ["no answers: raw text has a loss only"]
    changed = f"newly right {len(flips.newly_right)}, newly wrong {len(flips.newly_wrong)}, {p_text(flips.p_value)}"
    return [
        f"right ({flips.rule.words}): {flips.num_right_tuned} against {flips.num_right_base} of {flips.num_examples}; {changed}",
        f"ended by itself: {share(tuned.num_ended, tuned.num_answers)} against {share(base.num_ended, base.num_answers)} "
        f"of {counted(base.num_answers, 'answer')}",
        f"median length in words: {tuned.median_words:g} against {base.median_words:g}, references {report.reference_median_words:g}",
    ]
