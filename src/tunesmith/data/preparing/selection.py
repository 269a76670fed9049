"""From all examples to those that are kept, each on its side: duplicates, checks, drops, clusters, split.

Works on facts and positions; the examples themselves are read from the disk where they are looked at.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.config import PrepareConfig
from tunesmith.data.checks import CheckContext, Finding
from tunesmith.data.checks.registry import prepare_checks
from tunesmith.data.checks.run import look_at
from tunesmith.data.comparing.near import near_clusters
from tunesmith.data.comparing.neighbours import asked
from tunesmith.data.comparing.shingles import COMMON_SAMPLE, mix
from tunesmith.data.converting.facts import Facts, first_of_each
from tunesmith.data.preparing.gather import Gathered, Ledger
from tunesmith.data.reading.benchmarks import find_suites
from tunesmith.data.splitting.clusters import unite
from tunesmith.data.splitting.split import FREE, TEST, TRAIN, VALIDATION, Sides, Wanted, assign_folds, assign_sides
from tunesmith.data.storing.prepared import load_prepared
from tunesmith.data.storing.store import StoredExamples
from tunesmith.errors import ConfigError, DataError
from tunesmith.workers import Workers

Mask = NDArray[np.bool_]
Positions = NDArray[np.int64]

DUPLICATE = "exact duplicate"
IN_TEST_FILE = "nearly the same as a test example"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """All examples that were read, and which of them are still there."""

    examples: StoredExamples
    facts: Facts
    is_kept: Mask
    is_test_file: Mask
    findings: tuple[Finding, ...] = ()
    """Of the examples without exact duplicates, in their order."""
    near: tuple[Positions, ...] = ()
    """Each (all examples,): numbers from 1, equal for examples whose prompts, or whose whole texts, are nearly the same; 0 for those that
    are not there."""

    @property
    def kept(self) -> Positions:
        return np.flatnonzero(self.is_kept)

    def kept_examples(self) -> StoredExamples:
        return self.examples.select(self.kept)

    def without(self, positions: Iterable[int] | Positions) -> Selection:
        """With these left out."""
        is_kept = self.is_kept.copy()
        is_kept[np.fromiter(positions, np.int64)] = False
        return replace(self, is_kept=is_kept)


def remove_exact_duplicates(gathered: Gathered, test_sources: Sequence[int], ledger: Ledger) -> Selection:
    """Keep the first of examples that are equal but for spacing, that of the test file (by its sources' numbers) before others."""
    facts = gathered.facts
    is_test_file = np.isin(facts["source"], test_sources)
    order = np.argsort(~is_test_file, kind="stable")
    first = np.empty(len(facts), np.int64)
    first[order] = order[first_of_each(facts["said"][order], facts["said_too"][order])]
    again = np.flatnonzero(first != np.arange(len(first)))
    pairs = zip(sources_of(gathered.examples, again), sources_of(gathered.examples, first[again]), strict=True)
    ledger.remove({"source": source, "reason": DUPLICATE, "duplicate_of": kept} for source, kept in pairs)
    selection = Selection(examples=gathered.examples, facts=facts, is_kept=np.ones(len(facts), bool), is_test_file=is_test_file)
    return selection.without(again)


def sources_of(examples: StoredExamples, positions: Positions) -> Iterator[str]:
    """Where these examples came from."""
    return (record["source"] for record in examples.select(positions).records())


def with_findings(selection: Selection, config: PrepareConfig, workers: Workers) -> Selection:
    """Looked at by all checks that `prepare` runs or that are to be dropped by, and for near duplicates."""
    wanted = prepare_checks() if config.checks == "default" else ()
    names = list(dict.fromkeys((*wanted, *config.drop)))
    if not names and config.near_threshold == 1:
        return selection
    context = CheckContext(
        threshold=config.near_threshold,
        drops=frozenset(config.drop),
        fixes=frozenset(config.fix),
        seed=config.seed,
        benchmarks=find_suites(config.against),
    )
    found = look_at(
        selection.kept_examples(),
        names,
        workers,
        context=context,
        wants_near=config.near_threshold < 1,
        sample=np.argsort(selection.facts["said"][selection.is_kept], kind="stable")[:COMMON_SAMPLE],
    )
    near = () if found.near is None else tuple(_spread(1 + numbers, selection) for numbers in found.near)
    return replace(selection, findings=tuple(found.findings), near=near)


def _spread(numbers: Positions, selection: Selection) -> Positions:
    """Of the kept examples -> of all, 0 elsewhere."""
    everywhere = np.zeros(len(selection.facts), np.int64)
    everywhere[selection.kept] = numbers
    return everywhere


def flagged_by(selection: Selection) -> dict[int, list[str]]:
    """Names of the checks that flagged an example, by its position among all."""
    kept, found = selection.kept, dict[int, list[str]]()
    for finding in selection.findings:
        for position in kept[np.array(finding.flagged, np.int64)].tolist():
            found.setdefault(position, []).append(finding.check)
    return found


def drop_flagged(selection: Selection, names: Collection[str], ledger: Ledger) -> Selection:
    """Without the examples that these checks flagged; of near duplicates the first stays."""
    looked_at = selection.kept
    for name in names:
        dropped = np.flatnonzero(_flagged(selection, looked_at, name) & selection.is_kept & ~selection.is_test_file)
        ledger.remove({"source": source, "reason": name} for source in sources_of(selection.examples, dropped))
        selection = selection.without(dropped)
    if not selection.is_kept.any():
        found = f"--drop {','.join(names)} leaves none of {len(looked_at):,} examples"
        raise DataError("prepare", found, expected="at least one", remedy="drop less")
    return selection


def _flagged(selection: Selection, looked_at: Positions, name: str) -> Mask:
    flagged = np.zeros(len(selection.is_kept), bool)
    for finding in selection.findings:
        if finding.check == name:
            flagged[looked_at[np.array(finding.flagged, np.int64)]] = True
    return flagged


@dataclass(frozen=True, kw_only=True, slots=True)
class Clustered:
    """The kept examples with what must stay together."""

    selection: Selection
    numbers: Positions
    """(kept,) the cluster of each."""
    fixed: Sides
    """(kept,) sides that are decided, FREE elsewhere."""
    ignores_near: bool = False
    """Were near duplicates split apart, because keeping them together would leave nothing to hold out?"""


def cluster(selection: Selection, config: PrepareConfig, ledger: Ledger) -> Clustered:
    """Equal prompts, groups and near duplicates together; sides taken over from `like` and from the test file.

    What belongs with an example of the test file is left out.
    """
    facts = selection.facts[selection.is_kept]
    labelings: list[NDArray[Any]] = [facts["prompt"], facts["group"], *(near[selection.is_kept] for near in selection.near)]
    fixed = np.full(len(facts), FREE, np.int8)
    ignores_near = False
    if config.like is not None:
        numbers, fixed = _like(selection, labelings, Path(config.like), config)
    else:
        numbers = unite(labelings)
        if config.test_file is None and numbers.max() + 1 < _wanted(config).num_sides(len(facts)) <= len(np.unique(facts["prompt"])):
            numbers, ignores_near = unite(labelings[:2]), True
    is_test_file = selection.is_test_file[selection.is_kept]
    leaves = np.isin(numbers, numbers[is_test_file]) & ~is_test_file
    fixed[is_test_file] = TEST
    leaving = selection.kept[leaves]
    ledger.remove({"source": source, "reason": IN_TEST_FILE} for source in sources_of(selection.examples, leaving))
    return Clustered(selection=selection.without(leaving), numbers=numbers[~leaves], fixed=fixed[~leaves], ignores_near=ignores_near)


def _like(selection: Selection, labelings: Sequence[NDArray[Any]], directory: Path, config: PrepareConfig) -> tuple[Positions, Sides]:
    """Clusters together with an earlier set's examples, and the side that each kept example takes over from it."""
    earlier = load_prepared(directory)
    parts = (earlier.train, earlier.validation, earlier.test)
    prompts = np.array([int(example.group, 16) for part in parts for example in part], np.uint64)
    sides = np.repeat(np.array([TRAIN, VALIDATION, TEST], np.int8), [len(part) for part in parts])
    new = len(labelings[0])
    extended = [np.concatenate([labels, np.zeros(len(prompts), labels.dtype)]) for labels in labelings[1:]]
    if config.near_threshold < 1:
        asked_of_all = (asked(example) for part in (selection.kept_examples(), *parts) for example in part)
        extended.append(1 + near_clusters(asked_of_all, threshold=config.near_threshold))
    numbers = unite([np.concatenate([labelings[0], prompts]), *extended])
    fixed = np.full(new, FREE, np.int8)
    for side in (TRAIN, VALIDATION, TEST):  # the last one wins
        fixed[np.isin(numbers[:new], numbers[new:][sides == side])] = side
    for side in (TRAIN, VALIDATION, TEST):
        fixed[np.isin(labelings[0], prompts[sides == side])] = side
    return numbers[:new], fixed


def split_clusters(clustered: Clustered, config: PrepareConfig) -> Sides:
    """(all examples,) the side of each; FREE where it was left out.

    Raises:
        DataError: nothing would be left to train on.
    """
    selection = clustered.selection
    facts = selection.facts[selection.is_kept]
    wanted = _wanted(config)
    sides = np.full(len(selection.is_kept), FREE, np.int8)
    sides[selection.is_kept] = assign_sides(
        clustered.numbers,
        facts["prompt"],
        wanted,
        fixed=clustered.fixed if (clustered.fixed != FREE).any() else None,
        strata=facts["stratum"] if config.stratify_key else None,
        times=facts["time"] if config.time_key else None,
    )
    return sides


def _wanted(config: PrepareConfig) -> Wanted:
    """What to hold out by hash; of a fixed test file nothing more is tested."""
    test_fraction = 0.0 if config.test_file else config.test_fraction
    return Wanted(test_fraction=test_fraction, validation_fraction=config.validation_fraction, seed=config.seed)


def split_into_folds(clustered: Clustered, config: PrepareConfig, num_folds: int) -> Iterator[Sides]:
    """(all examples,) for each fold: its test examples, and the rest to validate and to train.

    Raises:
        DataError: a fold would be empty.
    """
    facts = clustered.selection.facts[clustered.selection.is_kept]
    strata = facts["stratum"] if config.stratify_key else None
    folds = assign_folds(clustered.numbers, facts["prompt"], num_folds, config.seed, strata=strata)
    wanted = Wanted(test_fraction=0, validation_fraction=config.validation_fraction, seed=config.seed + 1)
    for fold in range(num_folds):
        rest = folds != fold
        kept = np.full(len(facts), TEST, np.int8)
        its_strata = None if strata is None else strata[rest]
        kept[rest] = assign_sides(clustered.numbers[rest], facts["prompt"][rest], wanted, strata=its_strata)
        sides = np.full(len(clustered.selection.is_kept), FREE, np.int8)
        sides[clustered.selection.is_kept] = kept
        yield sides


def repeats(facts: Facts, labels: Sequence[str], config: PrepareConfig) -> Positions:
    """(examples,) how often each is written if it trains, by the weight of its source; the part after the point by hash.

    Raises:
        ConfigError: a weight names no source.
    """
    weight = np.ones(len(labels))
    for pattern, value in config.weights.items():
        named = [number for number, label in enumerate(labels) if label == pattern or fnmatch.fnmatchcase(label, pattern)]
        if not named:
            raise ConfigError(
                "--weight", f"no source is called {pattern}", expected=f"one of {', '.join(labels)}", remedy="correct the name"
            )
        weight[named] = value
    wanted = weight[facts["source"]]
    whole = np.floor(wanted)
    share = mix(facts["read_id"] ^ mix(np.full(len(facts), (config.seed + 1) % 2**64, np.uint64))) / 2.0**64
    return np.asarray(whole + (share < wanted - whole), np.int64)
