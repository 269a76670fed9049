"""The training rows that an analysis wants changed, as a table that `tunesmith prepare --review` reads.

    tunesmith prepare faq.csv --out prepared/faq-reviewed --like prepared/faq --review runs/faq/analysis/review.csv

Rows proposed to be dropped say `drop`; those to be corrected say `edit` and change nothing until their cells do. A table that a
person has worked on is never overwritten.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.analyze.actions import Action, rows_to_review
from tunesmith.data.converting.repair import with_parts
from tunesmith.data.converting.review import Choice, write_review
from tunesmith.data.preparing.gather import CHANGED
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.files import read_json_lines
from tunesmith.types import Example

REVIEW = "review.csv"
KEYS = ("prompt_key", "completion_key", "input_key", "chosen_key", "rejected_key", "label_key", "template", "on_invalid")
"""Settings of `prepare` that decide how rows are read, and so the ids by which a review finds them."""


def write_proposals(directory: Path, actions: Sequence[Action], train: Sequence[Example], data: PreparedData | None) -> Path | None:
    """Write `review.csv` into the directory of the analysis; beside one that was edited, under another name.

    Returns:
        The file; None where no row is to be changed.
    """
    proposals = rows_to_review(actions)
    table = directory / REVIEW
    if table.is_file() and _is_ours(table):
        table.unlink()
    if not proposals:
        return None
    number = 2
    while table.exists():
        table, number = directory / f"review-{number}.csv", number + 1
    before = _texts_before(data)
    write_review(table, (_proposal(train[row.position], before, groups, decision) for row, groups, decision in proposals.values()))
    _mark(table).write_text(_checksum(table), encoding="utf-8")
    return table


def _proposal(
    example: Example, before: Mapping[str, list[Mapping[str, str]]], groups: str, decision: str
) -> tuple[Example, str, str, Choice]:
    return example, _read_id(example, before), groups, "drop" if decision == "drop" else "edit"


def _texts_before(data: PreparedData | None) -> dict[str, list[Mapping[str, str]]]:
    """By source: what fixes replaced, the last one first."""
    file = data.directory / CHANGED if data is not None else None
    found: dict[str, list[Mapping[str, str]]] = {}
    for record in read_json_lines(file) if file is not None and file.is_file() else ():
        found.setdefault(record["source"], []).insert(0, record["before"])
    return found


def _read_id(example: Example, before: Mapping[str, list[Mapping[str, str]]]) -> str:
    """The id it had when it was read, before fixes."""
    for texts in before.get(example.source, ()):
        example = with_parts(example, texts)
    return example.id


def _mark(table: Path) -> Path:
    return table.with_name(f".{table.name}.sha256")


def _checksum(table: Path) -> str:
    return hashlib.sha256(table.read_bytes()).hexdigest()


def _is_ours(table: Path) -> bool:
    """Nobody has changed it since it was written."""
    mark = _mark(table)
    return mark.is_file() and mark.read_text(encoding="utf-8") == _checksum(table)


def command_of(table: Path, data: PreparedData) -> str:
    """The command that applies the review to the sources of a prepared set; every example keeps its side of the split."""
    settings: Mapping[str, Any] = data.manifest["settings"]
    sources = [shlex.quote(str(one["path"] or one["name"])) for one in data.manifest["sources"]]
    defaults = {"template": "auto", "on_invalid": "stop"}
    options = [
        f"--{key.replace('_', '-')} {shlex.quote(str(settings[key]))}" for key in KEYS if settings.get(key) not in (None, defaults.get(key))
    ]
    options += [f"--{key} {','.join(settings[key])}" for key in ("drop", "fix") if settings.get(key)]
    new = data.directory.with_name(f"{data.directory.name}-reviewed")
    words = [
        *sources,
        "--out",
        shlex.quote(str(new)),
        "--like",
        shlex.quote(str(data.directory)),
        *options,
        "--review",
        shlex.quote(str(table)),
    ]
    return f"tunesmith prepare {' '.join(words)}"
