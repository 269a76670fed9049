"""Sort every answer of an evaluation into error groups, the models side by side, and say what to do about each.

analysis = analyze_records(records, train_examples, AnalyzeConfig())
print("\\n".join(lines_of(analysis)))

severity      error group            base  tuned  fixed  newly broken
catastrophic  repetitive               40      1     39             0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.analyze.actions import RECALLING_SHARE, Action, Origin, propose
from tunesmith.analyze.catalogue import CONTRADICTS, ERROR_GROUPS, UNLIKE_REFERENCE, explain_failures
from tunesmith.analyze.changes import TITLES, change_of
from tunesmith.analyze.evidence import Investigator
from tunesmith.analyze.found import FoundGroup, find_groups
from tunesmith.analyze.groups import ErrorGroup, GroupContext
from tunesmith.analyze.knowledge import Knowledge
from tunesmith.analyze.nearest import MOST_COMPARED, WORDS, Space
from tunesmith.analyze.results import Analysis, GroupResult, RecordFailures, ShownFailure
from tunesmith.analyze.severity import rank, severity_of
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig, EvaluateConfig
from tunesmith.errors import DataError
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.scorers import token_f1
from tunesmith.evaluate.scorers.redirections import learn_redirections
from tunesmith.types import Example

Failures = Mapping[str, Mapping[str, str]]
"""By the model's label: error group to explanation."""
Verdicts = Mapping[tuple[str, str], str]
"""(example's id, model's label) -> why a judge found that the answer contradicts the reference."""

_DEFAULT_RIGHT_THRESHOLD: float = EvaluateConfig.model_fields["right_threshold"].default


def analyze_records(
    records: Sequence[EvaluationRecord],
    train_examples: Sequence[Example],
    config: AnalyzeConfig,
    *,
    right_rule: RightRule | None = None,
    space: Space | None = None,
    origin: Origin | None = None,
    contradictions: Verdicts | None = None,
    notes: Sequence[str] = (),
    earlier: Sequence[FoundGroup] = (),
) -> Analysis:
    """Put every answer into its error groups.

    Args:
        records: of the evaluation; those without answers (raw text) are left out.
        train_examples: redirections, vocabulary and known claims are learnt from them, and failures are compared with them.
        config: thresholds.
        right_rule: the evaluation's, so that both call the same answers right; None chooses one.
        space: where texts are near each other; None compares words.
        origin: what was analysed, as the proposed commands name it.
        contradictions: what a judge found, where one was asked.
        notes: to be said besides.
        earlier: groups found by the analysis before of the same examples, whose names are kept.

    Raises:
        DataError: no record has answers.
    """
    answered = [record for record in records if record.is_answered]
    if not answered:
        found = f"none of {len(records)} records has answers"
        raise DataError("evaluation", found, expected="completions with scores", remedy="evaluate on prompts and answers, not raw text")
    space = space or Space.open(WORDS)
    labels = _labels(answered)
    rule = right_rule or RightRule.choose(answered, _DEFAULT_RIGHT_THRESHOLD)
    context = _context(answered, train_examples, config, rule, space)
    failures = [_failures(record, labels, context, contradictions or {}) for record in answered]
    clusters = _found(answered, failures, labels, space, earlier)
    groups = _group_results(answered, failures, clusters, labels, config)
    return Analysis(
        settings=config.model_dump(mode="json"),
        labels=labels,
        num_examples=len(answered),
        num_without_failure={label: sum(not one[label] for one in failures) for label in labels},
        groups=groups,
        found=clusters,
        redirections=context.redirections,
        notes=(*_notes(context, train_examples, space, is_judged=contradictions is not None), *_rest_note(groups, labels), *notes),
        actions=_actions(groups, answered, train_examples, context, space, origin or Origin()),
        failures=_with_changes(answered, failures, labels, context.right_rule),
    )


def _labels(records: Sequence[EvaluationRecord]) -> tuple[str, ...]:
    """The tuned model, or the last one named, is what the analysis is about."""
    labels = list(dict.fromkeys(label for record in records for label in record.answers))
    return tuple(sorted(labels, key=lambda label: (label == "tuned", label != "base", labels.index(label))))


