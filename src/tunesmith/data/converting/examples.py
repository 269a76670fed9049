"""Rows -> validated examples of one shape, and the rows that cannot be used, each with its problem.

    >>> to_examples(rows_from_records([{"question": "Hi?", "answer": ""}], "faq.json"), layout, PrepareConfig())
    tunesmith.errors.DataError: faq.json#1: the completion (column 'answer') is empty, the first of 1 unusable row out of 1
    (1 empty completion); expected text. To go on: correct it, or leave such rows out with `--on-invalid drop`.

Text is kept to the letter; whitespace is looked at only to tell whether there is anything in it. A completion has to say
something. A prompt may be empty, for users do send nothing and a model can be taught what to reply; the report counts
those. A blank row, in which all used columns are empty, is like a blank line: left out and counted, never a reason to stop.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.answers import Answered, read_answered
from tunesmith.data.converting.conversations import read_messages
from tunesmith.data.converting.labels import read_label
from tunesmith.data.converting.layouts import Layout
from tunesmith.data.parsing.faults import UnusableRowError, require_text
from tunesmith.errors import DataError
from tunesmith.types import Example, Message, Row

HASH_DIGITS = 16
"""Hexadecimal digits of ids and groups: 64 bits, a clash in a million examples has a chance of 3e-8."""


BLANK_ROW = "blank row"
"""The one problem that does not stop a preparation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Invalid:
    """A row that cannot be used."""

    source: str
    problem: str
    """The same for all rows with this fault, e.g. `empty completion`."""
    detail: str
    """What was found in this row."""
    expected: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamplesResult:
    """Every row is in exactly one of the two."""

    examples: tuple[Example, ...]
    invalid: tuple[Invalid, ...] = ()


def to_examples(rows: Sequence[Row], layout: Layout, config: PrepareConfig) -> ExamplesResult:
    """Validate every row of one source.

    Raises:
        DataError: with `on_invalid="stop"` the first row at fault and how many there are; in any case when no usable
            row is left.
    """
    examples, invalid = [], []
    for row in rows:
        try:
            examples.append(read_example(row, layout))
        except UnusableRowError as fault:
            invalid.append(Invalid(source=row.source, problem=fault.problem, detail=fault.detail, expected=fault.expected))
    faults = Faults()
    faults.add(invalid)
    faults.require_usable(rows[0].source if rows else "rows", len(rows), config)
    return ExamplesResult(examples=tuple(examples), invalid=tuple(invalid))


class Faults:
    """The unusable rows of a source: counts, and the first few of each problem, however many there are."""

    MOST_SHOWN = 100

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.shown: dict[str, list[Invalid]] = {}
        self.first: Invalid | None = None
        """But for blank rows, which are no fault."""

    def add(self, invalid: Iterable[Invalid]) -> None:
        for one in invalid:
            self.counts[one.problem] += 1
            shown = self.shown.setdefault(one.problem, [])
            if len(shown) < self.MOST_SHOWN:
                shown.append(one)
            if self.first is None and one.problem != BLANK_ROW:
                self.first = one

    def require_usable(self, place: str, num_rows: int, config: PrepareConfig) -> None:
        """All rows of a source were looked at: is it as it should be?

        Raises:
            DataError: with `on_invalid="stop"` the first row at fault and how many there are; in any case when no usable
                row is left.
        """
        if self.first is not None and config.on_invalid == "stop":
            raise self._first_fault(self.first, num_rows)
        if self.counts.total() == num_rows:
            raise DataError(
                place,
                f"no usable row is left of {num_rows:,} ({problem_counts(self.counts)})",
                expected="at least one example",
                remedy="correct the rows, or check that the right columns are named",
            )

    def _first_fault(self, first: Invalid, num_rows: int) -> DataError:
        counts = Counter({problem: count for problem, count in self.counts.items() if problem != BLANK_ROW})
        how_many = f"{counts.total():,} unusable {'row' if counts.total() == 1 else 'rows'} out of {num_rows:,}"
        return DataError(
            first.source,
            f"{first.detail}, the first of {how_many} ({problem_counts(counts)})",
            expected=first.expected,
            remedy="correct it, or leave such rows out with `--on-invalid drop`",
        )


def problem_counts(counts: Counter[str]) -> str:
    """`3 empty completion, 1 missing prompt`, the most frequent first."""
    return ", ".join(f"{count:,} {problem}" for problem, count in counts.most_common())


@lru_cache(maxsize=64)
def _saying(layout: Layout) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that say something, and those that a row cannot lack."""
    return tuple(column for column in layout.columns if column != layout.label), layout.necessary


def read_example(row: Row, layout: Layout) -> Example:
    """The example that a row makes.

    Raises:
        UnusableRowError: it makes none.
    """
    if row.fault is not None:
        raise UnusableRowError(*row.fault)
    said, necessary = _saying(layout)
    if all(_is_blank(row.values.get(column)) for column in said) and all(column in row.values for column in necessary):
        raise UnusableRowError(BLANK_ROW, f"nothing stands in {', '.join(said)}", "a filled row")
    if layout.kind == "text":
        assert layout.content is not None
        return build_example(row.source, text=require_text(row.values.get(layout.content), "text", layout.content))
    if layout.kind in ("messages", "sharegpt"):
        assert layout.content is not None
        answered = Answered(messages=read_messages(row.values.get(layout.content), layout.content))
    else:
        answered = read_answered(row.values, layout)
    label = None if layout.label is None else read_label(row.values.get(layout.label), layout.label)
    return build_example(row.source, messages=answered.messages, fields=answered.fields, rejected=answered.rejected, label=label)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def build_example(
    source: str,
    *,
    messages: tuple[Message, ...] = (),
    text: str | None = None,
    fields: Mapping[str, str] | None = None,
    rejected: str | None = None,
    label: bool | None = None,
) -> Example:
    """An example with its id (from the content alone) and its group (from what the user says, wording aside)."""
    fields = fields or {}
    content: dict[str, Any] = {
        "messages": [[message.role, message.content] for message in messages],
        "text": text,
        "fields": dict(fields),
    }
    # Only what is there: ids of examples without a preference are the same as before there were any.
    content |= {name: value for name, value in (("rejected", rejected), ("label", label)) if value is not None}
    asked = [text] if text is not None else [message.content for message in messages if message.role == "user"]
    return Example(
        id=short_hash(content),
        source=source,
        group=short_hash([normalise_prompt(one) for one in asked]),
        messages=messages,
        text=text,
        rejected=rejected,
        label=label,
        fields=fields,
    )


def normalise_prompt(text: str) -> str:
    """Case, width and spacing evened out: prompts equal after this count as the same prompt."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def short_hash(value: Any) -> str:
    """Of anything that JSON can hold."""
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:HASH_DIGITS]
