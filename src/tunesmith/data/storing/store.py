"""Examples in a JSON Lines file, read when they are asked for: a sequence of a million takes 16 MB of memory.

    >>> examples = open_examples(Path("prepared/faq/train.jsonl"))
    >>> len(examples), examples[7].source, examples[-3:]
    (1185, 'faq.jsonl:9', <3 examples of train.jsonl>)

What is kept is where each line begins and ends. The file is opened at the first look, in each process by itself, so a store
can be sent to worker processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError
from tunesmith.types import Example, Message

CHUNK_BYTES = 1 << 20
LINES_AT_ONCE = 1024
MOST_AT_ONCE_BYTES = 1 << 26
"""Of lines that are read together; longer ones come one by one."""


class _File:
    """A file that is opened at the first read, in each process by itself."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[_File], tuple[Path, int]]:
        return _File, (self.path, self.size)

    def __del__(self) -> None:
        self.close()

    def read(self, start: int, end: int) -> bytes:
        with self._lock:
            if self._file is None:
                self._file = self._open()
            found: list[bytes] = []
            while start < end:  # one read gives 2 GiB at most
                found.append(_read_at(self._file, end - start, start))
                start += len(found[-1])
                if not found[-1]:
                    raise self._changed()
            return found[0] if len(found) == 1 else b"".join(found)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _open(self) -> IO[bytes]:
        try:
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            found = f"the file cannot be opened any more ({error.strerror})"
            raise DataError(str(self.path), found, expected="the file that was prepared", remedy="prepare the data again") from None
        if file.seek(0, 2) != self.size:
            file.close()
            raise self._changed()
        return file

    def _changed(self) -> DataError:
        found = "it was changed after it was checked"
        return DataError(str(self.path), found, expected=f"{self.size:,} bytes", remedy="prepare the data again")


def _read_at(file: IO[bytes], size: int, start: int) -> bytes:
    if hasattr(os, "pread"):  # a forked process shares the place of the file, so none may be moved
        return os.pread(file.fileno(), size, start)
    file.seek(start)
    return file.read(size)


class StoredExamples(Sequence[Example]):
    """Examples of a file, all of them or some in any order. Two are equal when their examples are."""

    def __init__(self, file: _File, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Each line from `starts[i]` to before `ends[i]`, its newline included."""
        self._file, self._starts, self._ends = file, starts, ends

    @property
    def path(self) -> Path:
        return self._file.path

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> StoredExamples: ...

    def __getitem__(self, index: int | slice) -> Example | StoredExamples:
        if isinstance(index, slice):
            return self._view(self._starts[index], self._ends[index])
        return _parse(self._file.read(int(self._starts[index]), int(self._ends[index])))

    def __iter__(self) -> Iterator[Example]:
        return map(_parse, self.lines())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} examples of {self.path.name}>"

    def select(self, positions: NDArray[np.int64] | NDArray[np.bool_]) -> StoredExamples:
        """Those at `positions`, in that order; or those where a mask is True."""
        return self._view(self._starts[positions], self._ends[positions])

    def _view(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> StoredExamples:
        return StoredExamples(self._file, starts, ends)

    def lines(self) -> Iterator[bytes]:
        """The examples as they lie in the file, each with its newline, in few large reads where they lie together."""
        for first in range(0, len(self), LINES_AT_ONCE):
            starts = self._starts[first : first + LINES_AT_ONCE].tolist()
            ends = self._ends[first : first + LINES_AT_ONCE].tolist()
            low, high = min(starts), max(ends)
            if high - low <= min(2 * (sum(ends) - sum(starts)) + CHUNK_BYTES, MOST_AT_ONCE_BYTES):
                block = self._file.read(low, high)
                yield from (block[start - low : end - low] for start, end in zip(starts, ends, strict=True))
            else:
                yield from (self._file.read(start, end) for start, end in zip(starts, ends, strict=True))

    def records(self) -> Iterator[dict[str, Any]]:
        """The examples as JSON has them."""
        return map(json.loads, self.lines())

    def close(self) -> None:
        """Let go of the file; the next look opens it again."""
        self._file.close()


def _parse(line: bytes) -> Example:
    return example_from_record(json.loads(line.decode()))  # of bytes, `loads` would first find out their encoding


def open_examples(path: Path) -> tuple[StoredExamples, str]:
    """The examples of a file, and the sha256 of its bytes in hexadecimal, in one pass of bounded memory.

    Raises:
        FileNotFoundError: there is none.
    """
    digest = hashlib.sha256()
    ends: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + (position + 1))
            position += len(chunk)
    return stored(path, np.concatenate(ends), position), digest.hexdigest()


def stored(path: Path, ends: NDArray[np.int64], size: int) -> StoredExamples:
    """All lines of a file of `size` bytes, of which is known where each ends."""
    starts = np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]])
    return StoredExamples(_File(path, size), starts, ends)


def write_lines(path: Path, lines: Iterable[bytes]) -> str:
    """Write whole lines to a new file; returns the sha256 of its bytes in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for line in lines:
            digest.update(line)
            file.write(line)
    return digest.hexdigest()


def to_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line of a file."""
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def example_to_record(example: Example) -> dict[str, Any]:
    """The example as JSON keeps it; `example_from_record` gives back an equal one. Parts that are not there are left out."""
    record: dict[str, Any] = {"id": example.id, "source": example.source, "group": example.group}
    if example.messages:
        record["messages"] = [{"role": message.role, "content": message.content} for message in example.messages]
    if example.text is not None:
        record["text"] = example.text
    if example.rejected is not None:
        record["rejected"] = example.rejected
    if example.label is not None:
        record["label"] = example.label
    if example.unfinished:
        record["unfinished"] = True
    if example.fields:
        record["fields"] = dict(example.fields)
    return record


def example_from_record(record: Mapping[str, Any]) -> Example:
    """The inverse of `example_to_record`."""
    return Example(
        id=record["id"],
        source=record["source"],
        group=record["group"],
        messages=tuple(Message(role=message["role"], content=message["content"]) for message in record.get("messages", ())),
        text=record.get("text"),
        rejected=record.get("rejected"),
        label=record.get("label"),
        unfinished=record.get("unfinished", False),
        fields=record.get("fields", {}),
    )