def _context(
    records: Sequence[EvaluationRecord], train_examples: Sequence[Example], config: AnalyzeConfig, rule: RightRule, space: Space
) -> GroupContext:
    completions = (answer.completion for record in records for answer in record.answers.values())
    return GroupContext(
        config=config,
        redirections=learn_redirections(train_examples),
        spelling=Spelling.learn(train_examples),
        right_rule=rule,
        knowledge=Knowledge.learn(train_examples, completions, config),
        similarity=space.similarity,
    )


def _failures(record: EvaluationRecord, labels: Sequence[str], context: GroupContext, verdicts: Verdicts) -> Failures:
    return {
        label: explain_failures(record, record.answer(label), context, contradiction=verdicts.get((record.id, label))) for label in labels
    }


def _found(
    records: Sequence[EvaluationRecord], failures: Sequence[Failures], labels: Sequence[str], space: Space, earlier: Sequence[FoundGroup]
) -> tuple[FoundGroup, ...]:
    """Clusters of what the last model gets wrong for no other reason, and with them what the others do."""
    rest = [record for record, one in zip(records, failures, strict=True) if any(UNLIKE_REFERENCE.name in one[label] for label in labels)]
    return find_groups({record.id: f"{record.prompt}\n{record.reference}" for record in rest}, space.embed, earlier=earlier)


def _group_results(
    records: Sequence[EvaluationRecord],
    failures: Sequence[Failures],
    found: Sequence[FoundGroup],
    labels: tuple[str, ...],
    config: AnalyzeConfig,
) -> tuple[GroupResult, ...]:
    tallies = [_Tally(group.name, group.title, group.remedy, records, failures, labels) for group in ERROR_GROUPS]
    tallies += [_Tally(group.name, group.title, UNLIKE_REFERENCE.remedy, records, failures, labels, group.members) for group in found]
    present = [tally.result(config) for tally in tallies if tally.is_present]
    return tuple(sorted(present, key=lambda one: (rank(one.severity), -one.counts[labels[-1]], -one.counts[labels[0]])))


class _Tally:
    """Which answers are in one group."""

    def __init__(
        self,
        name: str,
        title: str,
        remedy: str,
        records: Sequence[EvaluationRecord],
        failures: Sequence[Failures],
        labels: tuple[str, ...],
        members: frozenset[str] | None = None,
    ) -> None:
        self._name, self._title, self._remedy, self._members = name, title, remedy, members
        self._rule = name if members is None else UNLIKE_REFERENCE.name
        self._all = list(zip(records, failures, strict=True))
        self._labels = labels
        self._in = {label: self._ids(label) for label in labels}

    def _ids(self, label: str) -> set[str]:
        return {
            record.id
            for record, failures in self._all
            if self._rule in failures[label] and (self._members is None or record.id in self._members)
        }

    @property
    def is_present(self) -> bool:
        return any(self._in.values())

    def result(self, config: AnalyzeConfig) -> GroupResult:
        first, last = self._labels[0], self._labels[-1]
        failing = {label: self._failing(label) for label in (first, last)}
        ordered = [record.id for record, _ in self._all]
        return GroupResult(
            name=self._name,
            title=self._title,
            severity=severity_of(self._name, config),
            is_found=self._members is not None,
            counts={label: len(ids) for label, ids in self._in.items()},
            fixed=tuple(one for one in ordered if one in self._in[first] - failing[last]),
            newly_broken=tuple(one for one in ordered if one in self._in[last] - failing[first]),
            members=tuple(one for one in ordered if one in self._in[last]),
            shown=self._shown(last, first, config.shown),
            remedy=self._remedy,
        )

    def _failing(self, label: str) -> set[str]:
        """Ids of what is not fixed or broken: of the rest, which takes what no other group does, all failures."""
        if self._rule != UNLIKE_REFERENCE.name:
            return self._in[label]
        return {record.id for record, failures in self._all if failures[label]}

    def _shown(self, label: str, other: str, count: int) -> tuple[ShownFailure, ...]:
        failing = [(record, failures) for record, failures in self._all if record.id in self._in[label]]
        worst = sorted(failing, key=lambda pair: _badness(pair[0], label))[:count]
        return tuple(_shown(record, failures, label, other, self._rule) for record, failures in worst)


