"""A table that a person goes through: one example a line, each to be kept, edited or dropped.

    source,id,prompt,answer,findings,decision
    faq.csv:17,8c1f…,How do I …,Click on …,repeated-prompt,keep

Written as CSV (for spreadsheets) or JSON Lines, by the file's suffix; read again on the next run, where `drop` leaves the example out and
`edit` takes the prompt and the answer as they now stand in the table. An example is found again by its id, made of its content as it was
read, so decisions survive new rows and another order.

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and a text could thereby run one (CWE-1236). Such cells
are written with `'` before them, and so are those that begin with `'`; one is taken off again when the table is read.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from tunesmith.data.converting.examples import HASH_DIGITS
from tunesmith.data.converting.facts import Facts
from tunesmith.data.converting.repair import Change, parts, with_parts
from tunesmith.data.parsing.faults import LONE_SURROGATE
from tunesmith.data.storing.store import StoredExamples
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Example

Choice = Literal["keep", "edit", "drop"]
COLUMNS = ("source", "id", "prompt", "answer", "findings", "decision")
NEEDED = ("id", "decision")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")
LONGEST_CELL = 1 << 30
"""Characters; the csv module's own limit is 131,072."""
REVIEWED = "review"
"""The reason in `removed.jsonl` and `changed.jsonl`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the reviewer decided about one example."""

    place: str
    """Of the line in the table."""
    choice: Choice
    prompt: str = ""
    answer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """All decisions that change something, by id."""

    decisions: Mapping[str, Decision] = field(default_factory=dict)
    num_read: int = 0
    """Examples in the table, kept ones too."""


def require_suffix(path: Path) -> None:
    """Refuse a table of an unknown kind.

    Raises:
        ConfigError: naming those that are known.
    """
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise ConfigError("--review", f"the file {path.name}", expected="a name ending in .csv or .jsonl", remedy="choose such a name")


def read_review(path: Path) -> Review:
    """The decisions of a reviewed table.

    Raises:
        DataError: not such a table, an unknown decision, or two decisions about one example.
    """
    require_suffix(path)
    try:
        rows = list(_csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path))
    except UnicodeDecodeError as error:
        raise _malformed(path.name, f"it is not UTF-8 ({error.reason})", "save it as UTF-8") from None
    except OSError as error:
        raise _malformed(path.name, f"it cannot be read ({error.strerror})", "check its permissions") from None
    decisions: dict[str, Decision] = {}
    for place, row in rows:
        decision = _decision(place, row)
        earlier = decisions.setdefault(str(row["id"]), decision)
        if (earlier.choice, earlier.prompt, earlier.answer) != (decision.choice, decision.prompt, decision.answer):
            raise _malformed(place, f"the example {row['id']} is decided otherwise in {earlier.place}", "leave one of the lines")
    return Review(decisions={id_: one for id_, one in decisions.items() if one.choice != "keep"}, num_read=len(rows))


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        sample = file.readline()
        file.seek(0)
        # Spreadsheets of some countries write semicolons.
        reader = csv.DictReader(file, delimiter=";" if sample.count(";") > sample.count(",") else ",", strict=True)
        try:
            for row in reader:
                place = f"{path.name}:{reader.line_num}"
                if None in row:
                    raise _malformed(place, f"the line has more cells than the {len(reader.fieldnames or ())} columns", "quote the cell")
                if any(row.values()):
                    yield place, {name: _shown_to_plain(value or "") for name, value in row.items() if name}
        except csv.Error as error:
            raise _malformed(
                f"{path.name}:{reader.line_num}", f"not readable as CSV ({error})", "write it again from the program"
            ) from None


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise _malformed(f"{path.name}:{number}", f"not readable as JSON ({error})", "correct the line") from None
            if not isinstance(row, dict):
                raise _malformed(f"{path.name}:{number}", "the line is no object", "correct the line")
            yield f"{path.name}:{number}", row


def _decision(place: str, row: Mapping[str, Any]) -> Decision:
    missing = [name for name in NEEDED if not row.get(name)]
    if missing:
        raise _malformed(place, f"there is no {' and no '.join(missing)}", "fill it in, or let `--review` write the table anew")
    choice = str(row["decision"]).strip().casefold()
    if choice not in get_args(Choice):
        raise _malformed(place, f"the decision is {row['decision']!r}", f"write one of {', '.join(get_args(Choice))}")
    if choice != "edit":
        return Decision(place=place, choice=cast(Choice, choice))
    prompt, answer = row.get("prompt"), row.get("answer")
    if not isinstance(prompt, str) or not isinstance(answer, str):
        raise _malformed(place, "an edited example lacks its prompt or its answer", "leave both columns in the table")
    if LONE_SURROGATE.search(prompt + answer):
        raise _malformed(place, "the edited text holds half of a character", "correct it")
    if not answer.strip():
        raise _malformed(place, "the edited answer is empty", "write one, or decide `drop`")
    return Decision(place=place, choice="edit", prompt=prompt, answer=answer)


