"""What a user writes -> the files it means: one file, all of a folder, those a pattern matches, the members of an archive; here or remote.

    >>> [found.label for found in find_files("chats/**/*.jsonl", Choice(), None)]
    ['monday.jsonl', 'tuesday.jsonl']

Links to folders are not followed, hidden files are not read, and what is left out of a folder is said in the note of its first
file.
"""

from __future__ import annotations

import difflib
import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.data.importers import IMPORTERS, Importer, find_importer
from tunesmith.data.parsing.archives import TemporaryFolder, extract, is_archive, is_clutter, unpack
from tunesmith.data.parsing.fetching import fetched
from tunesmith.data.parsing.formats import FORMATS, format_of
from tunesmith.data.parsing.remote import RemoteFile, presentable
from tunesmith.data.parsing.streams import UNPACKERS, damaged, require_regular
from tunesmith.data.parsing.text import printable
from tunesmith.data.reading.hub import Choice, DataSet, is_saved, read_data_set, read_hub, refuse_prepared
from tunesmith.data.reading.layout import ABOUT_THE_DATA, beside_splits, is_hub_layout
from tunesmith.data.reading.remote_files import Listing, hub_root, is_url, list_remote, local_path
from tunesmith.data.reading.splits import File, below_pattern, of_split
from tunesmith.errors import ConfigError, DataError

LONGEST_NAME = 255
"""Bytes, on every common file system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A file or an export to read, or a data set."""

    label: str
    shown: str
    """As the user wrote it, with the path inside a folder or archive."""
    path: Path | None = None
    """Where it lies; None for a data set, and of what is read from elsewhere."""
    remote: RemoteFile | None = None
    """Where it lies, if elsewhere."""
    is_of_split: bool = False
    """A split has been chosen, and this is a part of it."""
    importer: Importer | None = None
    """Who reads it, where that is known already; None leaves it to the file."""
    data_set: DataSet | None = None
    note: str = ""
    keep: object = None
    """Lives as long as the file has to."""


def find_files(source: str, choice: Choice, kind: str | None) -> list[Found]:
    """The files that `source` means; at least one.

    Raises:
        ConfigError: no importer is called `kind`.
        DataError: nothing is there, it can be read only once, or nothing in it can be read.
        AssetError: the hub does not have it or cannot be reached.
    """
    if kind is not None and kind not in IMPORTERS:
        raise ConfigError(
            "--kind", f"there is no kind {kind!r}", expected=f"one of {', '.join(IMPORTERS)}", remedy="correct or leave it out"
        )
    importer = None if kind is None else IMPORTERS[kind]
    if (root := hub_root(source)) is not None:  # whatever folder here has the same name
        name, _, config = root.partition(":")
        return _of_data_set(read_hub(name, config or None, choice), root)
    source = local_path(source)
    if is_url(source):
        return _of_listing(list_remote(source), source, choice, importer)
    path, mode = Path(source), _mode(Path(source))
    if stat.S_ISREG(mode):
        return _of_file(path, printable(path.name), source, choice, importer)
    if stat.S_ISDIR(mode):
        return _in_folder(_Folder(path=path, label=_folder_name(path), shown=source), choice, importer)
    if mode:
        require_regular(path, printable(source))
    if any(len(part.encode("utf-8", "replace")) > LONGEST_NAME for part in path.parts):
        beginning = printable(presentable(source)[:80])
        raise DataError(f"{beginning}…", "no file can have so long a name", expected="a path", remedy="correct it")
    if glob.has_magic(source) and (matches := _matches(source)):
        return _of_matches(matches, source, choice, importer)
    data_set = read_data_set(source, choice)
    if data_set is None:
        raise _missing(path, source)
    return _of_data_set(data_set, source)


def _of_data_set(data_set: DataSet, shown: str, keep: object = None) -> list[Found]:
    """As a whole; one of several shards that are read as they lie, shard by shard."""
    if not data_set.shards:
        return [Found(label=data_set.label, shown=shown, data_set=data_set, keep=keep)]
    found = [
        Found(label=printable(f"{label}/{name}"), shown=str(path), path=path, keep=keep, is_of_split=True)
        for label, name, path in data_set.shards
    ]
    return [replace(found[0], note=data_set.note), *found[1:]]


def _of_matches(matches: Sequence[Path], pattern: str, choice: Choice, importer: Importer | None) -> list[Found]:
    """The files that a pattern matches; with a split those of them that belong to it."""
    place = printable(pattern)
    open_parts = [(below_pattern(path.as_posix(), Path(pattern).as_posix()), path) for path in matches]
    chosen, note = _of_wanted_split(open_parts, place, choice)
    named = [(path, printable(path.name), str(path)) for _, path in chosen]
    return _chosen(_among(named, place, replace(choice, split=None), importer), choice, note)


