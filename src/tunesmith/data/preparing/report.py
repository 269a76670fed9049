"""What `prepare` did with the rows, for people: `report.json`, and the same in a few lines for the screen.

read 1,400 rows from lamini_docs.jsonl: question -> prompt, answer -> completion (question/answer)
kept 1,395, removed 4 exact duplicates, dropped 1 row (1 blank row)
train 1,175, validation 67, test 153 (seed 123)
test against training: 0 of 154 prompts the same, 0 nearly the same; 38 share a run of 13 words, 3 most of their runs
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.config import PrepareConfig
from tunesmith.data.checks import Finding
from tunesmith.data.checks.finding import counted
from tunesmith.data.checks.leakage import Leakage
from tunesmith.data.converting.examples import problem_counts
from tunesmith.data.converting.facts import KINDS, Facts, num_contested
from tunesmith.data.preparing.gather import MOST_SHOWN, ReadSource
from tunesmith.data.splitting.split import FEWEST_TO_VALIDATE, FREE, TRAIN, Sides
from tunesmith.data.storing.prepared import SCHEMA_VERSION
from tunesmith.data.storing.store import StoredExamples
from tunesmith.types import ExampleKind

MOST_LISTED = MOST_SHOWN
"""Places that a list in the report names; removed.jsonl has all."""
MOST_FILES_NAMED = 8
"""Of those that were read alike; more are named by the first and the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """All that happened on the way from rows to splits."""

    sources: Sequence[ReadSource]
    examples: StoredExamples
    """All that could be read, or the passages that documents were cut into."""
    facts: Facts
    sides: Sides
    """(examples,) FREE where one was left out."""
    duplicates: Sequence[Mapping[str, str]] = ()
    """The first of them, with `source` and `duplicate_of`."""
    num_duplicates: int = 0
    removed: Mapping[str, int] = field(default_factory=dict)
    """Examples left out by reason, but for exact duplicates and unusable rows."""
    changed: Mapping[str, int] = field(default_factory=dict)
    """Examples changed by reason."""
    repeats: NDArray[np.int64] | None = None
    """(examples,) how often each is written if it trains; None: all once."""
    divided: Sequence[str] = ()
    """Sources of the documents that were cut into passages to split them."""
    findings: Sequence[Finding] = ()
    leakage: Leakage | None = None
    """Of the test split; None without one."""
    remarks: Sequence[str] = ()
    """What else is worth knowing."""
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    """Lines of each file; examples repeated by weight count as often as they are written."""

    @property
    def num_read(self) -> int:
        return sum(one.num_rows for one in self.sources)

    @property
    def num_used(self) -> int:
        return sum(one.num_used for one in self.sources)

    @property
    def num_kept(self) -> int:
        return int(np.count_nonzero(self.sides != FREE))

    @property
    def problems(self) -> Counter[str]:
        """Unusable rows of all sources."""
        return sum((one.faults.counts for one in self.sources), Counter[str]())

    def kept(self) -> Facts:
        kept: Facts = self.facts[self.sides != FREE]
        return kept

    @property
    def kind(self) -> ExampleKind:
        """Of the first example to train on."""
        return KINDS[int(self.facts["kind"][np.argmax(self.sides == TRAIN)])]


def counts(outcome: Outcome) -> dict[str, Any]:
    """Rows read = not sampled + dropped + duplicates + removed + kept (documents, where they were divided).

    Examples kept = the sum of the splits, unless weights repeat some.
    """
    return {
        "rows_read": outcome.num_read,
        "rows_not_sampled": outcome.num_read - outcome.num_used,
        "rows_dropped": outcome.problems.total(),
        "duplicates_removed": outcome.num_duplicates,
        "examples_removed": sum(outcome.removed.values()),
        "examples_changed": sum(outcome.changed.values()),
        "examples_kept": outcome.num_kept,
        **outcome.split_sizes,
    }


