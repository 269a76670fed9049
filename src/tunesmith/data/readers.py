"""Files and data sets -> rows, each keeping where it came from.

    >>> read_rows("faq.csv")[0]
    Row(values={'question': 'Do you ship abroad?', 'answer': 'Yes, to forty countries.'}, source='faq.csv:2')

A file is read whole, so that its checksum is of exactly the bytes the rows came from.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tunesmith.data import hub
from tunesmith.data.delimited import read_delimited
from tunesmith.data.json_text import read_json_document, read_json_lines
from tunesmith.data.text import decode
from tunesmith.errors import DataError
from tunesmith.types import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRows:
    """What one source of the user's gave."""

    label: str
    """Its short name, as it begins every `Row.source`: `faq.csv`, or `ai2_arc:ARC-Easy/train`."""
    rows: tuple[Row, ...]
    path: str
    """As the user wrote it."""
    note: str = ""
    """What was chosen on the user's behalf, e.g. which split; empty when nothing was."""
    sha256: str | None = None
    """Of the file's bytes; None for a data set of several files."""
    num_bytes: int | None = None


class DataFrame(Protocol):
    """What is asked of a data frame; pandas has it."""

    def to_dict(self, orient: Any) -> Any: ...


def read_rows(source: str | Path, *, encoding: str = "utf-8", split: str | None = None) -> list[Row]:
    """Read a file, a folder in Hugging Face layout, or a data set of the hub (`owner/name` or `owner/name:config`).

    `split` chooses among the splits of a data set; None takes the only one, or `train`. Only a hub id touches the network.

    Raises:
        DataError: missing, empty, in another encoding, broken at a line, or of an unknown kind.
        AssetError: the hub does not have it or cannot be reached.
    """
    return list(read_source(source, encoding=encoding, split=split).rows)


def read_source(source: str | Path, *, encoding: str = "utf-8", split: str | None = None, label: str | None = None) -> SourceRows:
    """As `read_rows`, with what a report wants to know. `label` replaces a file's name where two files share it."""
    path = Path(source)
    if path.is_file():
        return _read_file(path, label or printable(path.name), encoding, split)
    data_set = hub.read_data_set(str(source), split)
    if data_set is None:
        raise _missing(path)
    return SourceRows(label=data_set.label, rows=numbered(data_set.records, data_set.label), path=str(source), note=data_set.note)


def _read_file(path: Path, label: str, encoding: str, split: str | None) -> SourceRows:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            label,
            f"files of the kind {path.suffix!r} are not read" if path.suffix else "the name has no suffix that tells the kind",
            expected=f"one of {', '.join(READERS)}",
            remedy="convert it (raw text: a .txt file) or rename it",
        )
    if split is not None:
        raise DataError(label, f"a file has no split {split!r}", expected="a data set of several splits", remedy="leave out `--split`")
    data = _bytes(path, label)
    rows = reader(data, label, encoding)
    if not rows:
        raise DataError(label, "it holds no rows", expected="at least one", remedy="check the file, or leave it out")
    return SourceRows(label=label, rows=tuple(rows), path=str(path), sha256=hashlib.sha256(data).hexdigest(), num_bytes=len(data))


def _bytes(path: Path, label: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise DataError(label, found, expected="a readable file", remedy="check its permissions") from None
    if not data.removeprefix(b"\xef\xbb\xbf").strip():
        raise DataError(label, "the file is empty", expected="rows", remedy="check that it was saved, or leave it out")
    return data


def _missing(path: Path) -> DataError:
    folder = path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=3)
    if close:
        remedy = f"correct the path, perhaps to {' or '.join(str(folder / name) for name in close)}"
    elif folder.is_dir():
        remedy = "correct the path; a data set of the hub is written owner/name"
    else:
        remedy = f"correct the path; there is no folder {folder} either"
    return DataError(printable(str(path)), "there is no such file", expected="a file, a folder or a hub id", remedy=remedy)


def printable(name: str) -> str:
    """A file name as UTF-8 can hold it (Linux allows any bytes)."""
    return name.encode("utf-8", "replace").decode("utf-8")


def numbered(records: Iterable[Mapping[str, Any]], label: str) -> tuple[Row, ...]:
    """Rows of a source that has items rather than lines: `label#1`, `label#2`, …"""
    return tuple(Row(values=record, source=f"{label}#{number}") for number, record in enumerate(records, start=1))


def rows_from_records(records: Iterable[Mapping[str, Any]], name: str = "records") -> list[Row]:
    """Rows from dictionaries that are in memory already."""
    return list(numbered(records, name))


def rows_from_dataframe(frame: DataFrame, name: str = "dataframe") -> list[Row]:
    """Rows from a pandas data frame; its missing values (NaN, NA, NaT) become None, its arrays lists."""
    records = ({str(key): _plain(value) for key, value in record.items()} for record in frame.to_dict("records"))
    return list(numbered(records, name))


def _plain(value: Any) -> Any:
    if type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return None
    return value.tolist() if hasattr(value, "tolist") else value


def _json_lines(data: bytes, label: str, encoding: str) -> list[Row]:
    return read_json_lines(decode(data, label, encoding), label)


def _json_document(data: bytes, label: str, encoding: str) -> list[Row]:
    return list(numbered(read_json_document(decode(data, label, encoding), label), label))


def _comma_separated(data: bytes, label: str, encoding: str) -> list[Row]:
    return list(read_delimited(decode(data, label, encoding), label, ","))


def _tab_separated(data: bytes, label: str, encoding: str) -> list[Row]:
    return list(read_delimited(decode(data, label, encoding), label, "\t"))


def _plain_text(data: bytes, label: str, encoding: str) -> list[Row]:
    """The whole file is one document."""
    return [Row(values={"text": decode(data, label, encoding)}, source=f"{label}:1")]


def _parquet(data: bytes, label: str, encoding: str) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        records = parquet.ParquetFile(pyarrow.BufferReader(data)).read().to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        first_line = str(error).splitlines()[0]
        raise DataError(label, f"not readable as Parquet ({first_line})", expected="a Parquet file", remedy="write it again") from None
    return list(numbered(records, label))


READERS: Mapping[str, Callable[[bytes, str, str], list[Row]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_document,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".parquet": _parquet,
    ".txt": _plain_text,
}
"""By suffix: (bytes, label, encoding) -> rows."""
