"""An evaluation and its analysis as the pages need them: examples that can be searched, flips, error groups.

    >>> found = read_evaluated(library, run)
    >>> found.matching(Wanted(group="too_long", of="tuned", words="refund"))
    [17, 204]
    >>> found.examples[17].text("prompt")

Lines are kept as they stand in the file and parsed when they are shown: ten thousand examples are ready in a moment, and make no work for
Python's garbage collector, which looks through all objects again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tunesmith.studio.pages.data_reading import search_words
from tunesmith.studio.readable import Unreadable, find, items, mapping, number, parse, read_content, read_object, shown, text, whole
from tunesmith.studio.reading import Library, RunSummary

MOST_BYTES = 1024 * 1024 * 1024
"""Of the records of one evaluation; ten thousand examples have a thirtieth of it."""
LABELS = ("base", "tuned")
FLIPS = {
    "newly_right": "newly right",
    "newly_wrong": "newly wrong",
    "both_right": "right both times",
    "both_wrong": "wrong both times",
}
"""Cell of the table of right and wrong to its title."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which examples to show; what an address says of them."""

    words: str = ""
    """All of these words and "quoted phrases" stand somewhere in the prompt, the reference, an answer or the source."""
    flip: str = ""
    group: str = ""
    of: str = "tuned"
    """Whose answers are in the group."""

    def address(self, **more: str | int) -> str:
        """`?words=…`, empty where nothing is asked for."""
        said = {"words": self.words, "flip": self.flip, "group": self.group, "of": self.of if self.group else "", **more}
        given = {name: value for name, value in said.items() if value}
        return f"?{urlencode(given)}" if given else ""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One evaluated example, with what the analysis says of it."""

    record: Mapping[str, Any]
    failures: Mapping[str, Any]
    flip: str
    """Key of `FLIPS`, empty where there is nothing right or wrong."""

    @property
    def id(self) -> str:
        return str(self.record["id"])

    def text(self, *keys: str) -> str:
        """A text of the record, as it can be shown; empty where there is none."""
        return text(self.record, *keys) or ""

    def completion(self, label: str) -> str:
        return self.text("answers", label, "completion")

    def scores(self, label: str) -> dict[str, float]:
        """By scorer."""
        given = mapping(self.record, "answers", label, "scores")
        return {str(name): value for name in given if (value := number(given, name)) is not None}

    def loss(self, label: str) -> float | None:
        """Nats per supervised token."""
        total, count = (number(self.record, "answers", label, key) for key in ("loss_total", "num_supervised"))
        return total / count if total is not None and count else None

    def groups(self, label: str) -> dict[str, str]:
        """Error group to why the model's answer is in it."""
        given = mapping(self.failures, label)
        return {shown(str(name)): text(given, name) or "" for name in given}


class Group(NamedTuple):
    """An error group, as `analysis.json` has it."""

    name: str
    title: str
    severity: str
    counts: Mapping[str, int]
    num_fixed: int
    num_broken: int
    remedy: str
    is_found: bool


