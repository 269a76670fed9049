"""What a recipe works on: passages, seeds, a prepared data set, an analysed run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import normalise_prompt, to_examples
from tunesmith.data.importers.seeds import IMPORTER as SEED_TASKS
from tunesmith.data.parsing.faults import require_whole
from tunesmith.data.reading.sources import Source, open_sources
from tunesmith.data.storing.prepared import PreparedData, load_prepared
from tunesmith.errors import ConfigError, DataError, RunError
from tunesmith.evaluate.records import ANSWERS, read_records
from tunesmith.runs import is_run, open_run
from tunesmith.synthesize.recipes.errors import FailedGroup
from tunesmith.types import Example, Row

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
    return Material(rows=tuple(require_whole(row) for source in sources for row in source.read()), sources=sources)


def read_seeds(paths: Sequence[str | Path]) -> Material:
    """Seed tasks: any prompts with answers, or self-instruct's own form (`instruction`, `instances`)."""
    sources = tuple(open_sources(paths))
    config = PrepareConfig(on_invalid="drop")
    examples: list[Example] = []
    for source in sources:
        rows = [require_whole(row) for row in source.read()]
        if source.kind == SEED_TASKS.description:  # one instance shows what a task is
            rows = list({row.group: row for row in reversed(rows)}.values())[::-1]
        examples += to_examples(rows, recognise(rows, config), config).examples
    return Material(examples=tuple(examples), sources=sources)


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
    """The error groups of an analysis, and the data it is about: a run's, or a directory that `analyze --model` wrote.

    Raises:
        RunError: the run was not analysed, or the analysis is of files that are not prepared.
        ConfigError: there is no such group.
    """
    place, file, answers, data = _analysis_of(Path(run_directory))
    if not file.is_file():
        remedy = f"run `tunesmith analyze {place}` first"
        raise RunError(str(place), "it was not analysed", expected="an analysis", remedy=remedy)
    document = json.loads(file.read_text(encoding="utf-8"))
    if (data := data or document.get("data")) is None:
        remedy = "prepare the files with `tunesmith prepare`, and analyze that with --model"
        raise RunError(str(place), "it is about files, not about a prepared data set", expected="prepared data", remedy=remedy)
    groups = [group for group in document["groups"] if group["members"]]
    known = [group["name"] for group in groups]
    unknown = [name for name in names if name not in known]
    if unknown or not groups:
        found = f"there is no error group {unknown[0]!r} with failures" if unknown else "the analysis shows no failures"
        raise ConfigError(str(place), found, expected=f"one of {', '.join(known) or 'some'}", remedy="correct --groups")
    asked = {record.id: (record.prompt, record.reference) for record in read_records(answers)}
    failed = tuple(
        FailedGroup(title=group["title"], remedy=group["remedy"], failures=tuple(asked[one] for one in group["members"]))
        for group in groups
        if not names or group["name"] in names
    )
    return failed, load_prepared(data)


class _Analysed(NamedTuple):
    """Where an analysis is, and what it is about."""

    place: Path
    file: Path
    answers: Path
    data: str | None


def _analysis_of(directory: Path) -> _Analysed:
    """Of a run, or of a model before any training."""
    if not is_run(directory) and (directory / "analysis.json").is_file():
        return _Analysed(directory, directory / "analysis.json", directory / ANSWERS, None)
    run = open_run(directory)
    return _Analysed(run.path, run.analysis_file, run.evaluation_records_file, str(run.record()["config"]["data"]))