def full_report(outcome: Outcome, config: PrepareConfig) -> dict[str, Any]:
    """The contents of `report.json`; lists name the first thousand places, removed.jsonl all."""
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": summary_lines(outcome, config),
        "notes": notes(outcome, config),
        "counts": counts(outcome),
        "sources": [source_record(one) for one in outcome.sources],
        "dropped": _dropped(outcome),
        "removed": dict(outcome.removed),
        "changed": dict(outcome.changed),
        "divided": list(outcome.divided),
        "duplicates": [{"source": one["source"], "duplicate_of": one["duplicate_of"]} for one in outcome.duplicates],
        "empty_prompts": empty_prompts(outcome),
        "lengths": length_statistics(outcome.kept()),
        "leakage": None if outcome.leakage is None else outcome.leakage.to_json(),
        "findings": [finding.to_json() for finding in outcome.findings],
    }


def source_record(one: ReadSource) -> dict[str, Any]:
    """What the manifest and the report say of one source."""
    return {
        "name": one.label,
        "path": one.path,
        "kind": one.kind,
        "sha256": one.sha256,
        "bytes": one.num_bytes,
        "rows": one.num_rows,
        "rows_used": one.num_used,
        "layout": str(one.layout),
        "unused_columns": list(one.unused),
    }


def _dropped(outcome: Outcome) -> list[dict[str, Any]]:
    """Unusable rows by problem, the most frequent first, the first few of each."""
    result = []
    for problem, count in outcome.problems.most_common():
        shown = [row for source in outcome.sources for row in source.faults.shown.get(problem, ())]
        rows = [{"source": row.source, "detail": row.detail} for row in shown]
        result.append({"problem": problem, "count": count, "rows": rows})
    return result


def summary_lines(outcome: Outcome, config: PrepareConfig) -> list[str]:
    """What a person wants to know first."""
    lines = reading_lines(outcome.sources, config)
    kept = [f"kept {_kept(outcome)}"]
    if outcome.num_duplicates:
        kept.append(f"removed {counted(outcome.num_duplicates, 'exact duplicate')}")
    if outcome.problems:
        kept.append(f"dropped {counted(outcome.problems.total(), 'row')} ({problem_counts(outcome.problems)})")
    if outcome.removed:
        kept.append(f"left out {counted(sum(outcome.removed.values()), 'example')} ({_by_reason(outcome.removed)})")
    if outcome.changed:
        kept.append(f"changed {counted(sum(outcome.changed.values()), 'example')} ({_by_reason(outcome.changed)})")
    sizes = ", ".join(f"{name} {size:,}" for name, size in outcome.split_sizes.items())
    lines += [", ".join(kept), f"{sizes} ({_how_split(outcome, config)})"]
    if outcome.leakage is not None:
        lines.append(outcome.leakage.sentence())
    return [*lines, *(f"note: {note}" for note in notes(outcome, config))]


def reading_lines(sources: Sequence[ReadSource], config: PrepareConfig) -> list[str]:
    """How many rows there were, and what they were taken for."""
    lines = [
        f"read {counted(sum(one.num_rows for one in alike), 'row')} from {_named(alike)}: {alike[0].layout}" for alike in _alike(sources)
    ]
    num_used = sum(one.num_used for one in sources)
    if num_used < sum(one.num_rows for one in sources):
        lines.append(f"used a sample of {num_used:,} of them (limit {config.limit:,}, seed {config.seed})")
    return lines


def _alike(sources: Sequence[ReadSource]) -> list[Sequence[ReadSource]]:
    """Many files in a row that were read alike, such as the shards of a folder, together; others each alone."""
    groups = [list(group) for _, group in groupby(sources, key=lambda one: (one.kind, str(one.layout), one.unused))]
    return [part for group in groups for part in ([group] if len(group) > MOST_FILES_NAMED else [[one] for one in group])]


def _named(alike: Sequence[ReadSource]) -> str:
    return alike[0].label if len(alike) == 1 else f"{len(alike):,} files ({alike[0].label} to {alike[-1].label})"


def source_notes(sources: Sequence[ReadSource]) -> list[str]:
    """What was chosen or left out while reading, and columns that play no part."""
    found = [f"{one.label}: {one.note}" for one in sources if one.note]
    for alike in _alike(sources):
        one = alike[0]
        if one.unused:
            instead = f" (the right answer is {one.layout.completion or one.layout.content})" if one.layout.rejected else ""
            found.append(f"{_named(alike)}: not used: {', '.join(one.unused)}{instead}")
    return found


def _by_reason(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in Counter(numbers).most_common())