def _of_wanted_split(matches: Sequence[tuple[str, File]], place: str, choice: Choice) -> tuple[Sequence[tuple[str, File]], str]:
    """Of what a pattern matches: all, unless the user names a split; with a note."""
    return (matches, "") if choice.split is None else of_split(matches, choice.split, place)


def _chosen(found: Sequence[Found], choice: Choice, *notes: str) -> list[Found]:
    """Marked as parts of the split that is wanted, if one is; the first says what is to be said."""
    marked = [replace(one, is_of_split=one.is_of_split or choice.split is not None) for one in found]
    return [replace(marked[0], note="; ".join(filter(None, (*notes, marked[0].note)))), *marked[1:]]


def _of_listing(listing: Listing, source: str, choice: Choice, importer: Importer | None) -> list[Found]:
    """What a URL means. Tables are read as they come; anything else is fetched to a temporary folder first."""
    place = printable(source)
    if listing.kind == "file":
        return [one for name, file in listing.files for one in _of_remote(file, printable(name), choice, importer)]
    if listing.kind == "pattern":
        if not listing.files:
            raise _no_match(place)
        chosen, note = _of_wanted_split(listing.files, place, choice)
        return _chosen([one for _, file in chosen for one in _of_remote(file, printable(file.name), Choice(), importer)], choice, note)
    tables = [(name, file) for name, file in listing.files if file.size and format_of(file) is not None]
    tables = [one for one in tables if one[1].stem.lower() not in ABOUT_THE_DATA] or tables
    if not tables:
        expected = f"files of the kinds {', '.join(FORMATS)}, perhaps compressed"
        raise DataError(place, "no file of rows is in it", expected=expected, remedy="name other files one by one, or by a pattern")
    chosen, note = of_split(tables, choice.split, listing.label)
    said = [note, f"left out {len(listing.files) - len(tables):,} files that hold no rows" if len(listing.files) > len(tables) else ""]
    found = [one for name, file in chosen for one in _of_remote(file, printable(f"{listing.label}/{name}"), Choice(), importer)]
    return _chosen(found, choice, *said)


def _of_remote(file: RemoteFile, label: str, choice: Choice, importer: Importer | None) -> list[Found]:
    if importer is None and format_of(file) is not None:
        return [Found(label=label, shown=file.url, remote=file)]
    with TemporaryFolder() as temporary:
        local = fetched(file, temporary.path)
        found = _of_file(local, label, file.url, choice, importer)
        return [replace(one, keep=(one.keep, temporary)) for one in found]


def _mode(path: Path) -> int:
    """What kind of thing is there, as `stat` says it; 0 where nothing is, whatever the name."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # too long a name, a NUL in it, a link that leads to itself
        return 0


def _of_file(path: Path, label: str, shown: str, choice: Choice, importer: Importer | None) -> list[Found]:
    """A single file, or what an archive holds; one that is compressed and no table is unpacked, for importers read plain files."""
    if is_archive(path):
        with TemporaryFolder() as temporary:
            unpacked = temporary.path / (path.name.split(".")[0] or "archive")
            unpacked.mkdir()
            extract(path, unpacked, label)
            return _in_folder(_Folder(path=unpacked, label=label, shown=shown, keep=temporary), choice, importer)
    if path.suffix.lower() in UNPACKERS and (importer is not None or format_of(path) is None):
        with TemporaryFolder() as temporary:
            unpack(path, temporary.path / path.stem, label)
            return [Found(label=label, shown=shown, path=temporary.path / path.stem, importer=importer, keep=temporary)]
    return [Found(label=label, shown=shown, path=path, importer=importer)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Folder:
    """A folder of the user's, or one that an archive was unpacked to."""

    path: Path
    label: str
    shown: str
    keep: object = None


def _folder_name(path: Path) -> str:
    return printable(path.resolve().name or str(path))


def _in_folder(folder: _Folder, choice: Choice, importer: Importer | None) -> list[Found]:
    """An export or data set as a whole, or else each of the files in it."""
    refuse_prepared(folder.path)
    files = list(_walk(folder.path))
    whole = importer if importer and importer.recognises(folder.path, b"") else None
    if importer is None and (choice.split is not None or is_saved(folder.path) or is_hub_layout(folder.path, files)):
        data_set = read_data_set(str(folder.path), choice)
        assert data_set is not None  # it is a folder
        left_out = "" if choice.split is None else beside_splits(folder.path, files)
        return _chosen(_of_data_set(data_set, folder.shown, folder.keep), choice, left_out)
    whole = whole or (None if importer else find_importer(folder.path, b""))
    if whole is not None:
        return [Found(label=folder.label, shown=folder.shown, path=folder.path, importer=whole, keep=folder.keep)]
    inside = [(path, path.relative_to(folder.path).as_posix()) for path in files]
    named = [(path, printable(f"{folder.label}/{name}"), str(Path(folder.shown) / name)) for path, name in inside]
    within_archive = folder.keep is not None
    return [replace(one, keep=one.keep or folder.keep) for one in _among(named, folder.label, choice, importer, not within_archive)]


