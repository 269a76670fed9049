"""Votes: which of two models' answers was better, in the eyes of a person, a judge or a metric. Append-only JSON Lines.

A line of `runs/NAME/evaluation/votes.jsonl`:

    {"left": "faq", "right": "smollm2-135m-instruct", "winner": "left", "kind": "human", "example": "9f2c…",
     "rater": "ana", "left_words": 31, "right_words": 88, "left_answer": "1c4e…", "right_answer": "77ab…",
     "reason": "", "time": "2026-01-31T14:25:01+00:00"}

Files with evalica's columns `left,right,winner` (CSV or JSON Lines) are read as well. A tie is a vote; a row without a verdict is none.
"""

from __future__ import annotations

import codecs
import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from tunesmith.errors import DataError
from tunesmith.files import append_json_lines, is_json_object

Winner = Literal["left", "right", "tie"]
Kind = Literal["human", "judge", "metric"]
Say = Callable[[str], None]

_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {"example": ("prompt", "question_id"), "rater": ("worker", "judge")}
"""Columns of other tools that hold the same."""
_NUMBERS = ("left_words", "right_words")


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """One comparison of two different models' answers to one prompt. Empty text and None: not known."""

    left: str
    """A model's name: a run's, or a base model's."""
    right: str
    winner: Winner
    kind: Kind = "human"
    example: str = ""
    """The id of the example both answered."""
    rater: str = ""
    """The person, the judging model, or the metric."""
    left_words: int | None = None
    """Length of the left answer."""
    right_words: int | None = None
    left_answer: str = ""
    """`answer_key` of the left answer, so that a vote is not taken for one on another answer."""
    right_answer: str = ""
    reason: str = ""
    """Why, in the rater's words."""
    time: str = ""
    """ISO 8601, with its zone."""

    @property
    def models(self) -> frozenset[str]:
        return frozenset((self.left, self.right))

    @property
    def left_share(self) -> float:
        """1 where the left answer won, 0 where it lost, 0.5 for a tie."""
        return {"left": 1.0, "tie": 0.5, "right": 0.0}[self.winner]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def answer_key(completion: str) -> str:
    """Twelve hexadecimal digits that tell one answer's text from another's."""
    return hashlib.sha256(completion.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def time_now() -> str:
    """For `Vote.time`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def append_votes(file: Path, votes: Iterable[Vote]) -> None:
    """Add lines to `file`; when this returns they are on the disk. Several processes may append to one file.

    Raises:
        DataError: `file` does not hold JSON Lines, so nothing can be added to it.
    """
    append_lines(file, (vote.to_json() for vote in votes))


def append_lines(file: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Add one JSON object a line, flushed and synced; earlier lines stay as they are, a torn last one is cut off first.

    Raises:
        DataError: what is there does not start like JSON Lines.
    """
    if file.is_file() and (content := file.read_bytes().removeprefix(codecs.BOM_UTF8).lstrip()) and not content.startswith(b"{"):
        remedy = "name another file for new votes; `tunesmith rank` reads both together"
        raise DataError(str(file), "the file does not hold JSON Lines", expected="a JSON object a line, or no file", remedy=remedy)
    append_json_lines(file, records)


def read_votes(paths: Iterable[Path], *, say: Say | None = None) -> list[Vote]:
    """All votes of the files, in their order.

    Args:
        paths: CSV files (with `.csv` or `.tsv`), else JSON Lines.
        say: told how many rows have no verdict, and of a torn last line.

    Raises:
        DataError: a file is missing, or a line cannot be read; it names file and line.
    """
    return [vote for path in paths for vote in _read_file(path, say or (lambda _: None))]


def latest_votes(votes: Iterable[Vote]) -> list[Vote]:
    """Of a person's votes on the same two answers the latest alone; all others, and votes of nobody named, as they are.

    A rater in two windows is asked the same question in both.
    """
    kept: dict[object, Vote] = {}
    for number, vote in enumerate(votes):
        sides = frozenset([(vote.left, vote.left_answer), (vote.right, vote.right_answer)])
        is_named = vote.kind == "human" and vote.rater and vote.example
        key = (vote.rater, vote.example, sides) if is_named else number
        kept.pop(key, None)  # so that it stands where it was given last
        kept[key] = vote
    return list(kept.values())


def _read_file(path: Path, say: Say) -> list[Vote]:
    if not path.is_file():
        raise DataError(str(path), "there is no such file", expected="a file of votes", remedy="correct the path")
    rows = _csv_rows(path) if path.suffix.lower() in {".csv", ".tsv"} else read_lines(path, say)
    votes, num_missing = [], 0
    for place, row in rows:
        vote = _vote(row, place)
        num_missing += vote is None
        votes += [vote] if vote else []
    if num_missing:
        say(f"{path.name}: {num_missing:,} of {num_missing + len(votes):,} rows have no verdict and are not votes")
    return votes


def _csv_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(str(path), f"not UTF-8 ({error})", expected="a CSV file in UTF-8", remedy="save it as UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    missing = [name for name in ("left", "right", "winner") if name not in (reader.fieldnames or ())]
    if missing:
        found = f"no column {' and no column '.join(missing)}"
        raise DataError(f"{path}:1", found, expected="the columns left, right, winner", remedy="name the columns in the first line")
    for row in reader:
        place = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            raise DataError(place, "another number of cells than the first line has", expected="as many", remedy="correct the line")
        yield place, row


def read_lines(path: Path, say: Say | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and object of each line of a JSON Lines file that is appended to; a torn last line is left out, and `say` told.

    Raises:
        DataError: any other line is no JSON object.
    """
    *lines, last = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    if last.strip() and not is_json_object(last):
        (say or (lambda _: None))(f"{path.name}: the last line was cut short while it was written, and is left out")
    elif last.strip():
        lines.append(last)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{path}:{number}", _object(line, f"{path}:{number}")


def _object(line: bytes, place: str) -> Mapping[str, Any]:
    if not is_json_object(line):
        raise DataError(place, "not a JSON object", expected="one object a line", remedy="correct the line, or take it out")
    decoded: Mapping[str, Any] = json.loads(line)
    return decoded


def _vote(row: Mapping[str, Any], place: str) -> Vote | None:
    """None where there is no verdict."""
    if row.get("winner") is None and "winner" in row:
        return None
    left, right = (require_text(row, side, place) for side in ("left", "right"))
    winner = require_text(row, "winner", place, may_be_empty=True).lower()
    if not winner:
        return None
    if left == right:
        raise DataError(place, f"{left!r} is compared with itself", expected="two models", remedy="take the line out")
    texts: dict[str, Any] = {
        name: _optional_text(row, name) for name in ("example", "rater", "left_answer", "right_answer", "reason", "time")
    }
    numbers: dict[str, Any] = {name: _optional_count(row, name, place) for name in _NUMBERS}
    kind: Any = one_of(_optional_text(row, "kind") or "human", get_args(Kind), "kind", place)
    verdict: Any = one_of(winner, get_args(Winner), "winner", place)
    return Vote(left=left, right=right, winner=verdict, kind=kind, **texts, **numbers)


def require_text(row: Mapping[str, Any], name: str, place: str, *, may_be_empty: bool = False) -> str:
    """The text of a field, stripped; numbers are names too.

    Raises:
        DataError: there is none.
    """
    value = row.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not (may_be_empty or value.strip()):
        raise DataError(place, f"{name} is {value!r}", expected="text", remedy="fill it in, or take the line out")
    return value.strip()


def one_of(value: str, allowed: Sequence[str], name: str, place: str) -> str:
    """`value`, which is allowed.

    Raises:
        DataError: it is not.
    """
    if value not in allowed:
        raise DataError(place, f"{name} is {value!r}", expected=f"one of {', '.join(allowed)}", remedy="correct the line")
    return value


def _optional_text(row: Mapping[str, Any], name: str) -> str:
    found = (row[one] for one in (name, *_OTHER_NAMES.get(name, ())) if row.get(one) not in (None, ""))
    return str(next(found, ""))


def _optional_count(row: Mapping[str, Any], name: str, place: str) -> int | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not str(value).isdecimal():
        raise DataError(place, f"{name} is {value!r}", expected="a number of words", remedy="correct the line")
    return int(value)
