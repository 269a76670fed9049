"""Sort every answer of an evaluation into error groups, base and tuned side by side.

analysis = analyze_records(records, train_examples, AnalyzeConfig())
write_analysis(run, analysis)

                        base  tuned  fixed  newly broken
missed redirection        11      2     10             1
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.analyze.catalogue import ERROR_GROUPS, UNLIKE_REFERENCE, explain_failures
from tunesmith.analyze.groups import ErrorGroup, GroupContext
from tunesmith.analyze.redirections import Redirection, learn_redirections
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig, EvaluateConfig
from tunesmith.errors import DataError
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.files import write_json, write_json_lines
from tunesmith.runs import RunDirectory
from tunesmith.types import Example

SCHEMA_VERSION = 1
_DEFAULT_RIGHT_THRESHOLD: float = EvaluateConfig.model_fields["right_threshold"].default


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFailures:
    """What is wrong with one example's two answers: error group to explanation."""

    id: str
    base: Mapping[str, str]
    tuned: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownFailure:
    """A failure of the tuned model in full."""

    id: str
    source: str
    prompt: str
    reference: str
    completion: str
    explanation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupResult:
    """One error group over all examples."""

    name: str
    title: str
    num_base: int
    num_tuned: int
    fixed: tuple[str, ...]
    """Ids of examples where the base model failed this way and the tuned one does not (for the group "wrong for another
    reason", which takes what no other does: and the tuned one does not fail at all)."""
    newly_broken: tuple[str, ...]
    """The other way round."""
    shown: tuple[ShownFailure, ...]
    """The tuned model's, the worst first (lowest token F1)."""
    remedy: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Error groups of one evaluation, the tuned model's most frequent first; groups that nothing fell into left out."""

    schema_version: int = SCHEMA_VERSION
    settings: Mapping[str, Any]
    """The whole `AnalyzeConfig`."""
    num_examples: int
    """Answered ones."""
    num_without_failure_base: int
    num_without_failure_tuned: int
    groups: tuple[GroupResult, ...]
    redirections: tuple[Redirection, ...]
    """Learnt from the training examples."""
    notes: tuple[str, ...]
    """What was not checked, and why."""
    failures: tuple[RecordFailures, ...]
    """One an answered example, in the order evaluated."""

    def to_json(self) -> dict[str, Any]:
        """The document `analysis.json`: everything but the list of single failures, which has its own file."""
        values = dataclasses.asdict(self)
        del values["failures"]
        return {"schema_version": self.schema_version, **values}

    def summary_lines(self) -> list[str]:
        """For the terminal; holds square brackets where answers do, so print it without markup."""
        heads = [f"{'error group':26}{'base':>6}{'tuned':>7}{'fixed':>7}{'newly broken':>14}"]
        return [*heads, *map(_group_line, self.groups), self._none_line(), *self.notes, *self._advice_lines()]

    def _none_line(self) -> str:
        return f"{'none':26}{self.num_without_failure_base:6}{self.num_without_failure_tuned:7}   of {self.num_examples:,} answers each"

    def _advice_lines(self) -> list[str]:
        failing = [group for group in self.groups if group.num_tuned]
        return ["", *(f"{group.title} ({group.num_tuned}): {group.remedy}" for group in failing)] if failing else []


