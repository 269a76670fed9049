"""The loop as it was gone round: data version -> run -> evaluation -> analysis -> next data version.

>>> for line in lineage_lines(trace_rounds(list_runs(Path("runs")))):
...     print(line)
1  faq-1      prepared/faq-1, 1,175 training examples; smollm2-135m-instruct
              better: ROUGE-L 0.34 against 0.18, ...
              failures: 45 wrong for another reason, 12 too short
2  faq-2      since faq-1: 62 examples more, 14 fewer, 3 with other answers; epochs 2 -> 3
              ...

A run's predecessor is the run it was trained from; else, of the earlier runs, the one with which it shares the most training examples (the
latest of equals): the ids are hashes of the content, so what was carried over into another data set is known again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.converting.examples import normalise_prompt
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.errors import TunesmithError
from tunesmith.runs import RunDirectory

SCHEMA_VERSION = 1
LEAST_SHARED = 0.2
"""Of the smaller training split; with less the runs are of different tasks."""
MOST_GROUPS = 3
LIKE_THE_RUN = frozenset({"model", "data", "tokens_per_micro_batch", "template", "max_length", "estimate"})
"""Settings that are said elsewhere, or follow from others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataChange:
    """From one data version to the next."""

    num_added: int
    num_removed: int
    num_reanswered: int
    """Prompts that have another answer now; they count among neither of the others."""
    same_test: bool
    """The held-out examples are the same, so scores can be compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One run, what it was made of, and what it came to."""

    run: str
    path: str
    created: str
    model: str
    data: str
    """Directory of the prepared data."""
    data_fingerprint: str
    num_train: int | None
    """None where the data set is gone."""
    state: str
    verdict: str | None
    headline: tuple[str, ...]
    """Sentences of the evaluation."""
    groups: Mapping[str, int]
    """Error groups of the tuned model's failures, the most frequent first; empty where nothing was analysed."""
    previous: str | None
    """Name of the run of the round before."""
    change: DataChange | None
    """None for a first round, and where one of the data sets is gone."""
    settings: Mapping[str, tuple[Any, Any]]
    """Setting to its values before and now."""
    note: str | None
    """What could not be read."""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A run as it was read."""

    run: RunDirectory
    record: Mapping[str, Any]
    train: Mapping[str, str]
    """Normalised prompt to id of the example."""
    ids: frozenset[str]
    """Of all training examples; several may have one prompt."""
    test: frozenset[str]
    note: str | None


def trace_rounds(runs: Sequence[RunDirectory]) -> list[Round]:
    """Link runs, oldest first, to their predecessors.

    Raises:
        RunError: a run's record cannot be read.
    """
    known: list[_Known] = []
    rounds = []
    for run in runs:
        one = _read(run)
        previous = _previous(one, known)
        rounds.append(_round(one, previous))
        known.append(one)
    return rounds


def _read(run: RunDirectory) -> _Known:
    record = run.record()
    try:
        data = load_prepared(Path(record["data"]["directory"]))
        if data.fingerprint != record["data"]["fingerprint"]:
            return _Known(run=run, record=record, train={}, ids=frozenset(), test=frozenset(), note="its data set has changed since")
    except TunesmithError as error:
        return _Known(
            run=run, record=record, train={}, ids=frozenset(), test=frozenset(), note=f"its data set cannot be read: {error.found}"
        )
    train = {normalise_prompt(example.prompt or example.text or ""): example.id for example in data.train}
    test = frozenset(example.id for example in data.test)
    ids = frozenset(example.id for example in data.train)
    return _Known(run=run, record=record, train=train, ids=ids, test=test, note=None)


def _previous(one: _Known, earlier: Sequence[_Known]) -> _Known | None:
    parent = one.record["parent"]
    by_path = {str(other.run.path.resolve()): other for other in earlier}
    if parent in by_path:
        return by_path[parent]
    best, most = None, 0.0
    for other in earlier:
        smaller = min(len(one.ids), len(other.ids))
        shared = len(one.ids & other.ids) / smaller if smaller else 0.0
        if shared >= max(most, LEAST_SHARED):
            best, most = other, shared
    return best


def _round(one: _Known, previous: _Known | None) -> Round:
    report = _json(one.run.evaluation_report_file)
    analysis = _json(one.run.analysis_file)
    return Round(
        run=one.run.name,
        path=str(one.run.path),
        created=str(one.record["created"]),
        model=str(one.record["model"]["name"]),
        data=str(one.record["data"]["directory"]),
        data_fingerprint=str(one.record["data"]["fingerprint"]),
        num_train=None if one.note else len(one.ids),
        state="complete" if one.run.is_complete else "unfinished",
        verdict=report["verdict"] if report else None,
        headline=tuple(report["headline"]) if report else (),
        groups=_groups(analysis),
        previous=previous.run.name if previous else None,
        change=_change(previous, one) if previous and not previous.note and not one.note else None,
        settings=_changed_settings(previous.record["config"], one.record["config"]) if previous else {},
        note=one.note,
    )


def _json(file: Path) -> dict[str, Any] | None:
    """As written by evaluation and analysis; rooms above this one are not imported for it."""
    if not file.is_file():
        return None
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def _groups(analysis: Mapping[str, Any] | None) -> dict[str, int]:
    if analysis is None:
        return {}
    counts = {str(group["title"]): int(group["num_tuned"]) for group in analysis["groups"] if group.get("num_tuned")}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _change(before: _Known, now: _Known) -> DataChange:
    reanswered = {prompt for prompt in before.train.keys() & now.train.keys() if before.train[prompt] != now.train[prompt]}
    kept = before.train.keys() & now.train.keys()
    return DataChange(
        num_added=len(now.train.keys() - kept),
        num_removed=len(before.train.keys() - kept),
        num_reanswered=len(reanswered),
        same_test=before.test == now.test,
    )


def _changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    old, new = _flat(before), _flat(now)
    return {key: (old.get(key), value) for key, value in new.items() if key not in LIKE_THE_RUN and old.get(key) != value}


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def lineage_lines(rounds: Sequence[Round]) -> list[str]:
    """For the terminal: every round with what it was made of, and what changed."""
    width = max((len(one.run) for one in rounds), default=0)
    lines = []
    for number, one in enumerate(rounds, start=1):
        first, *rest = _described(one)
        lines.append(f"{number:>2}  {one.run:{width}}  {first}")
        lines += [f"{'':{width + 6}}{text}" for text in rest]
    return lines


def _described(one: Round) -> list[str]:
    size = f", {one.num_train:,} training examples" if one.num_train is not None else ""
    lines = [f"{one.data}{size}; {one.model}"]
    if one.previous:
        lines.append(f"since {one.previous}: {_what_changed(one)}")
    if one.note:
        lines.append(one.note)
    lines += list(one.headline) or ["not evaluated" if one.state == "complete" else "unfinished"]
    if one.groups:
        lines.append("failures: " + ", ".join(f"{count} {title}" for title, count in list(one.groups.items())[:MOST_GROUPS]))
    return lines


def _what_changed(one: Round) -> str:
    parts = []
    if one.change:
        counts = {"more": one.change.num_added, "fewer": one.change.num_removed, "with other answers": one.change.num_reanswered}
        changed = [f"{count:,} {what}" for what, count in counts.items() if count]
        parts.append(f"training examples {', '.join(changed)}" if changed else "the same training examples")
        if not one.change.same_test:
            parts.append("other held-out examples, so the scores cannot be compared")
    parts += [f"{key} {_said(before)} -> {_said(now)}" for key, (before, now) in one.settings.items()]
    return "; ".join(parts) or "nothing"


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
