"""What a recipe works on: passages, seeds, a prepared data set, an analysed run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.config import PrepareConfig
from tunesmith.data.columns import recognise
from tunesmith.data.examples import build_example, normalise_prompt, to_examples
from tunesmith.data.prepared import PreparedData, load_prepared
from tunesmith.data.sources import Source, open_sources
from tunesmith.errors import ConfigError, DataError, RunError
from tunesmith.runs import open_run
from tunesmith.synthesize.recipes.errors import FailedGroup
from tunesmith.types import Example, Message, Row

FEWEST_ALIKE = 3
"""So many training prompts with one answer make it a redirection."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What was read, and what it was read from."""

    rows: tuple[Row, ...] = ()
    examples: tuple[Example, ...] = ()
    sources: tuple[Source, ...] = ()

    @property
    def made_of(self) -> dict[str, Any]:
        """Names and checksums."""
        return {source.label: source.sha256 for source in self.sources}


def read_passages(paths: Sequence[str | Path]) -> Material:
    """Sections of documents, as `tunesmith prepare --kind documents` reads them.

    Raises:
        DataError: there is nothing to read.
    """
    sources = tuple(open_sources(paths, kind="documents"))
    rows = tuple(row for source in sources for row in source.read())
    return Material(rows=rows, sources=sources)


def read_rows_of(paths: Sequence[str | Path]) -> Material:
    """Rows as they are, of any columns."""
    sources = tuple(open_sources(paths))
    return Material(rows=tuple(row for source in sources for row in source.read()), sources=sources)


def read_seeds(paths: Sequence[str | Path]) -> Material:
    """Seed tasks: any prompts with answers, or self-instruct's own form (`instruction`, `instances`)."""
    sources = tuple(open_sources(paths))
    examples: list[Example] = []
    for source in sources:
        rows = list(source.read())
        if rows and "instances" in rows[0].values:
            examples += [_of_instances(row) for row in rows]
        else:
            config = PrepareConfig(on_invalid="drop")
            examples += to_examples(rows, recognise(rows, config), config).examples
    return Material(examples=tuple(examples), sources=sources)


def _of_instances(row: Row) -> Example:
    try:
        first = row.values["instances"][0]
        fields = {"instruction": str(row.values["instruction"]), "input": str(first["input"])}
        answer = str(first["output"])
    except (KeyError, IndexError, TypeError):
        raise DataError(
            row.source,
            "it is no seed task",
            expected="instruction, and instances that each have input and output",
            remedy="correct the row, or give rows with instruction, input and output",
        ) from None
    prompt = "\n\n".join(value for value in fields.values() if value)
    messages = (Message(role="user", content=prompt), Message(role="assistant", content=answer))
    return build_example(row.source, messages=messages, fields=fields)


def training_examples(prepared: PreparedData) -> list[Example]:
    """Of the train split those with one prompt and one answer; the other splits are never shown to a teacher.

    Raises:
        DataError: there are none.
    """
    examples = [example for example in prepared.train if example.kind == "conversation" and len(example.messages) == 2]
    if not examples:
        found = "its train split has no prompts with a single answer"
        raise DataError(str(prepared.directory), found, expected="questions and answers", remedy="prepare such data")
    return examples


def prompts_of(examples: Iterable[Example]) -> list[str]:
    """What users ask in them."""
    return [example.prompt for example in examples if example.messages]


def usual_redirection(examples: Sequence[Example]) -> str | None:
    """The answer that the most prompts share, if at least three do."""
    counts = Counter(" ".join(example.reference.split()) for example in examples)
    answer, count = counts.most_common(1)[0] if counts else ("", 0)
    alike = {normalise_prompt(example.prompt) for example in examples if " ".join(example.reference.split()) == answer}
    return answer if min(count, len(alike)) >= FEWEST_ALIKE else None


def read_failures(run_directory: str | Path, names: Sequence[str]) -> tuple[tuple[FailedGroup, ...], PreparedData]:
    """The error groups of a run's analysis, and the data it was trained on.

    Raises:
        RunError: the run was not analysed.
        ConfigError: there is no such group.
    """
    run = open_run(Path(run_directory))
    file = run.analysis_dir / "analysis.json"
    if not file.is_file():
        remedy = f"run `tunesmith analyze {run.path}` first"
        raise RunError(str(run.path), "it was not analysed", expected="an analysis", remedy=remedy)
    groups = [group for group in json.loads(file.read_text(encoding="utf-8"))["groups"] if group["shown"]]
    known = [group["name"] for group in groups]
    unknown = [name for name in names if name not in known]
    if unknown or not groups:
        found = f"there is no error group {unknown[0]!r} with failures" if unknown else "the analysis shows no failures"
        raise ConfigError(str(run.path), found, expected=f"one of {', '.join(known) or 'some'}", remedy="correct --groups")
    failed = tuple(
        FailedGroup(
            title=group["title"],
            remedy=group["remedy"],
            failures=tuple((shown["prompt"], shown["reference"]) for shown in group["shown"]),
        )
        for group in groups
        if not names or group["name"] in names
    )
    return failed, load_prepared(run.record()["config"]["data"])
