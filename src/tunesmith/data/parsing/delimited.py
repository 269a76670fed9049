r"""CSV and TSV text -> rows; a row's line is the one its record begins on, quoted line breaks counted.

>>> list(read_delimited(['question,answer\n"Two\nlines?",Yes\nMore?,No\n'], "faq.csv", ","))[1].source
'faq.csv:4'
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from itertools import chain

from tunesmith.data.parsing.text import LONGEST_LINE, lines, too_long
from tunesmith.errors import DataError
from tunesmith.types import Row

LONGEST_FIELD = 2**31 - 1
"""The most the csv module can be told; its own default refuses fields over 131,072 characters. Ours is of whole records."""

LONGEST_HEADER = 10_000
"""Characters of the line of names that are looked at for what separates them."""


def read_delimited(texts: Iterable[str], label: str, delimiter: str) -> Iterator[Row]:
    """Rows of text, in pieces, whose first record names the columns; one with more values than columns comes as a row with a fault.

    Strict about quotes: read leniently, a stray one swallows the records that follow it. Where a comma is due, `separator`
    looks whether it is something else.

    Raises:
        DataError: a record is broken, or is longer than `LONGEST_LINE`.
    """
    remaining = iter(texts)
    first = next(remaining, "")
    delimiter = separator(first, delimiter)
    feed = _Lines(chain([first], remaining), label)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while (values := _next_record(reader, feed)) is not None:
        if values and header is None:
            header = _header(values, feed.place, delimiter)
        elif values and header is not None:
            yield _row(header, values, feed.place)


def separator(text: str, usual: str) -> str:
    """What separates the values of a file that begins with `text`: the semicolons that spreadsheets write where a comma stands in
    numbers, or tabs, if the line of names has them and no comma; otherwise `usual`.
    """
    line = re.split(r"[\r\n]", text.lstrip("\r\n")[:LONGEST_HEADER], maxsplit=1)[0]
    others = [mark for mark in ";\t" if mark in line]
    return others[0] if usual == "," and "," not in line and len(others) == 1 else usual


class _Lines:
    """Lines for the csv module, which says neither where a record began nor how long it has become."""

    def __init__(self, texts: Iterable[str], label: str) -> None:
        self._lines, self._label = lines(texts, label), label
        self._first, self._last, self._size = 1, 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._last += 1
        self._size += len(line)
        if self._size > LONGEST_LINE:
            raise too_long(self.place, "record")
        return line

    def begin_record(self) -> None:
        self._first, self._size = self._last + 1, 0

    @property
    def place(self) -> str:
        """Where the record began that was read last."""
        return f"{self._label}:{self._first}"


def _next_record(reader: Iterator[list[str]], feed: _Lines) -> list[str] | None:
    feed.begin_record()
    # One setting for the whole process, so it is ours only while a record is parsed.
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        return next(reader, None)
    except csv.Error as error:
        raise DataError(
            feed.place,
            f"broken quoting in the record that begins here ({error})",
            expected='values that hold a separator, quote or line break inside "quotes", with their quotes doubled',
            remedy="correct the record",
        ) from None
    finally:
        csv.field_size_limit(before)


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


def _row(header: list[str], values: list[str], place: str) -> Row:
    if len(values) > len(header):
        found = f"it has {len(values)} values for {len(header)} columns"
        fault = ("more values than columns", found, f'at most {len(header)}, a value that holds a separator inside "quotes"')
        return Row(values={}, source=place, fault=fault)
    # A short record lacks its last columns, which validation reports.
    return Row(values=dict(zip(header, values, strict=False)), source=place)