def _walk(folder: Path) -> Iterator[Path]:
    """All files below but hidden ones, in order of their paths; links to folders are not followed, so none leads round in circles."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if path.is_dir() and (path == folder or not path.is_symlink()):
            try:
                inside = [entry for entry in path.iterdir() if not is_clutter(entry.name)]
            except OSError as error:
                raise damaged(printable(str(path)), error) from None
            waiting += sorted(inside, reverse=True)
        else:
            yield path


def _matches(pattern: str) -> list[Path]:
    """The files that a pattern matches, in order, each once however many links lead to it; hidden ones only if it names them."""
    names = sorted(glob.glob(pattern, recursive=True), reverse=True)  # noqa: PTH207 - the pattern may be absolute
    by_target = {os.path.realpath(name): name for name in names if not stat.S_ISDIR(_mode(Path(name)))}
    return [Path(name) for name in sorted(by_target.values())]


def _among(
    named: Sequence[tuple[Path, str, str]], place: str, choice: Choice, importer: Importer | None, open_archives: bool = True
) -> list[Found]:
    """Of (path, label, as the user would write it) those that can be read; the first says what was left out."""
    reasons = [_why_not(path, importer, open_archives) for path, _, _ in named]
    has_tables = any(not reason and _is_table(path) for (path, _, _), reason in zip(named, reasons, strict=True))
    found: list[Found] = []
    left_out: Counter[str] = Counter()
    for (path, label, shown), reason in zip(named, reasons, strict=True):
        if reason:
            left_out[reason] += 1
        elif has_tables and path.stem.lower() in ABOUT_THE_DATA:
            left_out[f"called {path.stem}"] += 1
        else:
            found += _of_file(path, label, shown, replace(choice, split=None) if is_archive(path) else choice, importer)
    said = ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())
    if not found:
        what = f"no file in it can be read ({said})" if said else "there is no file in it"
        raise DataError(
            place, what, expected=f"files of the kinds {', '.join(FORMATS)}, or documents", remedy="give the files that are meant"
        )
    return [replace(found[0], note=f"left out {said}"), *found[1:]] if said else found


def _is_table(path: Path) -> bool:
    """Is it made of rows, rather than one document?"""
    file_format = format_of(path)
    return file_format is not None and file_format is not FORMATS[".txt"]


def _why_not(path: Path, importer: Importer | None, open_archives: bool) -> str:
    """Why a file of a folder is passed over, to stand after a number; empty when it is read."""
    mode = _mode(path)
    if not stat.S_ISREG(mode):
        return "link to nowhere" if not mode else "link to a folder" if stat.S_ISDIR(mode) else "pipe or device"
    if path.stat().st_size == 0:
        return "empty"
    if is_archive(path):
        return "" if open_archives else "archive within the archive"
    if importer is not None or format_of(path) is not None or find_importer(path) is not None:
        return ""
    return f"of the kind {path.suffix.lower()}" if path.suffix else "without a suffix"


def _missing(path: Path, source: str) -> DataError:
    place = printable(presentable(source))
    if re.match(r"\s*\w[\w+.-]+:/", source):
        found = "there is no such file, and a URL begins with its kind and ://"
        return DataError(place, found, expected="a file, a folder or a URL", remedy="correct it")
    if "*" in source or "?" in source:  # brackets alone may well be part of a name
        return _no_match(place)
    if path.is_symlink():
        return DataError(place, "it is a link that leads nowhere", expected="a file or a folder", remedy="correct the link")
    folder = path.parent
    is_folder = stat.S_ISDIR(_mode(folder))
    close = difflib.get_close_matches(path.name, [entry.name for entry in folder.iterdir()] if is_folder else [], n=3)
    if close:
        remedy = f"correct the path, perhaps to {printable(' or '.join(str(folder / name) for name in close))}"
    elif is_folder:
        remedy = "correct the path; a data set of the hub is written owner/name"
    else:
        remedy = f"correct the path; there is no folder {printable(str(folder))} either"
    return DataError(place, "there is no such file", expected="a file, a folder or a hub id", remedy=remedy)


def _no_match(place: str) -> DataError:
    remedy = "correct it (`**` stands for any folders)"
    return DataError(place, "no file matches this pattern", expected="at least one", remedy=remedy)