def _how_split(outcome: Outcome, config: PrepareConfig) -> str:
    if outcome.divided:
        return "consecutive passages"
    if config.time_key:
        return f"the newest by {config.time_key} test"
    how = [f"seed {config.seed}"]
    if config.stratify_key:
        how.append(f"each {config.stratify_key} in proportion")
    if config.test_file:
        how.append(f"test from {config.test_file}")
    if config.like:
        how.append(f"like {config.like}")
    return ", ".join(how)


def _kept(outcome: Outcome) -> str:
    """How much was kept, and of what kind."""
    if outcome.divided:
        return f"{counted(len(outcome.divided), 'document')}, cut into {counted(outcome.num_kept, 'passage')}"
    if outcome.kind == "pair":
        return counted(outcome.num_kept, "preference pair")
    if outcome.kind == "judged":
        desirable = int(np.count_nonzero(outcome.kept()["desirable"] == 1))
        return f"{counted(outcome.num_kept, 'judged answer')} ({desirable:,} desirable, {outcome.num_kept - desirable:,} not)"
    return f"{outcome.num_kept:,}"


def notes(outcome: Outcome, config: PrepareConfig) -> list[str]:
    """What is no fault, but worth knowing."""
    found = [*source_notes(outcome.sources), *_about_answers(outcome)]
    if outcome.divided:
        found.append(_how_divided(config))
    empty = int(np.count_nonzero(outcome.kept()["empty_prompt"]))
    if empty:
        found.append(f"{counted(empty, 'example')} {'has' if empty == 1 else 'have'} an empty prompt")
    found += [f"the {name} split is empty" for name, size in outcome.split_sizes.items() if not size]
    return [*found, *outcome.remarks]


def _about_answers(outcome: Outcome) -> list[str]:
    """Answers that contradict each other, and judgements that have only one side."""
    if outcome.kind == "pair":
        both_ways = num_contested(outcome.kept())
        return [f"{counted(both_ways, 'pair')} of answers {'is' if both_ways == 1 else 'are'} preferred both ways"] if both_ways else []
    if outcome.kind == "judged":
        both_ways = num_contested(outcome.kept())
        found = [f"{counted(both_ways, 'answer')} {'is' if both_ways == 1 else 'are'} judged both desirable and not"] if both_ways else []
        alike = len(np.unique(outcome.kept()["desirable"])) == 1
        return [*found, "all answers are judged alike: there is nothing to prefer"] if alike else found
    contested = num_contested(outcome.facts[outcome.sides == TRAIN])
    have = "has" if contested == 1 else "have"
    return [f"{counted(contested, 'prompt')} of the train split {have} more than one answer"] if contested else []


def _how_divided(config: PrepareConfig) -> str:
    shares = (1 - config.test_fraction - config.validation_fraction, config.validation_fraction, config.test_fraction)
    first, middle, last = (f"{100 * share:g} %" for share in shares)
    return (
        f"fewer than {FEWEST_TO_VALIDATE} documents, so none is held out whole: of each, the first {first} trains, the next {middle} "
        f"validates and the last {last} tests, cut between paragraphs (else lines, else words)"
    )


def empty_prompts(outcome: Outcome) -> list[str]:
    """Sources of the kept conversations in which the user's last message says nothing, the first thousand."""
    positions = np.flatnonzero((outcome.sides != FREE) & outcome.facts["empty_prompt"])[:MOST_LISTED]
    return [example.source for example in outcome.examples.select(positions)]


def length_statistics(facts: Facts) -> dict[str, Any]:
    """By part (`prompt`: all before the last answer; `completion`; `rejected`; `text`) and unit (`words`, `characters`)."""
    is_text = facts["kind"] == KINDS.index("text")
    parts = {
        "prompt": ("prompt", ~is_text),
        "completion": ("answer", ~is_text),
        "rejected": ("rejected", facts["rejected_characters"] >= 0),
        "text": ("answer", is_text),
    }
    return {
        part: {unit: _spread(facts[f"{column}_{unit}"][chosen]) for unit in ("words", "characters")}
        for part, (column, chosen) in parts.items()
        if chosen.any()
    }


def _spread(lengths: Any) -> dict[str, float]:
    ranked = np.sort(lengths).tolist()
    p95 = ranked[-(-len(ranked) * 95 // 100) - 1]  # nearest rank: the smallest length that 95 % do not exceed
    return {"min": ranked[0], "median": statistics.median(ranked), "p95": p95, "max": ranked[-1]}
