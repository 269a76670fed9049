"""What an analysis says: error groups with their counts for each model, and what changed from one to the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.analyze.actions import Action
from tunesmith.analyze.changes import Change
from tunesmith.analyze.found import FoundGroup
from tunesmith.analyze.groups import Severity
from tunesmith.evaluate.scorers.redirections import Redirection

SCHEMA_VERSION = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordFailures:
    """What is wrong with each model's answer to one example."""

    id: str
    source: str
    answers: Mapping[str, Mapping[str, str]]
    """By the model's label: error group to explanation."""
    change: Change | None
    """From the first model to the last; None where one model was analysed."""

    def to_json(self) -> dict[str, Any]:
        """`{"id": …, "source": …, "base": {…}, "tuned": {…}, "kind": "newly_wrong", "change": "was right, now wrong: …"}`."""
        changed = {"kind": self.change.kind, "change": self.change.sentence} if self.change else {}
        return {"id": self.id, "source": self.source, **self.answers, **changed}


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownFailure:
    """A failure in full, of the model that the analysis is about."""

    id: str
    source: str
    prompt: str
    reference: str
    completion: str
    explanation: str
    change: str
    """What is different from the other model's answer; empty where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupResult:
    """One error group over all examples."""

    name: str
    title: str
    severity: Severity
    is_found: bool
    """By likeness, among those wrong for another reason; else by a rule."""
    counts: Mapping[str, int]
    """Answers in it, by the model's label."""
    fixed: tuple[str, ...]
    """Ids of examples where the first model failed this way and the last one does not (for the group "wrong for another reason",
    which takes what no other does: and the last one does not fail at all)."""
    newly_broken: tuple[str, ...]
    """The other way round."""
    members: tuple[str, ...]
    """Ids of the examples that the model which the analysis is about fails this way."""
    shown: tuple[ShownFailure, ...]
    """That model's, the worst first (lowest token F1)."""
    remedy: str

    @property
    def num_base(self) -> int:
        return self.counts.get("base", 0)

    @property
    def num_tuned(self) -> int:
        return self.counts.get("tuned", 0)

    def to_json(self) -> dict[str, Any]:
        """With a count a model: `num_base`, `num_tuned`."""
        values = dataclasses.asdict(self)
        return {**values, **{f"num_{label}": count for label, count in self.counts.items()}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """Error groups of one evaluation: by severity, then the most frequent first; groups that nothing fell into are left out."""

    schema_version: int = SCHEMA_VERSION
    settings: Mapping[str, Any]
    """The whole `AnalyzeConfig`."""
    labels: tuple[str, ...]
    """Of the models, the one that the analysis is about last."""
    num_examples: int
    """Answered ones."""
    num_without_failure: Mapping[str, int]
    """By the model's label."""
    groups: tuple[GroupResult, ...]
    found: tuple[FoundGroup, ...]
    """Clusters of what any model fails for no other reason; the next analysis keeps their names."""
    redirections: tuple[Redirection, ...]
    """Learnt from the training examples."""
    notes: tuple[str, ...]
    """What was not checked, and why."""
    actions: tuple[Action, ...]
    """What to do, the worst and most frequent groups' first."""
    failures: tuple[RecordFailures, ...]
    """One an answered example, in the order evaluated."""

    @property
    def focus(self) -> str:
        """The model that the analysis is about."""
        return self.labels[-1]

    @property
    def num_without_failure_base(self) -> int:
        return self.num_without_failure.get("base", 0)

    @property
    def num_without_failure_tuned(self) -> int:
        return self.num_without_failure.get("tuned", 0)

    def to_json(self) -> dict[str, Any]:
        """The document `analysis.json`: everything but single failures and actions, which have their own files."""
        return {
            "schema_version": self.schema_version,
            "settings": dict(self.settings),
            "labels": list(self.labels),
            "num_examples": self.num_examples,
            **{f"num_without_failure_{label}": count for label, count in self.num_without_failure.items()},
            "groups": [group.to_json() for group in self.groups],
            "redirections": [dataclasses.asdict(one) for one in self.redirections],
            "changes": self.changes_by_kind(),
            "notes": list(self.notes),
            "actions": [action_to_json(action, rows=False) for action in self.actions],
        }

    def changes_by_kind(self) -> dict[str, list[dict[str, Any]]]:
        """Examples that became right or wrong, with what changed."""
        changed = [failure.change for failure in self.failures if failure.change]
        return {kind: [dataclasses.asdict(one) for one in changed if one.kind == kind] for kind in ("newly_right", "newly_wrong")}


def action_to_json(action: Action, *, rows: bool = True) -> dict[str, Any]:
    """A plain document; without `rows` only their number."""
    values = dataclasses.asdict(action)
    listed = [{key: row[key] for key in ("id", "source", "prompt", "answer", "why")} for row in values["rows"]]
    return {**values, "rows": listed} if rows else {**values, "rows": len(listed)}
