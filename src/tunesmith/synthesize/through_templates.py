"""Rows that are no questions and answers -> examples, through templates of the user's; no model is asked.

    --prompt-template "Which department handles this ticket? {text}" --prompt-template "Route: {text}" --completion-template "{category}"

With several prompt templates each row takes one, by a hash of the row: all of them are used, and the same ones again when rows are added
(the way of FLAN, Wei et al. 2022, arXiv:2109.01652, section 2.1).
"""

from __future__ import annotations

import hashlib
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import ConfigError, RunError
from tunesmith.files import atomic_directory, write_json, write_json_lines
from tunesmith.synthesize.candidates import Candidate, record_of
from tunesmith.types import Row


class Filler(string.Formatter):
    """Plain `{column}` fields alone: no attributes, indices, conversions or formats, for templates are filled with anyone's text."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        del args
        return kwargs[field_name], field_name


def columns_of(template: str, option: str) -> list[str]:
    """The columns that a template names.

    Raises:
        ConfigError: it names none, or is no template.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(
            option, f"{template!r} is no template ({error})", expected="text with {columns}", remedy="write {{ for a brace"
        ) from None
    names = [name for _, name, _, _ in parts if name is not None]
    if not names or any(spec or conversion for _, _, spec, conversion in parts) or any(not name for name in names):
        raise ConfigError(option, f"{template!r} names no plain column", expected="text with {columns}", remedy="write {column}")
    return names


def fill(rows: Iterable[Row], prompts: Sequence[str], completion: str) -> Iterator[tuple[Candidate | None, str]]:
    """For each row its example, or None and why there is none.

    Raises:
        ConfigError: a template names a column that the rows do not have.
    """
    wanted = {name: option for template, option in _named(prompts, completion) for name in columns_of(template, option)}
    for row in rows:
        absent = next((name for name in wanted if name not in row.values), None)
        if absent is not None:
            known = ", ".join(map(str, row.values))
            raise ConfigError(
                wanted[absent], f"{row.source} has no column {absent!r}", expected=f"one of {known}", remedy="correct the template"
            )
        values = {name: row.values[name] for name in wanted}
        empty = next((name for name, value in values.items() if value is None or not str(value).strip()), None)
        if empty is not None:
            yield None, f"the column {empty} is empty ({row.source})"
            continue
        texts = {name: str(value) for name, value in values.items()}
        chosen = prompts[_hash(texts) % len(prompts)]
        filler = Filler()
        made = Candidate(
            prompt=filler.vformat(chosen, (), texts), completion=filler.vformat(completion, (), texts), origin={"source": row.source}
        )
        yield made, ""


def _named(prompts: Sequence[str], completion: str) -> Iterator[tuple[str, str]]:
    yield from ((template, "--prompt-template") for template in prompts)
    yield completion, "--completion-template"


def _hash(texts: Mapping[str, str]) -> int:
    content = "\0".join(f"{name}={texts[name]}" for name in sorted(texts))
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big")


def through_templates(rows: Sequence[Row], prompts: Sequence[str], completion: str, out: Path) -> dict[str, Any]:
    """Write `examples.jsonl`, `rejected.jsonl` and `report.json` into the new directory `out`; returns the report.

    Raises:
        ConfigError: a template is none, or names a column that is not there.
        RunError: `out` is taken.
    """
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for row, (candidate, reason) in zip(rows, fill(rows, prompts, completion), strict=True):
        if candidate is None:
            rejected.append({"reason": reason, "source": row.source})
        else:
            kept.append(record_of(candidate))
    report = {
        "kept": len(kept),
        "rejected": len(rejected),
        "reasons": dict(Counter(one["reason"].partition(" (")[0] for one in rejected).most_common()),
        "ending": "all rows",
        "prompt_templates": list(prompts),
        "completion_template": completion,
    }
    try:
        with atomic_directory(out) as staging:
            write_json_lines(staging / "examples.jsonl", kept)
            write_json_lines(staging / "rejected.jsonl", rejected)
            write_json(staging / "report.json", report)
    except FileExistsError:
        raise RunError(str(out), "it exists already", expected="a new directory", remedy="choose another --out") from None
    return report
