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
from typing import Any

from tunesmith.config import PrepareConfig
from tunesmith.data.answers import Answered, read_answered
from tunesmith.data.conversations import read_messages
from tunesmith.data.faults import UnusableRowError, require_text
from tunesmith.data.labels import read_label
from tunesmith.data.layouts import Layout
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
            examples.append(_example(row, layout))
        except UnusableRowError as fault:
            invalid.append(Invalid(source=row.source, problem=fault.problem, detail=fault.detail, expected=fault.expected))
    faults = [one for one in invalid if one.problem != BLANK_ROW]
    if faults and config.on_invalid == "stop":
        raise _first_fault(faults, len(rows))
    if not examples:
        raise DataError(
            rows[0].source if rows else "rows",
            f"no usable row is left of {len(rows):,} ({problem_counts(invalid)})",
            expected="at least one example",
            remedy="correct the rows, or check that the right columns are named",
        )
    return ExamplesResult(examples=tuple(examples), invalid=tuple(invalid))


def problem_counts(invalid: Iterable[Invalid]) -> str:
    """`3 empty completion, 1 missing prompt`, the most frequent first."""
    counts = Counter(one.problem for one in invalid)
    return ", ".join(f"{count:,} {problem}" for problem, count in counts.most_common())


def _first_fault(invalid: Sequence[Invalid], num_rows: int) -> DataError:
    first = invalid[0]
    how_many = f"{len(invalid):,} unusable {'row' if len(invalid) == 1 else 'rows'} out of {num_rows:,}"
    return DataError(
        first.source,
        f"{first.detail}, the first of {how_many} ({problem_counts(invalid)})",
        expected=first.expected,
        remedy="correct it, or leave such rows out with `--on-invalid drop`",
    )


def _example(row: Row, layout: Layout) -> Example:
    said = [column for column in layout.columns if column != layout.label]
    if all(column in row.values for column in layout.necessary) and all(_is_blank(row.values.get(column)) for column in said):
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
