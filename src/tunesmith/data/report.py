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
from tunesmith.data.examples import Invalid, normalise_prompt, problem_counts
from tunesmith.data.layouts import Layout
from tunesmith.data.prepared import SCHEMA_VERSION, SPLIT_NAMES
from tunesmith.data.readers import SourceRows
from tunesmith.data.split import FEWEST_TO_VALIDATE, Duplicate, Splits
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
    divided: Sequence[str] = ()
    """Sources of the documents that were cut into passages to split them; then the splits hold passages."""

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
    """Rows read = not sampled + dropped + duplicates + kept (documents, where they were divided); kept = the sum of the splits."""
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
        "notes": notes(outcome, config),
        "counts": counts(outcome),
        "sources": [source_record(one) for one in outcome.sources],
        "dropped": _dropped(outcome.invalid),
        "divided": list(outcome.divided),
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
    kept = [f"kept {_kept(outcome)}"]
    if outcome.duplicates:
        kept.append(f"removed {_count(len(outcome.duplicates), 'exact duplicate')}")
    if outcome.invalid:
        kept.append(f"dropped {_count(len(outcome.invalid), 'row')} ({problem_counts(outcome.invalid)})")
    sizes = ", ".join(f"{name} {size:,}" for name, size in outcome.split_sizes.items())
    how = "consecutive passages" if outcome.divided else f"seed {config.seed}"
    return [*lines, ", ".join(kept), f"{sizes} ({how})", *(f"note: {note}" for note in notes(outcome, config))]


def _kept(outcome: Outcome) -> str:
    """How much was kept, and of what kind."""
    if outcome.divided:
        return f"{_count(len(outcome.divided), 'document')}, cut into {_count(outcome.num_kept, 'passage')}"
    kind = outcome.splits.train[0].kind
    if kind == "pair":
        return _count(outcome.num_kept, "preference pair")
    if kind == "judged":
        desirable = sum(example.label is True for example in outcome.kept())
        return f"{_count(outcome.num_kept, 'judged answer')} ({desirable:,} desirable, {outcome.num_kept - desirable:,} not)"
    return f"{outcome.num_kept:,}"


def notes(outcome: Outcome, config: PrepareConfig) -> list[str]:
    """What is no fault, but worth knowing."""
    found = [f"{one.source.label}: {one.source.note}" for one in outcome.sources if one.source.note]
    for one in outcome.sources:
        if one.layout.unused:
            instead = f" (the right answer is {one.layout.completion or one.layout.content})" if one.layout.rejected else ""
            found.append(f"{one.source.label}: not used: {', '.join(one.layout.unused)}{instead}")
    found += _about_answers(outcome)
    if outcome.divided:
        found.append(_how_divided(config))
    empty = len(empty_prompts(outcome))
    if empty:
        found.append(f"{_count(empty, 'example')} {'has' if empty == 1 else 'have'} an empty prompt")
    found += [f"the {name} split is empty" for name, size in outcome.split_sizes.items() if not size]
    return found


def _about_answers(outcome: Outcome) -> list[str]:
    """Answers that contradict each other."""
    kind = outcome.splits.train[0].kind
    if kind in ("pair", "judged"):
        return _about_preferences(outcome, kind)
    contested = _prompts_with_several_answers(outcome.splits.train)
    have = "has" if contested == 1 else "have"
    return [f"{_count(contested, 'prompt')} of the train split {have} more than one answer"] if contested else []


def _about_preferences(outcome: Outcome, kind: str) -> list[str]:
    """Prompts of which the same answers are preferred both ways, and a set that has only one side."""
    judged: dict[object, set[object]] = {}
    for example in outcome.kept():
        answers = [normalise_prompt(answer) for answer in (example.reference, example.rejected) if answer is not None]
        judged.setdefault((example.group, *sorted(answers)), set()).add(answers[0] if kind == "pair" else example.label)
    both_ways = sum(1 for verdicts in judged.values() if len(verdicts) > 1)
    found = []
    if both_ways and kind == "pair":
        found.append(f"{_count(both_ways, 'pair')} of answers {'is' if both_ways == 1 else 'are'} preferred both ways")
    elif both_ways:
        found.append(f"{_count(both_ways, 'answer')} {'is' if both_ways == 1 else 'are'} judged both desirable and not")
    if kind == "judged" and len({example.label for example in outcome.kept()}) == 1:
        found.append("all answers are judged alike: there is nothing to prefer")
    return found


def _how_divided(config: PrepareConfig) -> str:
    shares = (1 - config.test_fraction - config.validation_fraction, config.validation_fraction, config.test_fraction)
    first, middle, last = (f"{100 * share:g} %" for share in shares)
    return (
        f"fewer than {FEWEST_TO_VALIDATE} documents, so none is held out whole: of each, the first {first} trains, the next {middle} "
        f"validates and the last {last} tests, cut between paragraphs (else lines, else words)"
    )


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
    """By part (`prompt`: all before the last answer; `completion`; `rejected`; `text`) and unit (`words`, `characters`)."""
    chats = [example for example in examples if example.messages]
    parts = {
        "prompt": ["\n".join(message.content for message in example.prompt_messages) for example in chats],
        "completion": [example.reference for example in chats],
        "rejected": [example.rejected for example in chats if example.rejected is not None],
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
