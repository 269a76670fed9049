"""Rows of a prepared data set as pages need them: some at a time, searched, with what the checks find.

>>> rows = open_rows(Path("prepared/faq/train.jsonl"))
>>> len(rows), rows.at([7])[0].source
(1185, 'faq.jsonl:9')
>>> rows.matching("refund card")
[17, 204]
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.data.storing.store import StoredExamples, open_examples
from tunesmith.studio.readable import Unreadable, find, items, parse, text

SPLITS = ("train", "validation", "test")
MOST_SEARCHED_BYTES = 64 * 1024 * 1024
"""Of a split file whose texts are kept for the next search; larger ones are read anew for each."""
LENGTH_BINS = 24
MOST_LENGTHS = 100_000
"""Rows whose lengths are drawn; of more, evenly spaced ones."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One example of a split file."""

    record: Mapping[str, Any]

    @property
    def id(self) -> str:
        return text(self.record, "id") or ""

    @property
    def source(self) -> str:
        return text(self.record, "source") or "?"

    @cached_property
    def messages(self) -> list[tuple[str, str]]:
        """Roles and contents."""
        return [(text(one, "role") or "", text(one, "content") or "") for one in items(self.record, "messages")]

    @property
    def prompt(self) -> str:
        """The last user message; empty for raw text."""
        return next((content for role, content in reversed(self.messages) if role == "user"), "")

    @property
    def asked(self) -> str:
        """All before the answer; of raw text its beginning."""
        return "\n".join(content for _, content in self.messages[:-1]) if self.messages else self.answer[:200]

    @property
    def answer(self) -> str:
        """The last message; of raw text the text."""
        return self.messages[-1][1] if self.messages else text(self.record, "text") or ""

    @property
    def is_text(self) -> bool:
        return not self.messages

    @property
    def rejected(self) -> str | None:
        """The worse answer of a preference pair."""
        return text(self.record, "rejected")

    @property
    def label(self) -> bool | None:
        """Whether an answer judged by itself is desirable."""
        label = find(self.record, "label")
        return label if isinstance(label, bool) else None


class Rows:
    """A split file; rows are read when they are looked at."""

    def __init__(self, examples: StoredExamples, *, num_bytes: int) -> None:
        self.examples, self.num_bytes = examples, num_bytes
        self._searched: list[str] | None = None

    def __len__(self) -> int:
        return len(self.examples)

    def at(self, places: Sequence[int]) -> list[Row]:
        """The rows at these places; one that cannot be parsed is empty."""
        chosen = self.examples.select(np.array(places, np.int64))
        return [Row(record=_parsed(line)) for line in chosen.lines()]

    def matching(self, words: str) -> list[int]:
        """Places of the rows in which all these words and "quoted phrases" stand, in whatever case."""
        wanted = search_words(words)
        if not wanted:
            return list(range(len(self)))
        return [place for place, said in enumerate(self._said()) if all(word in said for word in wanted)]

    def _said(self) -> Iterable[str]:
        """All that each row says, casefolded; kept from the first search on, unless the file is too large for that."""
        if self._searched is not None:
            return self._searched
        said = ("\n".join(_texts(_parsed(line))).casefold() for line in self.examples.lines())
        if self.num_bytes > MOST_SEARCHED_BYTES:
            return said
        self._searched = list(said)
        return self._searched


def search_words(asked: str) -> list[str]:
    """`refund "my card"` -> `["refund", "my card"]`, casefolded."""
    return [phrase or word for phrase, word in _WORDS.findall(asked.casefold()) if phrase or word]


_WORDS = re.compile(r'"([^"]*)"|(\S+)')


def open_rows(file: Path) -> Rows:
    """A split file.

    Raises:
        Unreadable: it is absent, or no regular file.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable(f"{file.name} is no file")
        return Rows(open_examples(file)[0], num_bytes=found.st_size)
    except OSError as error:
        raise Unreadable(f"{file.name}: {error.strerror or type(error).__name__}") from None


def _parsed(line: bytes) -> Mapping[str, Any]:
    try:
        value = parse(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _texts(record: Mapping[str, Any]) -> Iterator[str]:
    for key in ("source", "text", "rejected"):
        if isinstance(given := record.get(key), str):
            yield given
    for message in items(record, "messages"):
        if isinstance(given := find(message, "content"), str):
            yield given


def word_lengths(rows: Rows) -> dict[str, dict[str, Any]]:
    """Part (`prompt`, `answer`) to a histogram of its lengths in words, `{"width", "counts"}`; of raw text the answer alone."""
    places = np.unique(np.linspace(0, max(0, len(rows) - 1), min(len(rows), MOST_LENGTHS)).astype(np.int64))
    lengths: dict[str, list[int]] = {"prompt": [], "answer": []}
    for row in rows.at(places.tolist()) if len(rows) else ():
        if not row.is_text:
            lengths["prompt"].append(len(row.asked.split()))
        lengths["answer"].append(len(row.answer.split()))
    return {part: histogram(found) for part, found in lengths.items() if found}


def histogram(lengths: Sequence[int]) -> dict[str, Any]:
    """Equal bins up to the longest; a bin has the lengths above the one before and up to its end, the first those of 0 as well."""
    width = max(1, -(-max(lengths) // LENGTH_BINS))
    counts = np.bincount(np.maximum(np.array(lengths, np.int64) - 1, 0) // width)
    return {"width": width, "counts": counts.tolist()}