def _badness(record: EvaluationRecord, label: str) -> tuple[float, float, str]:
    answer = record.answer(label)
    return token_f1(answer.completion, record.reference), -answer.loss, record.id


def _shown(record: EvaluationRecord, failures: Failures, label: str, other: str, rule: str) -> ShownFailure:
    before, after = set(failures[other]), set(failures[label])
    gone, new = sorted(TITLES[one] for one in before - after), sorted(TITLES[one] for one in after - before)
    parts = [f"gone: {', '.join(gone)}"] * bool(gone) + [f"new: {', '.join(new)}"] * bool(new)
    return ShownFailure(
        id=record.id,
        source=record.source,
        prompt=record.prompt,
        reference=record.reference,
        completion=record.answer(label).completion,
        explanation=failures[label][rule],
        change="; ".join(parts) if label != other else "",
    )


def _with_changes(
    records: Sequence[EvaluationRecord], failures: Sequence[Failures], labels: tuple[str, ...], rule: RightRule
) -> tuple[RecordFailures, ...]:
    first, last = labels[0], labels[-1]
    return tuple(
        RecordFailures(
            id=record.id,
            source=record.source,
            answers=one,
            change=None
            if first == last
            else change_of(
                record.id,
                one[first],
                one[last],
                was_right=rule.is_right(record.answer(first)),
                is_right=rule.is_right(record.answer(last)),
            ),
        )
        for record, one in zip(records, failures, strict=True)
    )


def _actions(
    groups: Sequence[GroupResult],
    records: Sequence[EvaluationRecord],
    train_examples: Sequence[Example],
    context: GroupContext,
    space: Space,
    origin: Origin,
) -> tuple[Action, ...]:
    by_id = {record.id: record for record in records}
    rules: Mapping[str, ErrorGroup] = {group.name: group for group in ERROR_GROUPS}
    failing = list(dict.fromkeys(name for group in groups for name in group.members))
    investigator = Investigator(train_examples, context, space)
    investigator.compare([by_id[name] for name in failing])
    recites = any(group.name == "memorised" and len(group.members) >= RECALLING_SHARE * len(records) for group in groups)
    proposed: list[Action] = []
    for group in groups:
        if group.members:
            evidence = investigator.evidence(group.name, [by_id[name] for name in group.members])
            proposed += propose(rules.get(group.name), group.name, group.title, group.severity, evidence, origin, recites=recites)
    return tuple(proposed)


def _rest_note(groups: Sequence[GroupResult], labels: Sequence[str]) -> tuple[str, ...]:
    """Where the group of what is left over could be mistaken for a loss."""
    rest = next((group for group in groups if group.name == UNLIKE_REFERENCE.name), None)
    if rest is None or rest.counts[labels[-1]] <= rest.counts[labels[0]]:
        return ()
    return (f"{rest.title}: what no other group takes, so it grows where the other groups shrink",)


def _notes(context: GroupContext, train_examples: Sequence[Example], space: Space, *, is_judged: bool) -> tuple[str, ...]:
    notes = [] if context.spelling.is_english else ["misspelt: not checked, the training data is not English prose"]
    if not context.redirections:
        notes.append("redirections: none learnt, no answer stands under enough different training prompts")
    if not len(train_examples):
        notes.append("recalled answers, invented addresses, numbers and names: judged without training data")
    if len(train_examples) > MOST_COMPARED:
        notes.append(f"training examples: {MOST_COMPARED:,} of {len(train_examples):,} were compared with failures, evenly spaced")
    if space.note:
        notes.append(space.note)
    return (*notes, *(() if is_judged else (f"{CONTRADICTS.title}: only a judge can tell, see --judge",)))
