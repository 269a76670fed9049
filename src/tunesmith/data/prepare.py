"""Files -> a prepared directory, all of it or nothing.

>>> prepared = prepare(["lamini_docs.jsonl"], Path("prepared/lamini"), PrepareConfig(seed=123))
>>> print(prepared.summary())
read 1,400 rows from lamini_docs.jsonl: question -> prompt, answer -> completion (question/answer)
kept 1,395, removed 4 exact duplicates, dropped 1 row (1 blank row)
train 1,175, validation 67, test 153 (seed 123)
test against training: 0 of 154 prompts the same, 0 nearly the same; 38 share a run of 13 words, 3 most of their runs

Everything streams: the examples lie in a file of the directory in the making, and in memory are facts about them alone (`facts.py`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tunesmith.config import PrepareConfig
from tunesmith.data.checks.leakage import Leakage, measure_leakage
from tunesmith.data.checks.page import render_page
from tunesmith.data.comparing.near import THRESHOLD
from tunesmith.data.converting.review import REVIEWED, ReviewTable
from tunesmith.data.preparing.gather import Gathered, Ledger, gather
from tunesmith.data.preparing.inputs import Inputs, open_inputs
from tunesmith.data.preparing.report import Outcome, counts, full_report, source_record, summary_lines
from tunesmith.data.preparing.selection import (
    DUPLICATE,
    Selection,
    cluster,
    drop_flagged,
    flagged_by,
    remove_exact_duplicates,
    repeats,
    split_clusters,
    split_into_folds,
    with_findings,
)
from tunesmith.data.splitting.passages import divide_into, should_divide
from tunesmith.data.splitting.split import FREE, TEST, TRAIN, Sides
from tunesmith.data.storing.directory import new_directory
from tunesmith.data.storing.prepared import MANIFEST, PAGE, REPORT, SCHEMA_VERSION, SPLIT_NAMES, PreparedData
from tunesmith.data.storing.store import open_examples, write_lines
from tunesmith.errors import ConfigError
from tunesmith.files import write_json, write_text
from tunesmith.types import Row
from tunesmith.workers import Workers

NEAR_APART = "nearly all prompts are nearly the same, so near duplicates are on several sides: what the test measures is partly memory"
SPOOL, PASSAGES = "examples.spool", "passages.spool"
"""In the directory while it is made."""


def prepare(
    sources: Sequence[str | Path] | str | Path | None,
    out: Path,
    config: PrepareConfig,
    *,
    rows: Sequence[Row] | None = None,
    split: str | None = None,
    review: Path | None = None,
    review_all: bool = False,
    processes: int | None = None,
) -> PreparedData:
    """Read, validate, repair, check, deduplicate and split; write the directory `out`, which appears whole or not at all.

    Each source has its own layout.

    Args:
        sources: files, folders, patterns, archives, hub ids.
        out: the directory to write.
        config: how.
        rows: one more source.
        split: chooses among the splits of a data set.
        review: a table of decisions to carry out; written, with the flagged examples, when there is none yet.
        review_all: all examples go into that table, not the flagged ones alone.
        processes: to share the work among when there is much of it; None: as many as there are cores, at most eight.

    Raises:
        DataError: a source, row, split or table cannot be used as it is, or `out` is taken.
        ConfigError: a check, fix or source is named that is not there.
        AssetError: a hub data set cannot be had.
    """
    out = Path(out)
    inputs = open_inputs(sources, rows, config, split)
    table = None if review is None else ReviewTable(Path(review), everything=review_all)
    with new_directory(out) as staging, Workers(processes) as workers, Ledger(staging) as ledger:
        chosen = _choose(inputs, config, staging, workers, ledger, table)
        manifest = _write(staging, _outcome(chosen, config, staging, ledger, workers), config, str(out))
        _remove_spools(staging, chosen)
    return _opened(out, manifest)


def prepare_folds(
    sources: Sequence[str | Path] | str | Path | None,
    out: Path,
    config: PrepareConfig,
    *,
    num_folds: int,
    rows: Sequence[Row] | None = None,
    split: str | None = None,
    review: Path | None = None,
    review_all: bool = False,
    processes: int | None = None,
) -> tuple[PreparedData, ...]:
    """As `prepare`, but into `out`/fold-1 to fold-K, each a prepared directory: every example tests in exactly one of them.

    Raises:
        ConfigError: fewer than two folds, or another setting decides the test split.
        DataError: as `prepare`, or a fold would be empty.
    """
    out = Path(out)
    _require_foldable(config, num_folds)
    inputs = open_inputs(sources, rows, config, split)
    table = None if review is None else ReviewTable(Path(review), everything=review_all)
    manifests = []
    with new_directory(out) as staging, Workers(processes) as workers, Ledger(staging) as ledger:
        chosen = _choose(inputs, config, staging, workers, ledger, table)
        clustered = cluster(chosen.selection, config, ledger)
        for number, sides in enumerate(split_into_folds(clustered, config, num_folds), start=1):
            (staging / f"fold-{number}").mkdir()
            outcome = _with_sides(chosen, sides, config, ledger, workers)
            remarks = (*outcome.remarks, f"fold {number} of {num_folds}: its test split is no other fold's")
            manifests.append(_write(staging / f"fold-{number}", replace(outcome, remarks=remarks), config, f"{out}, fold {number}"))
        _remove_spools(staging, chosen)
    return tuple(_opened(out / f"fold-{number}", manifest) for number, manifest in enumerate(manifests, start=1))


def _require_foldable(config: PrepareConfig, num_folds: int) -> None:
    if num_folds < 2:
        raise ConfigError("--folds", str(num_folds), expected="2 or more", remedy="correct it")
    for name in ("time_key", "test_file", "like"):
        if getattr(config, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError("prepare", f"--folds and {option}", expected="one of them", remedy=f"leave {option} out")
    if config.weights:
        raise ConfigError("prepare", "--folds and --weight", expected="one of them", remedy="leave --weight out")


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """What is kept, and what happened until then."""

    gathered: Gathered
    selection: Selection
    remarks: tuple[str, ...]


def _choose(inputs: Inputs, config: PrepareConfig, staging: Path, workers: Workers, ledger: Ledger, table: ReviewTable | None) -> _Chosen:
    """Read everything, look at it, leave out what is to be left out."""
    gathered = gather(inputs.sources, config, staging / SPOOL, workers, ledger, {} if table is None else table.decisions)
    if table is not None:
        table.require_some(len(gathered.facts), ledger.removed[REVIEWED])
    selection = remove_exact_duplicates(gathered, inputs.test_sources, ledger)
    selection = with_findings(selection, config, workers)
    remarks = []
    if table is not None:
        table.offer(selection.examples, selection.facts, selection.kept.tolist(), flagged_by(selection))
        remarks.append(table.remark(gathered.reviewed))
    return _Chosen(gathered=gathered, selection=drop_flagged(selection, config.drop, ledger), remarks=tuple(remarks))


def _outcome(chosen: _Chosen, config: PrepareConfig, staging: Path, ledger: Ledger, workers: Workers) -> Outcome:
    """Split: whole examples, or the few long documents there are into passages."""
    documents = chosen.selection.kept_examples()
    if not should_divide(documents, config):
        clustered = cluster(chosen.selection, config, ledger)
        outcome = _with_sides(chosen, split_clusters(clustered, config), config, ledger, workers)
        return replace(outcome, remarks=(*outcome.remarks, NEAR_APART)) if clustered.ignores_near else outcome
    selection = chosen.selection
    sources = selection.facts["source"][selection.is_kept].tolist()
    divided = divide_into(staging / PASSAGES, documents, sources, config)
    passages = replace(selection, examples=divided.examples, facts=divided.facts, is_kept=np.ones(len(divided.facts), bool), near=())
    outcome = _with_sides(replace(chosen, selection=passages), divided.sides, config, ledger, workers)
    return replace(outcome, divided=tuple(document.source for document in documents))


def _with_sides(chosen: _Chosen, sides: Sides, config: PrepareConfig, ledger: Ledger, workers: Workers) -> Outcome:
    selection = chosen.selection
    times = repeats(selection.facts, [one.label for one in chosen.gathered.sources], config)
    unused = (sides == TRAIN) & (times == 0)
    ledger.remove({"source": example.source, "reason": "weight"} for example in selection.examples.select(unused))
    sides = np.where(unused, np.int8(FREE), sides)
    if not (sides == TRAIN).any():
        raise ConfigError("--weight", "no example is left to train on", expected="larger weights", remedy="raise them")
    sizes = {name: int(np.sum(sides == side) if side else times[sides == side].sum()) for side, name in enumerate(SPLIT_NAMES)}
    return Outcome(
        sources=chosen.gathered.sources,
        examples=selection.examples,
        facts=selection.facts,
        sides=sides,
        repeats=times,
        duplicates=ledger.shown.get(DUPLICATE, ()),
        num_duplicates=ledger.removed[DUPLICATE],
        removed={reason: number for reason, number in ledger.removed.items() if reason != DUPLICATE},
        changed=dict(ledger.changed),
        findings=selection.findings,
        leakage=_leakage(selection, sides, config, workers),
        remarks=chosen.remarks,
        split_sizes=sizes,
    )


def _leakage(selection: Selection, sides: Sides, config: PrepareConfig, workers: Workers) -> Leakage | None:
    """How much of the test split stands in the training split; None without one, and with `checks` switched off.

    Near prompts are looked for where the split did not keep them on one side.
    """
    if config.checks == "none":
        return None
    test = selection.examples.select(sides == TEST)
    train = selection.examples.select(sides == TRAIN)
    threshold = THRESHOLD if config.near_threshold == 1 else config.near_threshold
    are_apart = bool(selection.near) and not np.intersect1d(selection.near[0][sides == TEST], selection.near[0][sides == TRAIN]).size
    return measure_leakage(train, test, threshold=threshold, are_apart=are_apart, workers=workers) if len(test) else None


def _write(directory: Path, outcome: Outcome, config: PrepareConfig, title: str) -> dict[str, Any]:
    """Write the files, the manifest last; return the manifest."""
    splits = {}
    for side, name in enumerate(SPLIT_NAMES):
        file = directory / f"{name}.jsonl"
        sha256 = write_lines(file, _lines(outcome, side))
        splits[name] = {"file": file.name, "examples": outcome.split_sizes[name], "sha256": sha256}
    report = full_report(outcome, config)
    write_json(directory / REPORT, report)
    write_text(directory / PAGE, render_page(report, title=title))
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "tunesmith": metadata.version("tunesmith"),
        "summary": summary_lines(outcome, config),
        "sources": [source_record(one) for one in outcome.sources],
        "layout": "; ".join(dict.fromkeys(str(one.layout) for one in outcome.sources)),
        "kind": outcome.kind,
        "settings": config.model_dump(mode="json"),
        "counts": counts(outcome),
        "splits": splits,
        "fingerprint": hashlib.sha256("".join(str(one["sha256"]) for one in splits.values()).encode()).hexdigest(),
    }
    write_json(directory / MANIFEST, manifest)
    return manifest


def _lines(outcome: Outcome, side: int) -> Iterator[bytes]:
    positions = np.flatnonzero(outcome.sides == side)
    if side == TRAIN and outcome.repeats is not None:
        positions = np.repeat(positions, outcome.repeats[positions])
    return outcome.examples.select(positions).lines()


def _remove_spools(staging: Path, chosen: _Chosen) -> None:
    chosen.gathered.examples.close()
    for name in (SPOOL, PASSAGES):
        (staging / name).unlink(missing_ok=True)


def _opened(directory: Path, manifest: Mapping[str, Any]) -> PreparedData:
    splits = {name: open_examples(directory / f"{name}.jsonl")[0] for name in SPLIT_NAMES}
    return PreparedData(directory=directory, manifest=manifest, **splits)
