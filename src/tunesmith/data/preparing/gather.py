"""Sources -> one file of examples with their facts, in a stream: no more rows are in memory than a few thousand.

    with Workers() as workers, Ledger(staging) as ledger:
        gathered = gather(open_sources(["faq.csv"]), config, staging / "spool.jsonl", workers, ledger)

A source's layout is recognised from its first rows. A sample (`limit`) is the rows with the smallest hashes of seed, source and
number, found in one pass; those, and only those, are in memory together.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.convert import Converter, Keys
from tunesmith.data.converting.examples import Faults, Invalid
from tunesmith.data.converting.facts import KINDS, Facts, facts_of
from tunesmith.data.converting.layouts import Layout
from tunesmith.data.converting.repair import Repair
from tunesmith.data.converting.review import Decision
from tunesmith.data.converting.survey import Survey
from tunesmith.data.reading.sources import Source, with_group
from tunesmith.data.storing.store import StoredExamples, stored, to_line
from tunesmith.errors import DataError
from tunesmith.types import ExampleKind, Row
from tunesmith.workers import Workers

HEAD_ROWS = 5000
"""Of a source, to recognise its columns by."""
ROWS_AT_ONCE = 1000
"""Rows that a worker is given at a time."""

MOST_SHOWN = 1000
"""Removed examples of one reason that a report names."""
REMOVED = "removed.jsonl"
CHANGED = "changed.jsonl"


class Ledger:
    """What was removed and what was changed, written down as it happens; examples are counted by reason."""

    def __init__(self, directory: Path) -> None:
        self._files: tuple[IO[bytes], IO[bytes]] = ((directory / REMOVED).open("xb"), (directory / CHANGED).open("xb"))
        self.removed: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()
        self.shown: dict[str, list[Mapping[str, Any]]] = {}
        """By reason the first records of removed examples."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for file in self._files:
            file.close()

    def leave_out(self, rows: Iterable[Invalid]) -> None:
        """Rows that make no example."""
        for row in rows:
            self._files[0].write(to_line({"source": row.source, "reason": row.problem, "detail": row.detail}))

    def remove(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Examples, each record with at least `source` and `reason`."""
        for record in records:
            self.removed[record["reason"]] += 1
            shown = self.shown.setdefault(record["reason"], [])
            if len(shown) < MOST_SHOWN:
                shown.append(record)
            self._files[0].write(to_line(record))

    def change(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Examples, each record with at least `source`, `reason`, `before` and `after`."""
        for record in records:
            self.changed[record["reason"]] += 1
            self._files[1].write(to_line(record))


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadSource:
    """One source and how it was understood."""

    label: str
    path: str
    layout: Layout
    num_rows: int
    num_used: int
    """Rows that were looked at: all, unless `limit` took a sample."""
    faults: Faults
    note: str = ""
    kind: str = ""
    sha256: str | None = None
    num_bytes: int | None = None
    unused: tuple[str, ...] = ()
    """Columns that play no part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """All examples of all sources, in their order."""

    examples: StoredExamples
    facts: Facts
    """(examples,), in step."""
    sources: tuple[ReadSource, ...]
    reviewed: frozenset[str] = field(default_factory=frozenset)
    """Ids whose decision was carried out."""


def gather(
    sources: Sequence[Source],
    config: PrepareConfig,
    spool: Path,
    workers: Workers,
    ledger: Ledger,
    decisions: Mapping[str, Decision] | None = None,
) -> Gathered:
    """Read, validate, fix and edit all rows; write the examples to `spool`.

    Raises:
        DataError: a source or a row cannot be used as it is, or the sources hold examples of kinds that do not mix.
    """
    used: list[ReadSource] = []
    facts: list[Facts] = [facts_of([])]
    kinds: dict[ExampleKind, str] = {}
    reviewed: set[str] = set()
    with spool.open("xb") as file:
        for number, (source, reading) in enumerate(zip(sources, _readings(sources, config), strict=True)):
            layout = recognise(reading.survey, config)
            keys = _keys(reading.survey, config)
            converter = Converter(number=number, layout=layout, keys=keys, repair=Repair(config.fix), decisions=decisions or {})
            faults, num_used = Faults(), 0
            for converted in workers.map(converter, _pieces(reading.rows)):
                num_used += len(converted.facts) + len(converted.invalid) + len(converted.removed)
                file.write(converted.lines)
                facts.append(converted.facts)
                kinds |= {KINDS[kind]: source.label for kind in np.unique(converted.facts["kind"]) if KINDS[kind] not in kinds}
                faults.add(converted.invalid)
                reviewed |= converted.reviewed
                ledger.leave_out(converted.invalid)
                ledger.remove(converted.removed)
                ledger.change(converted.changed)
            if num_used:
                faults.require_usable(reading.survey.place, num_used, config)
            used.append(_read_source(source, reading, layout, config, num_used, faults))
        size = file.tell()
    _refuse_mixture(kinds)
    everything = np.concatenate(facts)
    examples = stored(spool, np.cumsum(everything["length"]), size)
    return Gathered(examples=examples, facts=everything, sources=tuple(used), reviewed=frozenset(reviewed))


KIND_WORDS: Mapping[ExampleKind, str] = {
    "text": "raw text",
    "conversation": "prompts with one answer",
    "pair": "preference pairs",
    "judged": "judged answers",
}


def _refuse_mixture(kinds: Mapping[ExampleKind, str]) -> None:
    """A set of preferences holds nothing else: no objective trains on both. (`kinds`: each with a source that has it.)"""
    if len(kinds) > 1 and kinds.keys() & {"pair", "judged"}:
        found = ", ".join(f"{label} holds {KIND_WORDS[kind]}" for kind, label in kinds.items())
        raise DataError("prepare", found, expected="data of one kind", remedy="prepare each kind into a directory of its own")


def _read_source(source: Source, reading: _Reading, layout: Layout, config: PrepareConfig, num_used: int, faults: Faults) -> ReadSource:
    keys = {key.casefold() for key in (config.group_key, config.stratify_key, config.time_key) if key}
    return ReadSource(
        label=source.label,
        path=source.path,
        layout=layout,
        num_rows=num_used if reading.num_rows is None else reading.num_rows,
        num_used=num_used,
        faults=faults,
        note="; ".join(note for note in (source.note, layout.note, source.remarks()) if note),
        kind=source.kind,
        sha256=source.sha256,
        num_bytes=source.num_bytes,
        unused=tuple(column for column in layout.unused if column.casefold() not in keys),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """A source that is being read."""

    survey: Survey
    """Of its first rows, whether they are used or not."""
    rows: Iterable[Row]
    """Those to use."""
    num_rows: int | None = None
    """In all; None: as many as there are in `rows`."""


def _readings(sources: Sequence[Source], config: PrepareConfig) -> Iterator[_Reading]:
    """One for each source; with `limit` all are gone through before the first is handed out."""
    if config.limit is not None:
        yield from _sampled(sources, config, config.limit)
        return
    for source in sources:
        rows = _rows_of(source, config)
        head = list(itertools.islice(rows, HEAD_ROWS))
        yield _Reading(survey=Survey.of(head), rows=itertools.chain(head, rows))


def _sampled(sources: Sequence[Source], config: PrepareConfig, limit: int) -> list[_Reading]:
    """`limit` of all sources' rows together, chosen by hash: the same under every version of Python."""
    surveys: list[Survey] = []
    sizes: list[int] = []
    chosen: list[tuple[int, int, int, Row]] = []  # largest hash first
    for number, source in enumerate(sources):
        surveys.append(Survey())
        size = 0
        for size, row in enumerate(_rows_of(source, config), start=1):
            if size <= HEAD_ROWS:
                surveys[-1].add(row)
            digest = hashlib.sha256(f"{config.seed}:{number}:{size - 1}".encode()).digest()
            item = (-int.from_bytes(digest, "big"), number, size, row)
            if len(chosen) < limit:
                heapq.heappush(chosen, item)
            elif item[0] > chosen[0][0]:
                heapq.heapreplace(chosen, item)
        sizes.append(size)
    chosen.sort(key=lambda item: (item[1], item[2]))
    rows = {number: [item[3] for item in items] for number, items in itertools.groupby(chosen, key=lambda item: item[1])}
    return [_Reading(survey=surveys[number], rows=rows.get(number, ()), num_rows=size) for number, size in enumerate(sizes)]


def _rows_of(source: Source, config: PrepareConfig) -> Iterator[Row]:
    return source.read() if config.group_key is None else with_group(source.read(), config.group_key)


def _pieces(rows: Iterable[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while piece := list(itertools.islice(remaining, ROWS_AT_ONCE)):
        yield piece


def _keys(survey: Survey, config: PrepareConfig) -> Keys:
    """The columns that decide the split, as this source spells them.

    Raises:
        DataError: there is no such column.
    """
    names = {name.casefold(): name for name in survey.names}
    time = _column(names, config.time_key, "--time-key", survey.place)
    if config.stratify_key == ANSWER and ANSWER not in names:
        return Keys(stratify_by_answer=True, time=time)
    return Keys(stratum=_column(names, config.stratify_key, "--stratify-key", survey.place), time=time)


ANSWER = "answer"
"""For `stratify_key`: the right answer, whatever its column is called."""


def _column(names: Mapping[str, str], key: str | None, option: str, place: str) -> str | None:
    if key is None or key.casefold() in names:
        return None if key is None else names[key.casefold()]
    raise DataError(
        place,
        f"there is no column {key!r} ({option})",
        expected=f"one of the columns {', '.join(names.values())}",
        remedy=f"correct {option}",
    )
