"""What a user names -> sources that can be read again and again: files, folders, patterns, archives, exports, hub data sets.

    >>> for source in open_sources(["faq.csv", "chats/*.jsonl.gz", "slack-export.zip", "owner/name:config"]):
    ...     print(source.label, source.kind, next(source.read()).source)
    faq.csv CSV faq.csv:2
    …

Opening looks at names and at the first bytes; rows come when they are read, in bounded memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.data.importers import HEAD_BYTES, Importer, Tally, find_importer
from tunesmith.data.parsing.archives import TemporaryFolder
from tunesmith.data.parsing.delimited import separator
from tunesmith.data.parsing.fetching import fetched
from tunesmith.data.parsing.formats import FORMATS, Format, format_of, numbered
from tunesmith.data.parsing.remote import File, RemoteFile
from tunesmith.data.parsing.streams import checksum, head, require_regular
from tunesmith.data.parsing.text import marked_encoding, printable
from tunesmith.data.reading.finding_files import Found, find_files
from tunesmith.data.reading.hub import Choice, DataSet
from tunesmith.data.reading.remote_files import refreshed
from tunesmith.errors import DataError
from tunesmith.types import Row

PACKED_MARKS = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"PK\x03\x04": ".zip",
    b"PAR1": ".parquet",
}
"""How packed files begin, whatever their names say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file, export or split of a data set, and how its rows are read."""

    label: str
    """Short name that begins every `Row.source`; no two sources that are opened together share one."""
    path: str
    """As the user wrote it; of a member of a folder or archive with its path inside."""
    read: Callable[[], Iterator[Row]]
    """Reads anew each time, in bounded memory. Raises DataError where something is broken, and where there are no rows."""
    note: str = ""
    """What was chosen on the user's behalf; empty when nothing was."""
    sha256: str | None = None
    """Of the file as it lies on the disk; None for a folder, a data set of several files, or what is read from elsewhere."""
    num_bytes: int | None = None
    kind: str = ""
    """For people: `JSON Lines`, `Slack export`, …"""
    remarks: Callable[[], str] = str
    """What came up while reading (messages left out, names replaced), whole after the last row; empty when nothing did."""