@dataclass(frozen=True, kw_only=True)
class Records:
    """The lines of one file of JSON objects with ids."""

    lines: tuple[bytes, ...]
    ids: tuple[str, ...]
    """In step with `lines`."""
    places: Mapping[str, int]
    """Of ids, in `lines`."""
    num_bad: int
    """Lines that are none."""

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, place: int) -> Mapping[str, Any]:
        """The object of a line."""
        return _record(self.lines[place])

    @cached_property
    def texts(self) -> list[str]:
        """All that each line says, casefolded, for searching."""
        return [_all_said(record).casefold() for record in map(_record, self.lines)]

    @cached_property
    def tuned(self) -> list[str]:
        """What the tuned model answered, line by line, as it was written; empty where it did not."""
        found = (find(record, "answers", "tuned", "completion") for record in map(_record, self.lines))
        return [completion if isinstance(completion, str) else "" for completion in found]


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """An evaluated run."""

    report: Mapping[str, Any]
    records: Records
    failures: Records | None
    """None: not analysed."""
    analysis: Mapping[str, Any] | None
    flips: Mapping[str, str]
    """Id to key of `FLIPS`."""

    @property
    def num_examples(self) -> int:
        return len(self.records)

    def example(self, place: int) -> Example:
        """By its place among all."""
        key = self.records.ids[place]
        failed = self.failures[self.failures.places[key]] if self.failures and key in self.failures.places else {}
        return Example(record=self.records[place], failures=failed, flip=self.flips.get(key, ""))

    def find(self, id_: str) -> int | None:
        """Place of the example of this id."""
        return self.records.places.get(id_)

    def matching(self, wanted: Wanted) -> list[int]:
        """Places of the examples that are wanted, in the order evaluated."""
        places: Sequence[int] = range(self.num_examples)
        ids = self.records.ids
        if wanted.flip:
            places = [place for place in places if self.flips.get(ids[place]) == wanted.flip]
        if wanted.group:
            inside = self._inside(wanted.group, wanted.of)
            places = [place for place in places if ids[place] in inside]
        for word in search_words(wanted.words):
            said = self.records.texts
            places = [place for place in places if word in said[place]]
        return list(places)

    def _inside(self, group: str, label: str) -> frozenset[str]:
        failures = zip(self.failures.ids, map(_record, self.failures.lines), strict=True) if self.failures else ()
        return frozenset(id_ for id_, failed in failures if find(failed, label, group) is not None)

    def groups(self) -> list[Group]:
        """As the analysis lists them: by severity, then the most frequent."""
        return [group for one in items(self.analysis, "groups") if (group := _group(one)) is not None]

    def right_words(self) -> str:
        """`token_f1 at least 0.5`; empty where nothing counts as right."""
        metric, least = text(self.report, "flips", "rule", "metric"), number(self.report, "flips", "rule", "threshold")
        if metric is None or least is None:
            return ""
        titles = {text(one, "metric", "name"): text(one, "metric", "title") for one in items(self.report, "comparisons")}
        return f"{titles.get(metric) or metric} at least {least:g}"


def read_evaluated(library: Library, run: RunSummary) -> Evaluated:
    """What there is of a run.

    Raises:
        Unreadable: it was not evaluated, or what was written is something else.
    """
    directory = run.directory
    report = library.document(directory.evaluation_report_file, "report", read_object)
    records = library.document(directory.evaluation_records_file, "records", read_lines)
    analysed = directory.analysis_file.is_file()
    analysis = library.document(directory.analysis_file, "analysis", read_object) if analysed else None
    lines = directory.analysis_dir / "records.jsonl"
    failures = library.document(lines, "failures", read_lines) if analysed and lines.is_file() else None
    return Evaluated(report=report, records=records, failures=failures, analysis=analysis, flips=_flips(report))


def read_lines(file: Path) -> Records:
    """JSON objects that have an id, one a line.

    Raises:
        Unreadable: the file is absent or too large.
    """
    lines: list[bytes] = []
    ids: list[str] = []
    num_bad = 0
    for content in read_content(file, most_bytes=MOST_BYTES).splitlines():
        try:
            id_ = find(parse(content), "id")
        except (ValueError, RecursionError):
            num_bad += bool(content.strip())
            continue
        if isinstance(id_, str):
            lines.append(content)
            ids.append(id_)
        else:
            num_bad += 1
    if num_bad and not lines:
        raise Unreadable(f"{file.name} has no line that is a record")
    return Records(lines=tuple(lines), ids=tuple(ids), places={id_: place for place, id_ in enumerate(ids)}, num_bad=num_bad)


def _record(line: bytes) -> dict[str, Any]:
    value = parse(line)
    return value if isinstance(value, dict) else {}


def _flips(report: Mapping[str, Any]) -> dict[str, str]:
    return {one: kind for kind in FLIPS for one in items(report, "flips", kind) if isinstance(one, str)}


def _group(values: object) -> Group | None:
    name = text(values, "name")
    if not name:
        return None
    return Group(
        name=name,
        title=text(values, "title") or name,
        severity=text(values, "severity") or "",
        counts={label: whole(values, "counts", label) or 0 for label in mapping(values, "counts") if isinstance(label, str)},
        num_fixed=len(items(values, "fixed")),
        num_broken=len(items(values, "newly_broken")),
        remedy=text(values, "remedy") or "",
        is_found=find(values, "is_found") is True,
    )


def _all_said(line: Mapping[str, Any]) -> str:
    return "\n".join(_texts(line))


def _texts(line: Mapping[str, Any]) -> Iterator[str]:
    for key in ("source", "prompt", "reference"):
        if isinstance(given := line.get(key), str):
            yield given
    for answer in mapping(line, "answers").values():
        if isinstance(given := find(answer, "completion"), str):
            yield given
