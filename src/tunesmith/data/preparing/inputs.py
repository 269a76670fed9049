"""What `prepare` is given -> sources with labels that tell them apart, before anything is read.

>>> inputs = open_inputs(["faq.csv"], None, PrepareConfig(test_file="exam.csv"))
>>> [source.label for source in inputs.sources], inputs.test_sources
(['faq.csv', 'exam.csv'], (1,))
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.config import PrepareConfig
from tunesmith.data.checks import CHECKS
from tunesmith.data.converting.repair import FIXES, require_known
from tunesmith.data.reading.sources import Source, open_sources
from tunesmith.errors import ConfigError, DataError
from tunesmith.types import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """All sources, those of the test file last."""

    sources: tuple[Source, ...]
    test_sources: tuple[int, ...] = ()
    """Numbers of those that are the test split."""


def open_inputs(
    paths: Sequence[str | Path] | str | Path | None, rows: Sequence[Row] | None, config: PrepareConfig, split: str | None = None
) -> Inputs:
    """Find everything that is to be read, and refuse names that are not known before it is.

    Raises:
        DataError: nothing is given, or it is not there, or given twice.
        ConfigError: a check or fix is named that is not there.
    """
    require_names(config)
    paths = [paths] if isinstance(paths, str | Path) else list(paths or ())
    if not paths and not rows:
        raise DataError("prepare", "no data is given", expected="at least one file, folder or hub id", remedy="name one")
    sources = _open(paths, config, split)
    if rows:
        sources.append(source_of_rows(rows))
    tests = [] if config.test_file is None else [_apart(one, sources) for one in _open([config.test_file], config, None)]
    return Inputs(sources=(*sources, *tests), test_sources=tuple(range(len(sources), len(sources) + len(tests))))


def require_names(config: PrepareConfig) -> None:
    """Refuse to drop or fix what is not known.

    Raises:
        ConfigError: listing what is.
    """
    require_known(config.drop, CHECKS, "--drop")
    require_known(config.fix, FIXES, "--fix")
    if "near-duplicates" in config.drop and config.near_threshold == 1:
        found = "--drop near-duplicates with --near-threshold 1"
        raise ConfigError("prepare", found, expected="a threshold below 1 to find them by", remedy="leave one out")


def _open(paths: Sequence[str | Path], config: PrepareConfig, split: str | None) -> list[Source]:
    how = {"encoding": config.encoding, "kind": config.kind, "assistant": config.assistant}
    return open_sources(paths, split=split, limit=config.limit, seed=config.seed, **how) if paths else []  # type: ignore[arg-type]


def source_of_rows(rows: Sequence[Row]) -> Source:
    """Rows that are in memory already."""
    labels = dict.fromkeys(re.sub(r"[#:]\d+$", "", row.source) for row in rows)
    label = next(iter(labels)) if len(labels) == 1 else f"{len(labels)} sources"
    return Source(label=label, path=label, read=lambda: iter(rows), kind="rows")


def _apart(test: Source, sources: Sequence[Source]) -> Source:
    """The test file under a label of its own."""
    for source in sources:
        if Path(source.path).resolve() == Path(test.path).resolve():
            raise DataError(test.path, "it is given twice", expected="a test file beside the other files", remedy="leave it out of FILES")
    return replace(test, label=f"{test.label} (test)") if test.label in {source.label for source in sources} else test
