"""The file formats that are read, by suffix: a path -> a stream of rows, in bounded memory.

    >>> next(FORMATS[".csv"].rows(Path("faq.csv"), "faq.csv", "utf-8")).source
    'faq.csv:2'

Text formats may be compressed (`faq.jsonl.gz`); Parquet is compressed within.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tunesmith.data.parsing.archives import TemporaryFolder
from tunesmith.data.parsing.delimited import read_delimited
from tunesmith.data.parsing.fetching import fetched
from tunesmith.data.parsing.json_text import read_json_document, read_json_lines
from tunesmith.data.parsing.remote import File, RemoteFile
from tunesmith.data.parsing.streams import UNPACKERS, pieces
from tunesmith.data.parsing.text import decoded
from tunesmith.errors import DataError, TunesmithError, first_line
from tunesmith.types import Row

LARGEST_TEXT = 256 * 2**20
"""Characters of a text file, which is one document and held whole."""
BATCH_ROWS = 256
"""Rows of a columnar file that are in memory at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """One way of keeping rows in a file."""

    kind: str
    """For people: `JSON Lines`."""
    rows: Callable[[File, str, str], Iterator[Row]]
    """(path, label, encoding) -> rows."""
    is_text: bool = True


def numbered(records: Iterable[Mapping[str, Any]], label: str) -> Iterator[Row]:
    """Rows of a source that has items rather than lines: `label#1`, `label#2`, …"""
    return (Row(values=record, source=f"{label}#{number}") for number, record in enumerate(records, start=1))


def _texts(path: File, label: str, encoding: str) -> Iterator[str]:
    return decoded(pieces(path, label), label, encoding)


def _json_lines(path: File, label: str, encoding: str) -> Iterator[Row]:
    return read_json_lines(_texts(path, label, encoding), label)


def _json_document(path: File, label: str, encoding: str) -> Iterator[Row]:
    return numbered(read_json_document(_texts(path, label, encoding), label), label)


def _comma_separated(path: File, label: str, encoding: str) -> Iterator[Row]:
    return read_delimited(_texts(path, label, encoding), label, ",")


def _tab_separated(path: File, label: str, encoding: str) -> Iterator[Row]:
    return read_delimited(_texts(path, label, encoding), label, "\t")


def _plain_text(path: File, label: str, encoding: str) -> Iterator[Row]:
    """The whole file is one document."""
    parts, size = [], 0
    for text in _texts(path, label, encoding):
        parts.append(text)
        size += len(text)
        if size > LARGEST_TEXT:
            found = f"a text of over {LARGEST_TEXT:,} characters, which would have to be held in memory whole"
            raise DataError(label, found, expected="documents of less", remedy="split it into several files and give their folder")
    yield Row(values={"text": "".join(parts)}, source=f"{label}:1")


def _parquet(path: File, label: str, encoding: str) -> Iterator[Row]:
    del encoding
    import pyarrow
    from pyarrow import parquet

    try:
        with _seekable(path) as opened, parquet.ParquetFile(opened) as file:
            names = _class_names(_single_columns(file.schema_arrow.names, label), file.schema_arrow.metadata)
            batches = file.iter_batches(batch_size=BATCH_ROWS)
            yield from numbered((with_names(record, names) for batch in batches for record in batch.to_pylist()), label)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:  # ValueError: text that is not UTF-8, impossible dates
        if isinstance(error, TunesmithError):
            raise
        found = f"not readable as Parquet ({first_line(error)})"
        raise DataError(label, found, expected="a Parquet file", remedy="write it again") from None


@contextmanager
def _seekable(path: File) -> Iterator[Any]:
    """What pyarrow opens: a path as it is; of a remote file its stream, or a copy where the store gives whole files only."""
    if not isinstance(path, RemoteFile):
        yield path
        return
    with path.open() as stream:
        if stream.seekable():
            yield stream
            return
    with TemporaryFolder() as temporary:
        yield fetched(path, temporary.path)


def _single_columns(names: Sequence[str], label: str) -> Sequence[str]:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise DataError(label, f"two columns are called {twice!r}", expected="a name of its own for each", remedy="rename one of them")
    return names


def _class_names(columns: Sequence[str], metadata: Mapping[bytes, bytes] | None) -> dict[str, Sequence[str]]:
    """The class names that the datasets library writes into a Parquet file, by column."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {column: features[column]["names"] for column in columns if features.get(column, {}).get("_type") == "ClassLabel"}
    except (ValueError, LookupError, TypeError, AttributeError):  # another library's note under that key
        return {}


def with_names(record: dict[str, Any], names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Numbers of classes replaced by their names; a number without one (-1 where a class is kept secret) by None."""
    for column, classes in names.items():
        number = record.get(column)
        record[column] = classes[number] if isinstance(number, int) and 0 <= number < len(classes) else None
    return record


FORMATS: Mapping[str, Format] = {
    ".jsonl": Format(kind="JSON Lines", rows=_json_lines),
    ".ndjson": Format(kind="JSON Lines", rows=_json_lines),
    ".json": Format(kind="JSON", rows=_json_document),
    ".csv": Format(kind="CSV", rows=_comma_separated),
    ".tsv": Format(kind="TSV", rows=_tab_separated),
    ".parquet": Format(kind="Parquet", rows=_parquet, is_text=False),
    ".txt": Format(kind="text", rows=_plain_text),
}
"""By suffix, in lower case."""


def format_of(path: File) -> Format | None:
    """By the suffix, or by the one before that of compression; None when it is none of ours."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in UNPACKERS:
        inner = FORMATS.get(suffixes[0]) if len(suffixes) == 2 else None
        return inner if inner is not None and inner.is_text else None
    return FORMATS.get(suffixes[-1]) if suffixes else None
