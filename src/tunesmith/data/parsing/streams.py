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

from tunesmith.errors import DataError, first_line
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


def _zstandard(path: Path) -> Readable:
    import pyarrow

    stream: Readable = pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")
    return stream


UNPACKERS: Mapping[str, Callable[[Path], Readable]] = {
    ".gz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _zstandard,
}
"""By suffix."""


class GuardedStream(io.RawIOBase):
    """A stream whose damage is one of our errors and whose growth is limited. Reads like a file opened in binary mode."""

    def __init__(self, inner: Readable, place: str, num_packed: int | None) -> None:
        """`num_packed`: bytes of the packed file; None where nothing is packed."""
        super().__init__()
        self._inner, self._place, self._num_packed, self._num_read = inner, place, num_packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except DAMAGE as error:
            raise damaged(self._place, error) from None
        self._num_read += len(data)
        if self._num_packed is not None:
            require_plausible_growth(self._num_read, self._num_packed, self._place)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
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


def open_bytes(path: Path, place: str, *, unpack_as: str | None = None) -> BinaryIO:
    """The bytes of a file, unpacked where its suffix (or `unpack_as`) says that it is compressed. To be closed by the caller.

    Raises:
        DataError: not a regular file or not readable; and, while reading, damaged or growing beyond the limit.
    """
    require_regular(path, place)
    unpack = UNPACKERS.get(unpack_as or path.suffix.lower())
    try:
        if unpack is None:
            return GuardedStream(path.open("rb", buffering=0), place, None)  # type: ignore[return-value]
        return GuardedStream(unpack(path), place, path.stat().st_size)  # type: ignore[return-value]
    except DAMAGE as error:
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


def pieces(path: Path, place: str) -> Iterator[bytes]:
    """The unpacked bytes of a file, a mebibyte at a time.

    Raises:
        DataError: as `open_bytes`.
    """
    with open_bytes(path, place) as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def head(path: Path, place: str, num_bytes: int = 2**16) -> bytes:
    """The beginning of a file's unpacked bytes."""
    with io.BufferedReader(open_bytes(path, place)) as stream:  # type: ignore[type-var]
        return stream.read(num_bytes)


def checksum(path: Path, place: str) -> str:
    """SHA-256 of the file as it lies on the disk, packed or not."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise damaged(place, error) from None
