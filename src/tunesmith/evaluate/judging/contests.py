"""Whose answers are judged: base and tuned model of one run, or the tuned models of several runs on the same examples."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from tunesmith.errors import DataError, RunError
from tunesmith.evaluate.contestants import Contestant, load_contestants
from tunesmith.runs import RunDirectory
from tunesmith.types import Message


@dataclass(frozen=True, kw_only=True)
class Item:
    """One example, and what each model answered."""

    id: str
    conversation: tuple[Message, ...]
    reference: str
    answers: Mapping[str, str]
    """By model."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What is judged."""

    models: tuple[str, ...]
    """Names: of a base model and its run, or of runs."""
    items: tuple[Item, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two models, in their order; of one run base and tuned."""
        return list(combinations(self.models, 2))

    @property
    def fingerprint(self) -> str:
        """Of examples and answers: other answers are another contest."""
        content = [[item.id, item.reference, [message.content for message in item.conversation], dict(item.answers)] for item in self.items]
        return hashlib.sha256(json.dumps([self.models, content]).encode()).hexdigest()[:16]


def read_contest(runs: Sequence[RunDirectory], *, limit: int | None = None, seed: int = 0) -> Contest:
    """The answers of evaluated runs, of all examples or a seeded sample.

    Raises:
        ConfigError: two runs have one name, or a run that of its base model.
        RunError: a run was not evaluated, or the runs were evaluated on different examples.
        DataError: there are no answers to judge.
    """
    models = _models(runs)
    first = models[0]
    for other in models[1:]:
        _require_same_examples(first, other)
    items = [
        Item(
            id=record.id,
            conversation=record.messages,
            reference=record.reference,
            answers={model.name: model.answers[record.id].completion for model in models},
        )
        for record in first.records.values()
        if record.messages
    ]
    if not items:
        found = "it was trained on raw text, so there are no answers to judge"
        raise DataError(str(runs[0].path), found, expected="answers to prompts", remedy="judge a run of questions and answers")
    return Contest(models=tuple(model.name for model in models), items=_sample(items, limit, seed))


def _models(runs: Sequence[RunDirectory]) -> list[Contestant]:
    """All that one run's evaluation asked, base model first; of several runs the tuned ones."""
    contestants = load_contestants([run.path for run in runs])
    if len(runs) == 1:
        if len(contestants) < 2:
            found = f"its evaluation has answers of {len(contestants)} models"
            raise RunError(str(runs[0].path), found, expected="two to be compared", remedy="evaluate the run again, or name a second run")
        return contestants
    by_name = {contestant.name: contestant for contestant in contestants}
    return [by_name[run.path.resolve().name] for run in runs]


def _require_same_examples(first: Contestant, other: Contestant) -> None:
    expected, found = ({(one.id, one.messages, one.reference) for one in contestant.records.values()} for contestant in (first, other))
    if expected != found:
        raise RunError(
            other.name,
            f"evaluated on {len(found):,} examples, of which {len(found & expected):,} are among the {len(expected):,} of {first.name}",
            expected="answers to the same examples",
            remedy="evaluate both with the same data, --split, --limit and --seed",
        )


def _sample(items: Sequence[Item], limit: int | None, seed: int) -> tuple[Item, ...]:
    """Of one seed, a larger sample holds the smaller one: raising the limit asks nothing twice."""
    if limit is None or limit >= len(items):
        return tuple(items)
    chosen = set(random.Random(seed).sample(range(len(items)), len(items))[:limit])  # noqa: S311 - a sample, not a secret
    return tuple(item for index, item in enumerate(items) if index in chosen)