def open_sources(
    paths: Iterable[str | Path] | str | Path,
    *,
    encoding: str = "utf-8",
    split: str | None = None,
    kind: str | None = None,
    assistant: str | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> list[Source]:
    """Find what `paths` name. Only a hub id or a URL touches the network, only an archive or a remote document a temporary folder.

    `split` chooses among the splits of a data set; None takes the only one, or `train`. `kind` forces an importer by its name;
    None recognises one. `assistant` tells importers whose messages are the answers. With `limit`, a data set of the hub is
    not read whole: a sample of that size is drawn from its stream by `seed`.

    Raises:
        ConfigError: no such kind or encoding.
        DataError: missing, empty, refused, of an unknown kind, or named twice.
        AssetError: the hub does not have it or cannot be reached.
    """
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    found = [one for path in named for one in find_files(str(path), Choice(split=split, limit=limit, seed=seed), kind)]
    how = _How(encoding=encoding, split=split, assistant=assistant)
    return [_of_data_set(one.data_set, one) if one.data_set is not None else _open(one, how) for one in _named_apart(found)]


def with_group(rows: Iterable[Row], key: str) -> Iterator[Row]:
    """The rows with the value of a column as their group, in the column's name; rows without one stand alone.

    Raises:
        DataError: after the last row, when no row has such a column.
    """
    column, is_found, names = key, False, dict[str, None]()
    for row in rows:
        if column not in row.values and not is_found:
            column = next((name for name in row.values if name.casefold() == key.casefold()), column)
        names |= dict.fromkeys(row.values) if not is_found else {}
        value = row.values.get(column)
        is_found = is_found or column in row.values
        yield row if value is None or value == "" else Row(values=row.values, source=row.source, group=printable(f"{column}={value}"))
    if names and not is_found:
        found = f"there is no column {key!r} (--group-key)"
        raise DataError("prepare", found, expected=f"one of the columns {', '.join(names)}", remedy="correct --group-key")


@dataclass(frozen=True, kw_only=True, slots=True)
class _How:
    """The user's wishes that concern every file."""

    encoding: str
    split: str | None
    assistant: str | None


def _named_apart(found: Sequence[Found]) -> Iterator[Found]:
    """No file twice, and labels that tell them apart."""
    seen: dict[Path, Found] = {}
    for one in found:
        where = [Path(one.shown).absolute(), *([] if one.path is None else [one.path.resolve()])]
        if any(seen.setdefault(path, one) is not one for path in where):
            raise DataError(printable(one.shown), "it is given twice", expected="each source once", remedy="leave one out")
    labels = Counter(one.label for one in found)
    for one in found:
        whole = one.shown if one.remote is not None else Path(one.shown).as_posix()
        yield one if labels[one.label] == 1 else replace(one, label=printable(whole))


def _of_data_set(data_set: DataSet, found: Found) -> Source:
    label = found.label

    def read(keep: object = found.keep) -> Iterator[Row]:
        return _require_rows(numbered(data_set.records(), label), label)

    return Source(
        label=label,
        path=printable(found.shown),
        read=read,
        note=_joined(found.note, data_set.note),
        kind="data set",
    )


def _open(found: Found, how: _How) -> Source:
    if found.remote is not None:
        return _open_remote(found, found.remote, how)
    assert found.path is not None
    if how.split is not None and not found.is_of_split:
        raise _no_splits(found.label, how.split)
    if found.path.is_dir():
        assert found.importer is not None
        return _imported(found, found.importer, how)
    begin = _beginning(found.path, found.label)
    size = require_regular(found.path, found.label).st_size
    importer = found.importer or find_importer(found.path, begin)
    if importer is not None:
        source = _imported(found, importer, how)
    else:
        source = _tabular(found, _format(found.path, found.label, begin), begin, how.encoding)
    return replace(source, sha256=checksum(found.path, found.label), num_bytes=size)


def _open_remote(found: Found, remote: RemoteFile, how: _How) -> Source:
    """Rows come as they are fetched; an export that an importer knows is fetched whole first."""
    if how.split is not None and not found.is_of_split:
        raise _no_splits(found.label, how.split)
    file_format = format_of(remote)
    is_text = file_format is None or file_format.is_text
    begin = _beginning(remote, found.label) if is_text else b""  # of very many files each look costs a while
    if find_importer(Path(remote.name), begin) is None:
        return replace(_tabular(found, _format(remote, found.label, begin), begin, how.encoding), num_bytes=remote.size)
    with TemporaryFolder() as temporary:
        return _open(replace(found, remote=None, path=fetched(remote, temporary.path), keep=temporary), how)


def _no_splits(label: str, split: str) -> DataError:
    return DataError(label, f"a file has no split {split!r}", expected="a data set of several splits", remedy="leave out `--split`")


def _beginning(file: File, label: str) -> bytes:
    begin = head(file, label, HEAD_BYTES)
    if not begin.removeprefix(b"\xef\xbb\xbf").strip() and len(begin) < HEAD_BYTES:
        raise DataError(label, "the file is empty", expected="rows", remedy="check that it was saved, or leave it out")
    return begin


def _imported(found: Found, importer: Importer, how: _How) -> Source:
    path, tallies = found.path, [Tally()]
    assert path is not None

    def read(keep: object = found.keep) -> Iterator[Row]:
        tallies[0] = Tally()  # of this reading
        rows = importer.read(path, found.label, how.encoding, assistant=how.assistant, tally=tallies[0])
        return _require_rows(rows, found.label)

    def remarks() -> str:
        return tallies[0].note()

    return Source(label=found.label, path=printable(found.shown), read=read, note=found.note, kind=importer.description, remarks=remarks)


def _tabular(found: Found, file_format: Format, begin: bytes, encoding: str) -> Source:
    path, label = found.remote or found.path, found.label
    assert path is not None
    before = _stamp(path, label)

    def read(keep: object = found.keep) -> Iterator[Row]:
        if _stamp(path, label) != before:
            raise DataError(label, "the file has changed since it was opened", expected="the same file throughout", remedy="start again")
        return _require_rows(file_format.rows(path, label, encoding), label)

    note = _joined(found.note, *(_said(file_format, begin, encoding) if file_format.is_text else ()))
    return Source(label=label, path=printable(found.shown), read=read, note=note, kind=file_format.kind)


def _said(file_format: Format, begin: bytes, encoding: str) -> Iterator[str]:
    """What was told from the first bytes of a text file."""
    marked = marked_encoding(begin, encoding)
    if marked:
        yield f"read as {marked}, as its first bytes say"
    if file_format.kind == "CSV":
        mark = separator(begin.decode(marked or "utf-8", "replace").removeprefix("\ufeff"), ",")
        if mark != ",":
            yield f"its values are separated by {'semicolons' if mark == ';' else 'tabs'}"


def _stamp(path: File, label: str) -> object:
    if isinstance(path, RemoteFile):
        return refreshed(path).version
    status = require_regular(path, label)
    return status.st_size, status.st_mtime_ns


def _format(path: File, label: str, begin: bytes) -> Format:
    """By the suffix, unless the first bytes say that the name is wrong."""
    file_format = format_of(path)
    if file_format is None:
        raise DataError(
            label,
            f"files of the kind {path.suffix!r} are not read" if path.suffix else "the name has no suffix that tells the kind",
            expected=f"one of {', '.join(FORMATS)}",
            remedy="convert it (raw text: a .txt file) or rename it",
        )
    packed = next((suffix for mark, suffix in PACKED_MARKS.items() if begin.startswith(mark)), None)
    if file_format.is_text and packed is not None:
        found = f"its first bytes are those of a {packed} file"
        raise DataError(label, found, expected=file_format.kind, remedy=f"rename it so that its name ends with {packed}")
    return file_format


def _require_rows(rows: Iterator[Row], label: str) -> Iterator[Row]:
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty:
        raise DataError(label, "it holds no rows", expected="at least one", remedy="check the file, or leave it out")


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
