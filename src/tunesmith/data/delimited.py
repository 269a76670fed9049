r"""CSV and TSV text -> rows; a row's line is the one its record begins on, quoted line breaks counted.

>>> list(read_delimited('question,answer\n"Two\nlines?",Yes\nMore?,No\n', "faq.csv", ","))[1].source
'faq.csv:4'
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager

from tunesmith.errors import DataError
from tunesmith.types import Row

LONGEST_FIELD = 2**31 - 1
"""The most the csv module can be told; its own default refuses fields over 131,072 characters."""


def read_delimited(text: str, label: str, delimiter: str) -> Iterator[Row]:
    """Rows of text whose first record names the columns.

    Strict about quotes: read leniently, a stray one swallows the records that follow it.
    """
    with _long_fields():
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        header: list[str] | None = None
        line = 1
        try:
            for values in reader:
                place = f"{label}:{line}"
                if values and header is None:
                    header = _header(values, place, delimiter)
                elif values and header is not None:
                    yield Row(values=_record(header, values, place), source=place)
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{label}:{line}",
                f"broken quoting in the record that begins here ({error})",
                expected='values that hold a separator, quote or line break inside "quotes", with their quotes doubled',
                remedy="correct the record",
            ) from None


def _header(names: list[str], place: str, delimiter: str) -> list[str]:
    header = [name.strip() or f"column {number}" for number, name in enumerate(names, start=1)]
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise DataError(place, f"two columns are called {twice!r}", expected="a name of its own for each", remedy="rename one of them")
    other = next((mark for mark in ";\t," if mark != delimiter and len(header) == 1 and mark in header[0]), None)
    if other is not None:
        raise DataError(
            place,
            f"a single column {header[0]!r}, which seems to be separated by {other!r}",
            expected=f"columns separated by {delimiter!r}",
            remedy="save it with commas as .csv, or with tabs as .tsv",
        )
    return header


def _record(header: list[str], values: list[str], place: str) -> dict[str, str]:
    if len(values) > len(header):
        raise DataError(
            place,
            f"{len(values)} values for {len(header)} columns",
            expected=f"at most {len(header)}",
            remedy='put the value that holds a separator inside "quotes"',
        )
    return dict(zip(header, values, strict=False))  # a short record lacks its last columns, which validation reports


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the csv module's limit, which is one setting for the whole process."""
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
