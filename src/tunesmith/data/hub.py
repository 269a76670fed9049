"""Hugging Face data sets -> records: a folder in hub layout, a `save_to_disk` folder, or a data set of the hub.

    >>> read_data_set("../shared/data/eval/ai2_arc:ARC-Easy", split=None).note
    'took the split train of test, validation, train'

Only a hub id (`owner/name`) touches the network. Folders are read through a throw-away cache: nothing stays behind in the
user's home, and an edited file is never shadowed by a stale copy.
"""

from __future__ import annotations

import re
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.errors import AssetError, DataError, TunesmithError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILE_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".gz", ".zip")
"""`data/faq.jsonl` has the form of a hub id, yet who writes it means a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """The records of one split."""

    label: str
    """`ai2_arc:ARC-Easy/train`."""
    records: Sequence[dict[str, Any]]
    note: str
    """What was chosen for the user; empty when there was no choice."""


def read_data_set(source: str, split: str | None) -> DataSet | None:
    """Read the data set that `source` names; None when it is neither a folder nor a hub id.

    Raises:
        DataError: several configurations or splits and none chosen, or nothing in it that can be read.
        AssetError: the hub does not have it or cannot be reached.
    """
    for name, config in _readings(source):
        folder = Path(name)
        if folder.is_dir():
            return _read_saved(folder, split) if _is_saved(folder) else _read_folder(folder, config, split)
        if _is_hub_id(name):
            return _read_hub(name, config, split)
    return None


def _readings(source: str) -> Iterator[tuple[str, str | None]]:
    """`name:config`, unless a folder has a colon in its name."""
    name, colon, config = source.rpartition(":")
    if Path(source).is_dir() or not colon:
        yield source, None
    else:
        yield name, config


def _is_hub_id(name: str) -> bool:
    owner = Path(name).parts[0] if name else ""
    return bool(HUB_ID.fullmatch(name)) and not name.lower().endswith(FILE_SUFFIXES) and not Path(owner).is_dir()


def _is_saved(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def _read_saved(folder: Path, split: str | None) -> DataSet:
    import datasets

    label = folder.resolve().name
    with _failures_of(label, "a folder written by save_to_disk"):
        loaded = datasets.load_from_disk(str(folder))
        if not isinstance(loaded, datasets.DatasetDict):
            if split is not None:
                raise _no_split(label, split, [])
            return DataSet(label=label, records=loaded.to_list(), note="")
        chosen, note = choose_split(list(loaded), split, label)
        return DataSet(label=f"{label}/{chosen}", records=loaded[chosen].to_list(), note=note)


def _read_folder(folder: Path, config: str | None, split: str | None) -> DataSet:
    label = folder.resolve().name
    if (folder / "manifest.json").is_file() and (folder / "train.jsonl").is_file():
        raise DataError(
            label,
            "this folder was written by `tunesmith prepare`",
            expected="data that is not prepared yet",
            remedy="train on it as it is, or prepare again from the original files",
        )
    with _failures_of(label, "data files named by split, or a README.md that names them"), tempfile.TemporaryDirectory() as cache, _quiet():
        return _load(str(folder), label, config, split, cache_dir=cache, **_text_options(folder))


def _text_options(folder: Path) -> dict[str, str]:
    """A folder of texts alone: each file is one document. (The datasets library would make every line a row of its own.)"""
    suffixes = {file.suffix.lower() for file in folder.rglob("*") if file.is_file()} & set(FILE_SUFFIXES)
    return {"sample_by": "document"} if suffixes == {".txt"} else {}


def _read_hub(name: str, config: str | None, split: str | None) -> DataSet:
    try:
        return _load(name, name, config, split, cache_dir=None)
    except TunesmithError:
        raise
    except (OSError, ValueError) as error:
        raise AssetError(
            name,
            f"the data set could not be had from the hub ({_gist(error)})",
            expected="a data set of the Hugging Face hub and a connection to it",
            remedy="correct the name, log in if it is private, or give a local file",
        ) from None


def _load(name: str, label: str, config: str | None, split: str | None, *, cache_dir: str | None, **options: str) -> DataSet:
    import datasets

    config = _choose_config(datasets.get_dataset_config_names(name), config, name)
    label = label if config == "default" else f"{label}:{config}"
    splits = [str(one) for one in datasets.get_dataset_split_names(name, config)]
    chosen, note = choose_split(splits, split, label)
    loaded = datasets.load_dataset(name, config, split=chosen, cache_dir=cache_dir, **options)
    return DataSet(label=f"{label}/{chosen}", records=loaded.to_list(), note=note)


def _choose_config(configs: Sequence[str], wanted: str | None, name: str) -> str:
    if wanted is None and "default" in configs:
        return "default"
    if wanted is None and len(configs) == 1:
        return configs[0]
    if wanted in configs:
        return str(wanted)
    found = f"there is no configuration {wanted!r}" if wanted else "it has several configurations"
    raise DataError(name, found, expected=f"one of {', '.join(configs)}", remedy=f"name one, as in `{name}:{configs[0]}`")


def choose_split(splits: Sequence[str], wanted: str | None, label: str) -> tuple[str, str]:
    """The split to read, and a note where it was chosen for the user.

    Raises:
        DataError: the wanted split is not there, or there are several without a `train`.
    """
    if wanted is not None and wanted not in splits:
        raise _no_split(label, wanted, splits)
    if wanted is not None or len(splits) == 1:
        return wanted or splits[0], ""
    if "train" in splits:
        return "train", f"took the split train of {', '.join(splits)}"
    found = f"it has the splits {', '.join(splits)} and none is called train"
    raise DataError(label, found, expected="a chosen split", remedy="choose one with `--split NAME`")


def _no_split(label: str, wanted: str, splits: Sequence[str]) -> DataError:
    expected = f"one of {', '.join(splits)}" if splits else "no choice of split, for it has none"
    return DataError(label, f"there is no split {wanted!r}", expected=expected, remedy="correct `--split`")


@contextmanager
def _failures_of(label: str, expected: str) -> Iterator[None]:
    """Say what the datasets library met in a folder as a DataError."""
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    try:
        yield
    except TunesmithError:
        raise
    except (OSError, ValueError, DatasetsError) as error:
        # Itself says only that an error occurred; its subclasses say more than their causes.
        cause = error.__cause__ if type(error) is DatasetGenerationError else error
        found = f"the folder cannot be read ({_gist(cause)})"
        raise DataError(label, found, expected=expected, remedy="correct the folder") from None


def _gist(error: BaseException | None) -> str:
    return textwrap.shorten(str(error) or type(error).__name__, 300, placeholder=" …")


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars for files that are read in a blink."""
    import datasets

    already = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not already:
            datasets.enable_progress_bars()
