"""A remote file -> a copy in a folder, for whoever has to go back and forth in it.

>>> with TemporaryFolder() as temporary:
...     fetched(file, temporary.path).name
'export.zip'
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from tunesmith.data.parsing.archives import LARGEST_TOTAL
from tunesmith.data.parsing.remote import RemoteFile
from tunesmith.data.parsing.streams import PIECE_BYTES
from tunesmith.errors import DataError, TunesmithError

_LONGEST_STEM = 150
"""Bytes of a copy's name before its suffixes, with which it is below the 255 of every common file system."""
_SUFFIXES = re.compile(r"(?:\.[^.]{1,11}){0,2}\Z")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\\/:]")


def fetched(file: RemoteFile, folder: Path) -> Path:
    """A copy in `folder`, of the same name where a file here can have it.

    Raises:
        DataError: the URL names no file, there are over `LARGEST_TOTAL` bytes of it, or the copy cannot be written.
        AssetError: the store cannot be reached.
    """
    copy = folder / _name_of_copy(file)
    with file.open() as stream:
        try:
            _copy(stream, copy, file)
        except TunesmithError:
            raise
        except OSError as error:
            found = f"a copy of it cannot be written ({error.strerror})"
            raise DataError(file.url, found, expected="room in the temporary folder", remedy="set TMPDIR to another folder") from None
    return copy


def _copy(stream: BinaryIO, copy: Path, file: RemoteFile) -> None:
    num_copied = 0
    with copy.open("xb") as local:
        while piece := stream.read(PIECE_BYTES):
            num_copied += len(piece)
            if num_copied > LARGEST_TOTAL:
                found = f"it has over {LARGEST_TOTAL:,} bytes"
                expected = "fewer, for it is copied to a temporary folder"
                raise DataError(file.url, found, expected=expected, remedy="download it, and give the file")
            local.write(piece)


def _name_of_copy(file: RemoteFile) -> str:
    """Its suffixes tell what kind of file it is; of a long stem the beginning does."""
    name = _NOT_IN_NAMES.sub("_", file.name)
    if name in ("", ".", ".."):
        raise DataError(file.url, "the URL names no file", expected="a URL that ends in the name of a file", remedy="name the file")
    end = next(_SUFFIXES.finditer(name)).start()
    return name[:end].encode("utf-8", "replace")[:_LONGEST_STEM].decode("utf-8", "ignore") + name[end:]
