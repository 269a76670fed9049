"""What an importer is, what it is asked, and what it says about its reading.

    tally = Tally()
    rows = list(IMPORTERS["slack"].read(folder, "export", tally=tally))
    tally.note()   # "left out 3 system messages and 1 message of a bot"

A tally is filled while the rows are read, so its note is whole once they have all been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.data.parsing.text import decode
from tunesmith.errors import DataError
from tunesmith.types import Row

HEAD_BYTES = 65_536
"""Enough of a file's beginning to recognise it by."""
LARGEST_FILE_BYTES = 512 * 2**20
"""Of one file that an importer holds in memory whole."""


class Tally:
    """What was left out, and what was chosen for the user."""

    def __init__(self) -> None:
        self.left_out: Counter[tuple[str, str]] = Counter()
        """How many, by (singular, plural)."""
        self.changed: Counter[tuple[str, str]] = Counter()
        """Likewise."""
        self.said: dict[str, None] = {}
        """Sentences, each once, in the order in which they were said."""

    def leave_out(self, what: str, number: int = 1, *, plural: str | None = None) -> None:
        """Count things that become no part of a row; `what` in the singular."""
        if number:
            self.left_out[what, plural or f"{what}s"] += number

    def change(self, what: str, number: int = 1, *, plural: str | None = None) -> None:
        """Count things that are in the rows otherwise than in the file."""
        if number:
            self.changed[what, plural or f"{what}s"] += number

    def say(self, sentence: str) -> None:
        """Something that people should know about how the source was read."""
        self.said[sentence] = None

    def note(self) -> str:
        """All of it in a line; empty when there is nothing to say."""
        parts = list(self.said)
        for verb, counts in (("replaced", self.changed), ("left out", self.left_out)):
            if counts:
                listed = [f"{number:,} {one if number == 1 else many}" for (one, many), number in counts.items()]
                parts.append(f"{verb} {', '.join(listed)}")
        return "; ".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One reading of one source."""

    label: str
    """Begins every `Row.source`."""
    encoding: str = "utf-8"
    assistant: str | None = None
    """Whose messages are the answers: names, separated by commas; None recognises them."""
    tally: Tally = field(default_factory=Tally)


@dataclass(frozen=True, kw_only=True, slots=True)
class Importer:
    """How one kind of source becomes rows."""

    name: str
    """As `--kind` has it."""
    description: str
    """For people: `Slack export`."""
    recognises: Callable[[Path, bytes], bool]
    """Is this folder, or this file with its first bytes, surely of the kind? An ordinary data file never is."""
    rows: Callable[[Path, Request], Iterator[Row]]

    def read(
        self, path: Path, label: str, encoding: str = "utf-8", *, assistant: str | None = None, tally: Tally | None = None
    ) -> Iterator[Row]:
        """Rows in columns that are recognised without options: `messages`; `question`, `answer`; or `text`, `title`, `document`.

        `tally` is filled on the way. Nothing is run, nothing fetched, nothing written.

        Raises:
            DataError: it is not of this kind, is damaged, or a choice is needed that the user has to make.
        """
        return self.rows(path, Request(label=label, encoding=encoding, assistant=assistant, tally=tally or Tally()))


def read_text(path: Path, label: str, encoding: str, most: int = LARGEST_FILE_BYTES) -> str:
    """A whole text file of at most so many bytes, its line ends as `\\n`.

    Raises:
        DataError: it cannot be read, is too large or empty, or is in another encoding.
    """
    require_size(path, label, most)
    text = decode(read_bytes(path, label), label, encoding)
    if not text.strip():
        raise DataError(label, "the file is empty", expected="text", remedy="check that it was saved, or leave it out")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(path: Path, label: str) -> bytes:
    """A whole file.

    Raises:
        DataError: it cannot be read, or is larger than `LARGEST_FILE_BYTES`.
    """
    require_size(path, label, LARGEST_FILE_BYTES)
    try:
        return path.read_bytes()
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise DataError(label, found, expected="a readable file", remedy="check its permissions") from None


def require_size(path: Path, label: str, most: int) -> None:
    """Refuse a file of more than `most` bytes before it is read.

    Raises:
        DataError: it is larger, is not there, or is no regular file.
    """
    if not path.is_file():
        raise DataError(label, "it is no file", expected="a file of its kind", remedy="correct the path, or leave `--kind` out")
    size = path.stat().st_size
    if size > most:
        found = f"it has {size:,} bytes, and a file of its kind is read whole"
        raise DataError(label, found, expected=f"at most {most:,}", remedy="split it into several files")


def head_of(path: Path) -> bytes:
    """The first bytes of a file; none of a folder, or of what cannot be opened."""
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:  # whoever reads the file says what is wrong with it
        return b""


def head_text(head: bytes) -> str:
    """As text, to look for marks in it; broken characters do not matter there."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return head.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
