"""What `prepare` did with the rows, for people: `report.json`, and the same in a few lines for the screen.

read 1,400 rows from lamini_docs.jsonl: question -> prompt, answer -> completion (question/answer)
kept 1,395, removed 4 exact duplicates, dropped 1 row (1 blank row)
train 1,185, validation 70, test 140 (seed 123)
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.config import PrepareConfig
from tunesmith.data.columns import Layout
from tunesmith.data.examples import Invalid, normalise_prompt, problem_counts
from tunesmith.data.prepared import SCHEMA_VERSION, SPLIT_NAMES
from tunesmith.data.readers import SourceRows
from tunesmith.data.split import Duplicate, Splits
from tunesmith.types import Example


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadSource:
    """One source and how it was understood."""

    source: SourceRows
    layout: Layout
    num_used: int
    """Rows that were looked at: all, unless `limit` took a sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """All that happened on the way from rows to splits."""

    sources: Sequence[ReadSource]
    invalid: Sequence[Invalid]
    duplicates: Sequence[Duplicate]
    splits: Splits

    @property
    def num_read(self) -> int:
        return sum(len(one.source.rows) for one in self.sources)

    @property
    def num_used(self) -> int:
        return sum(one.num_used for one in self.sources)

    @property
    def split_sizes(self) -> dict[str, int]:
        return {name: len(getattr(self.splits, name)) for name in SPLIT_NAMES}

    @property
    def num_kept(self) -> int:
        return sum(self.split_sizes.values())

    def kept(self) -> Iterator[Example]:
        for name in SPLIT_NAMES:
            yield from getattr(self.splits, name)


def counts(outcome: Outcome) -> dict[str, Any]:
    """Rows read = not sampled + dropped + duplicates + kept; kept = the sum of the splits."""
    return {
        "rows_read": outcome.num_read,
        "rows_not_sampled": outcome.num_read - outcome.num_used,
        "rows_dropped": len(outcome.invalid),
        "duplicates_removed": len(outcome.duplicates),
        "examples_kept": outcome.num_kept,
        **outcome.split_sizes,
    }


def full_report(outcome: Outcome, config: PrepareConfig) -> dict[str, Any]:
    """The contents of `report.json`; every row that was left out is in it with its source and reason."""
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": summary_lines(outcome, config),
        "notes": notes(outcome),
        "counts": counts(outcome),
        "sources": [source_record(one) for one in outcome.sources],
        "dropped": _dropped(outcome.invalid),
        "duplicates": [{"source": one.source, "duplicate_of": one.duplicate_of} for one in outcome.duplicates],
        "empty_prompts": empty_prompts(outcome),
        "lengths": length_statistics(list(outcome.kept())),
    }


def source_record(one: ReadSource) -> dict[str, Any]:
    """What the manifest and the report say of one source."""
    return {
        "name": one.source.label,
        "path": one.source.path,
        "sha256": one.source.sha256,
        "bytes": one.source.num_bytes,
        "rows": len(one.source.rows),
        "rows_used": one.num_used,
        "layout": str(one.layout),
        "unused_columns": list(one.layout.unused),
    }


def _dropped(invalid: Iterable[Invalid]) -> list[dict[str, Any]]:
    by_problem: dict[str, list[Invalid]] = {}
    for one in invalid:
        by_problem.setdefault(one.problem, []).append(one)
    most_frequent_first = sorted(by_problem.items(), key=lambda item: -len(item[1]))
    return [
        {"problem": problem, "count": len(rows), "rows": [{"source": row.source, "detail": row.detail} for row in rows]}
        for problem, rows in most_frequent_first
    ]


def summary_lines(outcome: Outcome, config: PrepareConfig) -> list[str]:
    """What a person wants to know first."""
    lines = [f"read {_count(len(one.source.rows), 'row')} from {one.source.label}: {one.layout}" for one in outcome.sources]
    if outcome.num_used < outcome.num_read:
        lines.append(f"used a sample of {outcome.num_used:,} of them (limit {config.limit:,}, seed {config.seed})")
    kept = [f"kept {outcome.num_kept:,}"]
    if outcome.duplicates:
        kept.append(f"removed {_count(len(outcome.duplicates), 'exact duplicate')}")
    if outcome.invalid:
        kept.append(f"dropped {_count(len(outcome.invalid), 'row')} ({problem_counts(outcome.invalid)})")
    sizes = ", ".join(f"{name} {size:,}" for name, size in outcome.split_sizes.items())
    return [*lines, ", ".join(kept), f"{sizes} (seed {config.seed})", *(f"note: {note}" for note in notes(outcome))]


def notes(outcome: Outcome) -> list[str]:
    """What is no fault, but worth knowing."""
    found = [f"{one.source.label}: {one.source.note}" for one in outcome.sources if one.source.note]
    for one in outcome.sources:
        if one.layout.unused:
            found.append(f"{one.source.label}: not used: {', '.join(one.layout.unused)}")
    contested = _prompts_with_several_answers(outcome.splits.train)
    if contested:
        found.append(f"{_count(contested, 'prompt')} of the train split {'has' if contested == 1 else 'have'} more than one answer")
    empty = len(empty_prompts(outcome))
    if empty:
        found.append(f"{_count(empty, 'example')} {'has' if empty == 1 else 'have'} an empty prompt")
    found += [f"the {name} split is empty" for name, size in outcome.split_sizes.items() if not size]
    return found


def _prompts_with_several_answers(examples: Iterable[Example]) -> int:
    answers: dict[str, set[str]] = {}
    for example in examples:
        answers.setdefault(example.group, set()).add(normalise_prompt(example.reference))
    return sum(1 for different in answers.values() if len(different) > 1)


def empty_prompts(outcome: Outcome) -> list[str]:
    """Sources of the kept conversations in which the user's last message says nothing."""
    return [example.source for example in outcome.kept() if example.messages and not example.prompt.strip()]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def length_statistics(examples: Sequence[Example]) -> dict[str, Any]:
    """By part (`prompt`: all before the last answer; `completion`; `text`) and unit (`words`, `characters`)."""
    chats = [example for example in examples if example.messages]
    parts = {
        "prompt": ["\n".join(message.content for message in example.prompt_messages) for example in chats],
        "completion": [example.reference for example in chats],
        "text": [example.text for example in examples if example.text is not None],
    }
    return {
        part: {"words": _spread([len(text.split()) for text in texts]), "characters": _spread([len(text) for text in texts])}
        for part, texts in parts.items()
        if texts
    }


def _spread(lengths: list[int]) -> dict[str, float]:
    ranked = sorted(lengths)
    p95 = ranked[-(-len(ranked) * 95 // 100) - 1]  # nearest rank: the smallest length that 95 % do not exceed
    return {"min": ranked[0], "median": statistics.median(ranked), "p95": p95, "max": ranked[-1]}
