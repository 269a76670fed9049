"""Rows -> a prepared directory, all of it or nothing.

>>> prepared = prepare(["lamini_docs.jsonl"], Path("prepared/lamini"), PrepareConfig(seed=123))
>>> print(prepared.summary())
read 1,400 rows from lamini_docs.jsonl: question -> prompt, answer -> completion (question/answer)
kept 1,395, removed 4 exact duplicates, dropped 1 row (1 blank row)
train 1,185, validation 70, test 140 (seed 123)
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tunesmith.config import PrepareConfig
from tunesmith.data.columns import recognise
from tunesmith.data.examples import Invalid, to_examples
from tunesmith.data.passages import divide, should_divide
from tunesmith.data.prepared import MANIFEST, REPORT, SCHEMA_VERSION, SPLIT_NAMES, PreparedData, example_to_record, file_sha256
from tunesmith.data.readers import SourceRows, printable, read_source
from tunesmith.data.report import Outcome, ReadSource, counts, full_report, source_record, summary_lines
from tunesmith.data.split import remove_duplicates, split_examples
from tunesmith.errors import DataError
from tunesmith.files import atomic_directory, write_json, write_json_lines
from tunesmith.types import Example, ExampleKind, Row


def prepare(
    sources: Sequence[str | Path] | None,
    out: Path,
    config: PrepareConfig,
    *,
    rows: Sequence[Row] | None = None,
    split: str | None = None,
) -> PreparedData:
    """Read, validate, deduplicate and split; write the directory `out`, which appears whole or not at all.

    Each source has its own layout. `rows` are taken as one more source; `split` chooses among the splits of a data set.

    Raises:
        DataError: a source, row or split cannot be used as it is, or `out` is taken.
        AssetError: a hub data set cannot be had.
    """
    out = Path(out)
    _require_free(out)
    outcome = _go_through(_read_all(sources, rows, config, split), config)
    try:
        if out.is_dir():
            out.rmdir()  # empty, as was made sure of; a rename onto it would fail on Windows
        with atomic_directory(out) as staging:
            manifest = _write(staging, outcome, config)
    except FileExistsError:
        raise _taken(out) from None
    except OSError as error:
        found = f"it cannot be written ({error.strerror})"
        raise DataError(str(out), found, expected="a place with room that can be written", remedy="choose another --out") from error
    parts = outcome.splits
    return PreparedData(directory=out, train=parts.train, validation=parts.validation, test=parts.test, manifest=manifest)


def _require_free(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise _taken(out)


def _taken(out: Path) -> DataError:
    return DataError(str(out), "it exists already and is never overwritten", expected="a new directory", remedy="choose another --out")


def _read_all(
    sources: Sequence[str | Path] | None, rows: Sequence[Row] | None, config: PrepareConfig, split: str | None
) -> list[SourceRows]:
    paths = [sources] if isinstance(sources, str | Path) else list(sources or ())
    if not paths and not rows:
        raise DataError("prepare", "no data is given", expected="at least one file, folder or hub id", remedy="name one")
    twice = [path for path, count in Counter(Path(path).resolve() for path in paths).items() if count > 1]
    if twice:
        raise DataError(str(twice[0]), "it is given twice", expected="each source once", remedy="leave one out")
    names = Counter(Path(path).name for path in paths)
    read = []
    for path in paths:
        label = printable(Path(path).as_posix()) if names[Path(path).name] > 1 else None
        read.append(read_source(path, encoding=config.encoding, split=split, label=label))
    if rows:
        labels = dict.fromkeys(re.sub(r"[#:]\d+$", "", row.source) for row in rows)
        label = next(iter(labels)) if len(labels) == 1 else f"{len(labels)} sources"
        read.append(SourceRows(label=label, rows=tuple(rows), path=label))
    return read


def _go_through(sources: Sequence[SourceRows], config: PrepareConfig) -> Outcome:
    """Everything between reading and writing, in memory."""
    sampled = _sample([len(source.rows) for source in sources], config)
    examples: list[Example] = []
    invalid: list[Invalid] = []
    used = []
    kinds: dict[ExampleKind, str] = {}
    for number, source in enumerate(sources):
        layout = recognise(source.rows, config)
        chosen = [source.rows[position] for position in sampled[number]]
        used.append(ReadSource(source=source, layout=layout, num_used=len(chosen)))
        if chosen:
            result = to_examples(chosen, layout, config)
            examples += result.examples
            invalid += result.invalid
            kinds.setdefault(result.examples[0].kind, source.label)
    _refuse_mixture(kinds)
    kept = remove_duplicates(examples)
    if should_divide(kept.examples, config):
        splits, divided = divide(kept.examples, config), tuple(document.source for document in kept.examples)
    else:
        splits, divided = split_examples(kept.examples, config.test_fraction, config.validation_fraction, config.seed), ()
    return Outcome(sources=used, invalid=invalid, duplicates=kept.duplicates, splits=splits, divided=divided)


KIND_WORDS: Mapping[ExampleKind, str] = {
    "text": "raw text",
    "conversation": "prompts with one answer",
    "pair": "preference pairs",
    "judged": "judged answers",
}


def _refuse_mixture(kinds: Mapping[ExampleKind, str]) -> None:
    """A set of preferences holds nothing else: no objective trains on both. (`kinds`: each with a source that has it.)"""
    if len(kinds) > 1 and kinds.keys() & {"pair", "judged"}:
        found = ", ".join(f"{label} holds {KIND_WORDS[kind]}" for kind, label in kinds.items())
        raise DataError("prepare", found, expected="data of one kind", remedy="prepare each kind into a directory of its own")


def _sample(sizes: Sequence[int], config: PrepareConfig) -> list[list[int]]:
    """For each source the positions of the rows to use, in order: all, or `limit` of all sources' rows together."""
    rows = [(number, position) for number, size in enumerate(sizes) for position in range(size)]
    if config.limit is not None and config.limit < len(rows):
        # By hash, like the split: the same choice under every version of Python.
        rows = sorted(rows, key=lambda row: hashlib.sha256(f"{config.seed}:{row[0]}:{row[1]}".encode()).digest())[: config.limit]
    return [sorted(position for source, position in rows if source == number) for number in range(len(sizes))]


def _write(directory: Path, outcome: Outcome, config: PrepareConfig) -> dict[str, Any]:
    """Write the five files, the manifest last; return the manifest."""
    splits = {}
    for name in SPLIT_NAMES:
        examples: Sequence[Example] = getattr(outcome.splits, name)
        file = directory / f"{name}.jsonl"
        write_json_lines(file, (example_to_record(example) for example in examples))
        splits[name] = {"file": file.name, "examples": len(examples), "sha256": file_sha256(file)}
    write_json(directory / REPORT, full_report(outcome, config))
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "tunesmith": metadata.version("tunesmith"),
        "summary": summary_lines(outcome, config),
        "sources": [source_record(one) for one in outcome.sources],
        "layout": "; ".join(dict.fromkeys(str(one.layout) for one in outcome.sources)),
        "kind": outcome.splits.train[0].kind,
        "settings": config.model_dump(),
        "counts": counts(outcome),
        "splits": splits,
        "fingerprint": hashlib.sha256("".join(str(one["sha256"]) for one in splits.values()).encode()).hexdigest(),
    }
    write_json(directory / MANIFEST, manifest)
    return manifest