def analyze_records(
    records: Sequence[EvaluationRecord],
    train_examples: Sequence[Example],
    config: AnalyzeConfig,
    *,
    right_threshold: float = _DEFAULT_RIGHT_THRESHOLD,
) -> Analysis:
    """Put every answer into its error groups.

    Args:
        records: of the evaluation; those without answers (raw text) are left out.
        train_examples: redirections and vocabulary are learnt from them.
        config: thresholds.
        right_threshold: as the evaluation's, so that both call the same answers right.

    Raises:
        DataError: no record has answers.
    """
    answered = [record for record in records if record.is_answered]
    if not answered:
        found = f"none of {len(records)} records has answers"
        raise DataError("evaluation", found, expected="completions with scores", remedy="evaluate on prompts and answers, not raw text")
    context = GroupContext(
        config=config,
        redirections=learn_redirections(train_examples),
        spelling=Spelling.learn(train_examples),
        right_rule=RightRule.choose(answered, right_threshold),
    )
    failures = tuple(_failures(record, context) for record in answered)
    return Analysis(
        settings=config.model_dump(mode="json"),
        num_examples=len(answered),
        num_without_failure_base=sum(not failure.base for failure in failures),
        num_without_failure_tuned=sum(not failure.tuned for failure in failures),
        groups=_group_results(answered, failures, config.shown),
        redirections=context.redirections,
        notes=_notes(context),
        failures=failures,
    )


def write_analysis(run: RunDirectory, analysis: Analysis) -> None:
    """Write `analysis/records.jsonl` and then `analysis/analysis.json` into the run."""
    run.analysis_dir.mkdir(parents=True, exist_ok=True)
    write_json_lines(run.analysis_dir / "records.jsonl", (dataclasses.asdict(failure) for failure in analysis.failures))
    write_json(run.analysis_dir / "analysis.json", analysis.to_json())


def _failures(record: EvaluationRecord, context: GroupContext) -> RecordFailures:
    return RecordFailures(
        id=record.id,
        base=explain_failures(record, record.base, context),
        tuned=explain_failures(record, record.tuned, context),
    )


def _group_results(records: Sequence[EvaluationRecord], failures: Sequence[RecordFailures], shown: int) -> tuple[GroupResult, ...]:
    results = [_group_result(group, records, failures, shown) for group in ERROR_GROUPS]
    present = [result for result in results if result.num_base or result.num_tuned]
    return tuple(sorted(present, key=lambda result: (-result.num_tuned, -result.num_base)))


def _group_result(group: ErrorGroup, records: Sequence[EvaluationRecord], failures: Sequence[RecordFailures], shown: int) -> GroupResult:
    in_base = {failure.id for failure in failures if group.name in failure.base}
    in_tuned = {failure.id for failure in failures if group.name in failure.tuned}
    takes_the_rest = group is UNLIKE_REFERENCE
    failing_base = {failure.id for failure in failures if failure.base} if takes_the_rest else in_base
    failing_tuned = {failure.id for failure in failures if failure.tuned} if takes_the_rest else in_tuned
    explained = [(record, failure.tuned[group.name]) for record, failure in zip(records, failures, strict=True) if record.id in in_tuned]
    worst = sorted(explained, key=lambda pair: (pair[0].tuned.scores["token_f1"], -pair[0].tuned.loss, pair[0].id))
    return GroupResult(
        name=group.name,
        title=group.title,
        num_base=len(in_base),
        num_tuned=len(in_tuned),
        fixed=tuple(record.id for record in records if record.id in in_base - failing_tuned),
        newly_broken=tuple(record.id for record in records if record.id in in_tuned - failing_base),
        shown=tuple(_shown(record, explanation) for record, explanation in worst[:shown]),
        remedy=group.remedy,
    )


def _shown(record: EvaluationRecord, explanation: str) -> ShownFailure:
    return ShownFailure(
        id=record.id,
        source=record.source,
        prompt=record.prompt,
        reference=record.reference,
        completion=record.tuned.completion,
        explanation=explanation,
    )


def _notes(context: GroupContext) -> tuple[str, ...]:
    spelling = () if context.spelling.is_english else ("misspelt: not checked, the training data is not English prose",)
    none_learnt = "redirections: none learnt, no answer stands under enough different training prompts"
    return (*spelling, *(() if context.redirections else (none_learnt,)))


def _group_line(group: GroupResult) -> str:
    return f"{group.title:26}{group.num_base:6}{group.num_tuned:7}{len(group.fixed):7}{len(group.newly_broken):14}"
