"""Files -> what is wrong with them: read like `prepare` reads them, looked at by the checks, nothing written that stays.

>>> checked = check_files(["faq.csv"], PrepareConfig(on_invalid="drop"), CheckContext())
>>> for finding in checked.findings: print(finding.severity, finding.sentence)
problem 12 answers (0.9 %) are cut off: …
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, overload

from tunesmith.config import PrepareConfig
from tunesmith.data.checks import SEVERITIES, CheckContext, Finding, Specimen, run_checks
from tunesmith.data.checks.finding import MOST_SPECIMENS, counted, excerpt, percent
from tunesmith.data.converting.examples import BLANK_ROW
from tunesmith.data.preparing.gather import Gathered, Ledger, gather
from tunesmith.data.preparing.inputs import open_inputs
from tunesmith.data.preparing.report import reading_lines, source_notes, source_record
from tunesmith.data.preparing.selection import DUPLICATE, remove_exact_duplicates
from tunesmith.data.storing.prepared import MANIFEST, SPLIT_NAMES, load_prepared
from tunesmith.types import Example
from tunesmith.workers import Workers

SPOOL = "examples.spool"
SCHEMA_VERSION = 1
"""Of the JSON document."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What was read, and what was found in it, worst first."""

    sources: Sequence[dict[str, Any]]
    summary: Sequence[str]
    num_examples: int
    """Those that were looked at: exact duplicates are left out before, but in a prepared directory."""
    findings: Sequence[Finding]
    splits: Mapping[str, int] = field(default_factory=dict)
    """Sizes, of a prepared directory."""

    def to_json(self) -> dict[str, Any]:
        """The document of `tunesmith check --json`, and what the page is made from."""
        return {
            "schema_version": SCHEMA_VERSION,
            "summary": list(self.summary),
            "sources": list(self.sources),
            "counts": {"examples": self.num_examples, **self.splits},
            "findings": [finding.to_json() for finding in self.findings],
        }


def check_files(
    sources: Sequence[str | Path],
    config: PrepareConfig,
    context: CheckContext,
    *,
    names: Collection[str] | None = None,
    split: str | None = None,
    processes: int | None = None,
) -> Checked:
    """Read all sources and look at every example once.

    Args:
        sources: files, folders, patterns, archives, hub ids.
        config: how they are read; nothing of it that drops, fixes or splits matters here.
        context: what the checks may need to know.
        names: of checks; None runs those that run by default.
        split: chooses among the splits of a data set.
        processes: to share the work among when there is much of it; None: as many as there are cores, at most eight.

    Raises:
        DataError: a source cannot be used as it is, or holds no usable row.
        ConfigError: there is no such check, or it lacks a library.
        AssetError: a hub data set cannot be had.
    """
    inputs = open_inputs(list(sources), None, config, split)
    with TemporaryDirectory(prefix="tunesmith-check-") as folder, Workers(processes) as workers, Ledger(Path(folder)) as ledger:
        gathered = gather(inputs.sources, config, Path(folder) / SPOOL, workers, ledger)
        selection = remove_exact_duplicates(gathered, inputs.test_sources, ledger)
        examples = selection.kept_examples()
        found = run_checks(examples, names, processes=workers.number, context=context)
        found += [*_unusable(gathered), *_duplicates(gathered, ledger)]
        num_examples = len(examples)
        gathered.examples.close()
        examples.close()
    found.sort(key=lambda one: (SEVERITIES.index(one.severity), -one.share, one.check, one.sentence))
    return Checked(
        sources=[source_record(one) for one in gathered.sources],
        summary=[*reading_lines(gathered.sources, config), *(f"note: {note}" for note in source_notes(gathered.sources))],
        num_examples=num_examples,
        findings=found,
    )


def check_prepared(
    directory: Path, context: CheckContext, *, names: Collection[str] | None = None, processes: int | None = None
) -> Checked:
    """Look at a prepared directory; what its test split has in common with the others is a leak.

    Raises:
        DataError: not a prepared directory, or changed since.
        ConfigError: there is no such check, or it lacks a library.
    """
    prepared = load_prepared(directory)
    splits = [getattr(prepared, name) for name in SPLIT_NAMES]
    examples = Joined(splits)
    held = frozenset(range(len(examples) - len(splits[-1]), len(examples)))
    with Workers(processes) as workers:
        found = run_checks(examples, names, processes=workers.number, context=replace(context, test_positions=held))
    sizes = {name: len(split) for name, split in zip(SPLIT_NAMES, splits, strict=True)}
    listed = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    return Checked(
        sources=[{"path": str(directory)}],
        summary=[f"read {listed} of {directory}"],
        num_examples=len(examples),
        findings=found,
        splits=sizes,
    )


def is_prepared(path: str | Path) -> bool:
    """Whether `tunesmith prepare` has written this."""
    return all((Path(path) / name).is_file() for name in (MANIFEST, f"{SPLIT_NAMES[0]}.jsonl"))


class Joined(Sequence[Example]):
    """Sequences one after another, none of them copied."""

    def __init__(self, parts: Sequence[Sequence[Example]]) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            start, end, step = index.indices(len(self))
            if step != 1:
                return [self[place] for place in range(start, end, step)]
            begins = [0, *self._ends[:-1]]
            return Joined([part[max(0, start - begin) : max(0, end - begin)] for part, begin in zip(self._parts, begins, strict=True)])
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, place)
        return self._parts[number][place - (self._ends[number - 1] if number else 0)]

    def __iter__(self) -> Iterator[Example]:
        return chain.from_iterable(self._parts)


def _unusable(gathered: Gathered) -> list[Finding]:
    """Rows that make no example: `prepare` stops at them, unless told to leave them out."""
    shown = [row for one in gathered.sources for rows in one.faults.shown.values() for row in rows]
    count = sum(one.faults.counts.total() for one in gathered.sources)
    if not count:
        return []
    problems: dict[str, int] = {}
    for one in gathered.sources:
        for problem, number in one.faults.counts.items():
            problems[problem] = problems.get(problem, 0) + number
    share = count / sum(one.num_used for one in gathered.sources)
    listed = ", ".join(f"{number:,} {problem}" for problem, number in sorted(problems.items(), key=lambda item: -item[1]))
    return [
        Finding(
            check="unusable-rows",
            sentence=f"{counted(count, 'row')} ({percent(share)}) cannot be used: {listed}",
            severity="note" if set(problems) == {BLANK_ROW} else "problem",
            count=count,
            share=share,
            specimens=tuple(Specimen(source=row.source, excerpt=excerpt(row.detail)) for row in shown[:MOST_SPECIMENS]),
            action="left out" if set(problems) == {BLANK_ROW} else "refused",
            option="" if set(problems) == {BLANK_ROW} else "--on-invalid drop",
            figures={"problems": problems},
        )
    ]


def _duplicates(gathered: Gathered, ledger: Ledger) -> list[Finding]:
    count = ledger.removed[DUPLICATE]
    if not count:
        return []
    share = count / len(gathered.facts)
    shown = ledger.shown[DUPLICATE][:MOST_SPECIMENS]
    return [
        Finding(
            check="exact-duplicates",
            sentence=f"{counted(count, 'example')} ({percent(share)}) repeat{'s' if count == 1 else ''} an earlier one word for word",
            severity="note",
            count=count,
            share=share,
            specimens=tuple(Specimen(source=one["source"], excerpt=f"the same as {one['duplicate_of']}") for one in shown),
            action="dropped",
        )
    ]
