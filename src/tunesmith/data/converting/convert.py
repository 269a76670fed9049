"""Rows of one source -> lines of examples with their facts, piece by piece, in whichever process.

    converter = Converter(number=0, layout=layout, keys=Keys(), repair=Repair(("mojibake",)), decisions={})
    converted = converter(rows[:2000])

Each row goes through the same: validated, fixed by name, edited or dropped as the reviewer decided, written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.converting.examples import Invalid, read_example
from tunesmith.data.converting.facts import Facts, Marks, fact_values, facts_of
from tunesmith.data.converting.layouts import Layout
from tunesmith.data.converting.repair import Repair
from tunesmith.data.converting.review import REVIEWED, Decision, apply_edit
from tunesmith.data.converting.times import read_time
from tunesmith.data.parsing.faults import UnusableRowError
from tunesmith.data.storing.store import example_to_record, to_line
from tunesmith.types import Example, Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Columns that say something about an example without being part of it, as the source spells them; None: there is none."""

    stratum: str | None = None
    time: str | None = None
    stratify_by_answer: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """What became of some rows, in their order. Every row is in `facts`, in `invalid` or in `removed`."""

    lines: bytes
    facts: Facts
    invalid: list[Invalid]
    removed: list[dict[str, Any]]
    """Records for `removed.jsonl`: what the reviewer dropped."""
    changed: list[dict[str, Any]]
    """Records for `changed.jsonl`."""
    reviewed: set[str]
    """Ids whose decision was carried out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Converter:
    """How to read the rows of one source."""

    number: int
    layout: Layout
    keys: Keys = Keys()
    repair: Repair = field(default_factory=lambda: Repair(()))
    decisions: Mapping[str, Decision] = field(default_factory=dict)

    def __call__(self, rows: Sequence[Row]) -> Converted:
        lines: list[bytes] = []
        values: list[tuple[Any, ...]] = []
        result = Converted(lines=b"", facts=facts_of([]), invalid=[], removed=[], changed=[], reviewed=set())
        for row in rows:
            try:
                read = read_example(row, self.layout)
                marks = self._marks(row, read)
                example = self._worked_over(read, result)
            except UnusableRowError as fault:
                result.invalid.append(Invalid(source=row.source, problem=fault.problem, detail=fault.detail, expected=fault.expected))
                continue
            if example is not None:
                line = to_line(example_to_record(example))
                lines.append(line)
                values.append(fact_values(example, marks, length=len(line), source=self.number, read_id=read.id))
        return Converted(
            lines=b"".join(lines),
            facts=facts_of(values),
            invalid=result.invalid,
            removed=result.removed,
            changed=result.changed,
            reviewed=result.reviewed,
        )

    def _worked_over(self, read: Example, result: Converted) -> Example | None:
        """The example after fixes and review; None when the reviewer dropped it."""
        example = read
        if self.repair.names:
            repaired = self.repair.apply(read)
            example = repaired.example
            result.changed.extend(change.record(read.source) for change in repaired.changes)
        decision = self.decisions.get(read.id) if self.decisions else None
        if decision is None:
            return example
        result.reviewed.add(read.id)
        if decision.choice == "drop":
            result.removed.append({"source": read.source, "reason": REVIEWED, "detail": f"decided in {decision.place}"})
            return None
        example, change = apply_edit(example, decision)
        if change is not None:
            result.changed.append(change.record(read.source))
        return example

    def _marks(self, row: Row, example: Example) -> Marks:
        keys = self.keys
        stratum = _text_of(row.values.get(keys.stratum)) if keys.stratum is not None else None
        if keys.stratify_by_answer:
            stratum = example.reference.strip()
        return Marks(group=row.group, stratum=stratum, time=0.0 if keys.time is None else read_time(row.values.get(keys.time), keys.time))


def _text_of(value: Any) -> str | None:
    """What two rows have to agree in; None for an empty cell."""
    return None if value is None or (isinstance(value, str) and not value.strip()) else str(value).strip()
