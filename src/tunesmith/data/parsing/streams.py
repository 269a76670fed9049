"""Bytes of a user's file in pieces, unpacked on the way where it is compressed, never more of them in memory than a piece.

    >>> with open_bytes(Path("faq.jsonl.gz"), "faq.jsonl.gz") as stream:
    ...     stream.read(13)
    b'{"question": '

What unpacks to over a hundred times its size is refused once it has come to 100 MiB: real text packs to a third or a tenth,
and only a file made to fill a disk goes beyond.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from tunesmith.data.parsing.remote import File, RemoteFile
from tunesmith.errors import DataError, TunesmithError, first_line
from tunesmith.files import file_sha256

PIECE_BYTES = 2**20
FREE_BYTES = 100 * 2**20
"""Unpacked bytes up to which no ratio is looked at."""
LARGEST_RATIO = 100
"""Unpacked to packed bytes beyond which a file is taken for one made to fill memory or disk."""
DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""What the libraries raise over damaged packed bytes (pyarrow's errors are OSError and ValueError)."""


class Readable(Protocol):
    """What is asked of a library's reader."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> Any: ...


def _gzip(stream: BinaryIO) -> Readable:
    return gzip.GzipFile(fileobj=stream, mode="rb")


def _zstandard(stream: BinaryIO) -> Readable:
    import pyarrow

    unpacked: Readable = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), "zstd")
    return unpacked


UNPACKERS: Mapping[str, Callable[[BinaryIO], Readable]] = {
    ".gz": _gzip,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
}
"""By suffix."""


class GuardedStream(io.RawIOBase):
    """A stream whose damage is one of our errors and whose growth is limited. Reads like a file opened in binary mode."""

    def __init__(self, inner: Readable, place: str, num_packed: Callable[[], int] | None, beneath: Readable | None = None) -> None:
        """`num_packed` tells the bytes of the packed file, as far as they are known; None where nothing is packed.
        `beneath`: what `inner` reads from, closed with it."""
        super().__init__()
        self._inner, self._beneath, self._place, self._num_packed, self._num_read = inner, beneath, place, num_packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except TunesmithError:  # of the store that it comes from
            raise
        except DAMAGE as error:
            raise damaged(self._place, error) from None
        self._num_read += len(data)
        if self._num_packed is not None:
            require_plausible_growth(self._num_read, self._num_packed(), self._place)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        if self._beneath is not None:
            self._beneath.close()
        super().close()


def damaged(place: str, error: Exception) -> DataError:
    """Of packed bytes that cannot be unpacked, or a disk that cannot be read."""
    gist = getattr(error, "strerror", None) or first_line(error)
    return DataError(
        place, f"it cannot be read ({gist})", expected="a whole file", remedy="copy or download it again, or check its permissions"
    )


def require_plausible_growth(num_unpacked: int, num_packed: int, place: str) -> None:
    """Refuse what is made to fill memory or disk.

    Raises:
        DataError: `num_unpacked` is both beyond `FREE_BYTES` and beyond `LARGEST_RATIO` times `num_packed`.
    """
    if num_unpacked > FREE_BYTES and num_unpacked > LARGEST_RATIO * num_packed:
        raise DataError(
            place,
            f"{num_packed:,} packed bytes unpack to over {num_unpacked:,}",
            expected=f"at most {LARGEST_RATIO} times the packed size",
            remedy="unpack it yourself if you trust it, and give the unpacked files",
        )


def open_bytes(path: File, place: str, *, unpack_as: str | None = None, ahead: int | None = None) -> BinaryIO:
    """The bytes of a file, unpacked where its suffix (or `unpack_as`) says that it is compressed. To be closed by the caller.

    `ahead`: bytes of a remote file to fetch at a time; None: as suits where it lies.

    Raises:
        DataError: not a regular file or not readable; and, while reading, damaged or growing beyond the limit.
        AssetError: a remote file cannot be had; and so while reading.
    """
    unpack = UNPACKERS.get(unpack_as or path.suffix.lower())
    if isinstance(path, RemoteFile):
        stream, size = path.open(ahead), path.size
    else:
        size = require_regular(path, place).st_size
        stream = _opened(path, place, is_packed=unpack is not None)
    if unpack is None:
        return GuardedStream(stream, place, None)  # type: ignore[return-value]
    try:
        return GuardedStream(unpack(stream), place, stream.tell if size is None else lambda: size, beneath=stream)  # type: ignore[return-value]
    except DAMAGE as error:
        stream.close()
        raise damaged(place, error) from None


def _opened(path: Path, place: str, *, is_packed: bool) -> BinaryIO:
    try:
        return path.open("rb") if is_packed else path.open("rb", buffering=0)
    except OSError as error:
        raise damaged(place, error) from None


def require_regular(path: Path, place: str) -> os.stat_result:
    """Refuse pipes, devices and sockets, which can be read once or never end.

    Raises:
        DataError: it is one of those, or cannot be looked at.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise damaged(place, error) from None
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
        found = f"it is {kinds.get(stat.S_IFMT(status.st_mode), 'not a file')}, which cannot be read twice"
        raise DataError(place, found, expected="a file", remedy="save its contents to a file and give that")
    return status


def pieces(path: File, place: str) -> Iterator[bytes]:
    """The unpacked bytes of a file, a mebibyte at a time.

    Raises:
        DataError: as `open_bytes`.
    """
    with open_bytes(path, place) as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def head(path: File, place: str, num_bytes: int = 2**16) -> bytes:
    """The beginning of a file's unpacked bytes."""
    with io.BufferedReader(open_bytes(path, place, ahead=num_bytes)) as stream:  # type: ignore[type-var]
        return stream.read(num_bytes)


def checksum(path: Path, place: str) -> str:
    """SHA-256 of the file as it lies on the disk, packed or not."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise damaged(place, error) from None
