"""Zip and tar archives -> a temporary folder with their files, or a refusal; nothing is ever written beside that folder.

    >>> with TemporaryFolder() as folder:
    ...     extract(Path("export.zip"), folder.path, "export.zip")
    >>> sorted(file.name for file in folder.path.rglob("*.json"))
    ['channels.json', 'users.json']

Refused whole, naming the member: paths that lead outside (`../x`, `/x`, `C:x`), links and devices, members under a password,
more than `LARGEST_TOTAL` unpacked, and what unpacks to over a hundred times its size (see `streams`).
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import tempfile
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tunesmith.data.parsing.remote import File
from tunesmith.data.parsing.streams import DAMAGE, PIECE_BYTES, damaged, open_bytes, pieces, require_plausible_growth, require_regular
from tunesmith.data.parsing.text import printable
from tunesmith.errors import DataError

LARGEST_TOTAL = 4 * 2**30
"""Bytes that one archive may unpack to."""
MOST_MEMBERS = 200_000
"""Files and folders of one archive."""
DEEPEST = 100
"""Folders within folders; removing a far deeper tree fails in the standard library."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
ARCHIVE_SUFFIXES = (".zip", *TAR_SUFFIXES)
UNPACK_YOURSELF = "unpack it yourself if you trust it, and give the folder"


class TemporaryFolder:
    """A folder that is removed when nobody refers to this object any longer, and at the end of the process at the latest.

    As a context it is removed at once if what is done there fails, and otherwise goes on.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="tunesmith-"))
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid())

    def __enter__(self) -> TemporaryFolder:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            self._finalizer()


def _remove(folder: Path, maker: int) -> None:
    """By the process that made it alone: one forked from it has a copy of the object, and no say."""
    if os.getpid() == maker:
        shutil.rmtree(folder, ignore_errors=True)


def is_archive(path: File) -> bool:
    """By its name."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def extract(path: Path, folder: Path, place: str) -> None:
    """Unpack the files of `path` into `folder`, which is empty.

    Raises:
        DataError: it is damaged, or refused for one of the reasons above; `folder` may then hold a part of it.
    """
    num_packed = require_regular(path, place).st_size
    target = _Target(folder, place, num_packed)
    with _damage_of(place):
        if path.name.lower().endswith(".zip"):
            _extract_zip(path, target)
        else:
            _extract_tar(path, target)


def unpack(path: Path, file: Path, place: str) -> None:
    """Write the unpacked bytes of a compressed file to `file`, which is new.

    Raises:
        DataError: it is damaged, or unpacks to too much.
    """
    num_written = 0
    with file.open("xb") as copy:
        for piece in pieces(path, place):
            num_written += len(piece)
            if num_written > LARGEST_TOTAL:
                raise _too_large(place)
            copy.write(piece)


def _too_large(place: str) -> DataError:
    found = f"it unpacks to over {LARGEST_TOTAL:,} bytes"
    return DataError(place, found, expected="less, for it is unpacked to a temporary folder", remedy=UNPACK_YOURSELF)


class _Target:
    """The folder that members are written to, and how much has been."""

    def __init__(self, folder: Path, place: str, num_packed: int) -> None:
        self.place, self._folder, self._num_packed = place, folder, num_packed
        self._num_written = self._num_members = 0

    def count_member(self) -> None:
        self._num_members += 1
        if self._num_members > MOST_MEMBERS:
            raise DataError(self.place, f"over {MOST_MEMBERS:,} members", expected="fewer", remedy=UNPACK_YOURSELF)

    def require_room(self, declared: int) -> None:
        """Refuse before writing what says of itself that it is too large."""
        total = self._num_written + declared
        if total > LARGEST_TOTAL:
            raise _too_large(self.place)
        require_plausible_growth(total, self._num_packed, self.place)

    def write(self, name: str, content: IO[bytes]) -> None:
        """Copy one member; what it says of its own size is not believed."""
        file = self._folder / self.inner_path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("xb") as copy:
            while piece := content.read(PIECE_BYTES):
                self.require_room(len(piece))
                self._num_written += len(piece)
                copy.write(piece)

    def inner_path(self, name: str) -> PurePosixPath:
        """`name` as a path that stays inside; a backslash counts as a separator, for Windows takes it for one."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or not path.parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
            self.refuse(name, "has a path that leads out of the folder it is unpacked to")
        if len(path.parts) > DEEPEST:
            self.refuse(name, f"lies over {DEEPEST} folders deep")
        return path

    def refuse(self, name: str, why: str) -> None:
        found = f"the member {_shown(name)} {why}"
        raise DataError(self.place, found, expected="plain files and folders inside it", remedy="pack it again without that member")


def _shown(name: str) -> str:
    return repr(printable(name)[:200])


def _extract_zip(path: Path, target: _Target) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for info in members:  # all of them before the first is written
            target.count_member()
            _require_plain_zip_member(info, target)
        target.require_room(sum(info.file_size for info in members))
        for info in members:
            if not info.is_dir() and not is_clutter(info.filename):
                with archive.open(info) as content:
                    target.write(info.filename, content)


def _require_plain_zip_member(info: zipfile.ZipInfo, target: _Target) -> None:
    target.inner_path(info.orig_filename)  # as it stands in the archive; `filename` is cut at a NUL
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        target.refuse(info.filename, "is a link or a device")
    if info.flag_bits & 1:
        target.refuse(info.filename, "is protected by a password")


def _extract_tar(path: Path, target: _Target) -> None:
    with _tar_bytes(path, target.place) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            target.count_member()
            if info.name not in (".", "./"):
                target.inner_path(info.name)
            if not (info.isreg() or info.isdir()):
                target.refuse(info.name, "is a link or a device")
            target.require_room(info.size)
            content = archive.extractfile(info) if info.isreg() and not is_clutter(info.name) else None
            if content is not None:
                target.write(info.name, content)


@contextmanager
def _tar_bytes(path: Path, place: str) -> Iterator[Any]:
    """The unpacked archive; `.tgz` and its like are aliases of suffixes that the streams know."""
    short = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz"}.get(path.suffix.lower())
    with open_bytes(path, place, unpack_as=short) as stream:
        yield stream


def is_clutter(name: str) -> bool:
    """What archivers and file managers leave behind, and hidden files: `__MACOSX/…`, `.DS_Store`."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)


@contextmanager
def _damage_of(place: str) -> Iterator[None]:
    """Say what the libraries meet in a broken archive as a DataError."""
    try:
        yield
    except DataError:
        raise
    except FileExistsError:
        raise DataError(place, "two members have one name", expected="each name once", remedy=UNPACK_YOURSELF) from None
    except (*DAMAGE, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError, LookupError) as error:
        raise damaged(place, error) from None