def _malformed(place: str, found: str, remedy: str) -> DataError:
    return DataError(place, found, expected=f"a table with the columns {', '.join(COLUMNS)}, as `--review` writes it", remedy=remedy)


def apply_edit(example: Example, decision: Decision) -> tuple[Example, Change | None]:
    """The example with the reviewer's prompt and answer, and what that changed; None when nothing differs.

    The prompt is the last user message, the answer the last message; of raw text the answer is the text.
    """
    before = dict(parts(example))
    asked = max((number for number, message in enumerate(example.messages) if message.role == "user"), default=-1)
    if example.text is not None:
        texts = {"text": decision.answer}
    else:
        texts = {f"messages[{asked}]": decision.prompt, f"messages[{len(example.messages) - 1}]": decision.answer}
    after = {part: text for part, given in texts.items() if (text := _even_breaks(given, before[part])) != before[part]}
    if not after:
        return example, None
    # The fields of an edited prompt cannot be told apart any more.
    plain = dataclasses.replace(example, fields={}) if f"messages[{asked}]" in after else example
    return with_parts(plain, after), Change(reason=REVIEWED, before={part: before[part] for part in after}, after=after)


def _even_breaks(text: str, before: str) -> str:
    """Spreadsheets write their own line ends."""
    return text if "\r" in before else text.replace("\r\n", "\n")


def write_review(path: Path, rows: Iterable[tuple[Example, str, str] | tuple[Example, str, str, Choice]]) -> int:
    """Write a table of (example, its id as read, names of findings, perhaps a decision) to decide about; returns how many.

    Where no decision is proposed, it is to keep.

    Raises:
        ConfigError: the suffix is unknown.
        FileExistsError: there is one already.
    """
    require_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    is_csv = path.suffix.lower() == ".csv"
    count = 0
    with path.open("x", encoding="utf-8-sig" if is_csv else "utf-8", newline="") as file:
        table = csv.writer(file)
        if is_csv:
            table.writerow(COLUMNS)
        for count, (example, read_id, findings, *proposed) in enumerate(rows, start=1):  # noqa: B007 - the last one is their number
            values = (example.source, read_id, example.prompt, example.reference, findings, *(proposed or ["keep"]))
            if is_csv:
                table.writerow(map(_plain_to_shown, values))
            else:
                file.write(json.dumps(dict(zip(COLUMNS, values, strict=True)), ensure_ascii=False) + "\n")
    return count


def _plain_to_shown(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value


def _shown_to_plain(value: str) -> str:
    return value[1:] if value.startswith("'") and value[1:].startswith(FORMULA_STARTS) else value


class ReviewTable:
    """The table that `--review` names: read when it is there, else written with what there is to decide."""

    def __init__(self, path: Path, *, everything: bool = False) -> None:
        """`everything`: a new table holds all examples, not the flagged ones alone."""
        require_suffix(path)
        self.path, self.everything = path, everything
        self.review = read_review(path) if path.exists() else None
        self._num_written: int | None = None

    @property
    def decisions(self) -> Mapping[str, Decision]:
        """By id."""
        return {} if self.review is None else self.review.decisions

    def require_some(self, num_left: int, num_dropped: int) -> None:
        """Refuse a table that leaves nothing.

        Raises:
            DataError: all examples are dropped.
        """
        if not num_left and num_dropped:
            found = f"all {num_dropped:,} examples are dropped"
            raise DataError(str(self.path), found, expected="at least one to keep", remedy="decide `keep` or `edit` for some")

    def offer(self, examples: StoredExamples, facts: Facts, positions: Iterable[int], flagged: Mapping[int, Sequence[str]]) -> None:
        """Write a new table of the examples at `positions` that are flagged, or of all.

        Raises:
            DataError: it cannot be written.
        """
        if self.review is not None:
            return
        chosen = np.array([position for position in positions if self.everything or position in flagged], np.int64)
        ids = (f"{number:0{HASH_DIGITS}x}" for number in facts["read_id"][chosen].tolist())
        findings = (",".join(flagged.get(position, ())) for position in chosen.tolist())
        try:
            self._num_written = write_review(self.path, zip(examples.select(chosen), ids, findings, strict=True))
        except OSError as error:
            found = f"the review table cannot be written ({error.strerror})"
            raise DataError(str(self.path), found, expected="a new file in a folder that can be written", remedy="name another") from None

    def remark(self, reviewed: Collection[str]) -> str:
        """What was done. (`reviewed`: ids of the decisions that were carried out.)"""
        if self.review is None:
            what = "examples" if self.everything else "flagged examples"
            return f"{self._num_written:,} {what} are in {self.path}: decide keep, edit or drop in each line, then prepare again with it"
        lost = len(self.review.decisions) - len(reviewed)
        unfound = f"; {lost:,} no longer find their example" if lost else ""
        return f"{len(reviewed):,} of {self.review.num_read:,} reviewed examples were edited or dropped{unfound}"
