"""Hugging Face data sets -> records: a folder in hub layout, a `save_to_disk` folder, or a data set of the hub.

    >>> read_data_set("../shared/data/eval/ai2_arc:ARC-Easy", split=None).note
    'took the split train of test, validation, train'

Only a hub id (`owner/name`) touches the network. Folders are read through a throw-away cache: nothing stays behind in the
user's home, and an edited file is never shadowed by a stale copy. Records come from disk in batches, numbers of classes as their names.
With a limit, a data set of the hub is not downloaded whole: a seeded sample is drawn from its stream.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.data.parsing.archives import TemporaryFolder
from tunesmith.data.parsing.formats import BATCH_ROWS, format_of, with_names
from tunesmith.data.reading.cards import require_hub_inside, require_inside, require_saved_inside
from tunesmith.data.reading.splits import choose_split, no_split
from tunesmith.errors import AssetError, DataError, TunesmithError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FILE_SUFFIXES = (
    *(".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md", ".html", ".pdf", ".docx"),
    *(".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz"),
)
"""`data/faq.jsonl` has the form of a hub id, yet who writes it means a file."""
SHARD_KINDS = ("JSON Lines", "Parquet")
SHUFFLE_BUFFER = 10_000
"""Records a sample of a stream is drawn from at a time; the parts of the data set are shuffled whole besides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSet:
    """The records of one split."""

    label: str
    """`ai2_arc:ARC-Easy/train`."""
    records: Callable[[], Iterator[dict[str, Any]]]
    """Reads them anew each time, in batches."""
    note: str
    """What was chosen for the user; empty when there was no choice."""
    shards: tuple[tuple[str, str, Path], ...] = ()
    """Of a folder whose split is several files of rows: its name, each file's path inside, the file. They are better read as they
    lie: without a copy on the disk, and with places that say which file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Which of a data set's records are wanted."""

    split: str | None = None
    """None takes the only one, or `train`."""
    limit: int | None = None
    """At most this many of a data set of the hub; None takes all."""
    seed: int = 0


def read_data_set(source: str, choice: Choice) -> DataSet | None:
    """Find the data set that `source` names; None when it is neither a folder nor a hub id.

    Raises:
        DataError: several configurations or splits and none chosen, or nothing in it that can be read.
        AssetError: the hub does not have it or cannot be reached.
    """
    for name, config in _readings(source):
        folder = Path(name)
        if folder.is_dir():
            return _read_saved(folder, choice) if is_saved(folder) else _read_folder(folder, config, choice)
        if _is_hub_id(name):
            return read_hub(name, config, choice)
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


def is_saved(folder: Path) -> bool:
    """Was it written by the datasets library's save_to_disk?"""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def refuse_prepared(folder: Path) -> None:
    """Raises DataError for a folder that holds what is prepared already."""
    if (folder / "manifest.json").is_file() and (folder / "train.jsonl").is_file():
        raise DataError(
            folder.resolve().name,
            "this folder was written by `tunesmith prepare`",
            expected="data that is not prepared yet",
            remedy="train on it as it is, or prepare again from the original files",
        )


def _read_saved(folder: Path, choice: Choice) -> DataSet:
    import datasets

    label, expected = folder.resolve().name, "a folder written by save_to_disk"
    with _failures_of(label, expected):
        require_saved_inside(folder, label)
        loaded = datasets.load_from_disk(str(folder))
        if not isinstance(loaded, datasets.DatasetDict):
            if choice.split is not None:
                raise no_split(label, choice.split, [])
            return DataSet(label=label, records=_stored(loaded, label, expected), note="")
        chosen, note = choose_split(list(loaded), choice.split, label)
        return DataSet(label=f"{label}/{chosen}", records=_stored(loaded[chosen], label, expected), note=note)


def _read_folder(folder: Path, config: str | None, choice: Choice) -> DataSet:
    refuse_prepared(folder)
    label, expected = folder.resolve().name, "data files named by split, or a README.md that names them"
    with TemporaryFolder() as cache, _failures_of(label, expected), _quiet():
        require_inside(folder, label)
        found = _find(str(folder), label, config, choice, cache_dir=str(cache.path))
        if len(shards := _shards(found, folder)) > 1:
            of_folder = tuple((label, file, folder / file) for file in shards)
            return DataSet(label=found.label, records=lambda: iter(()), note=found.note, shards=of_folder)
        loaded = found.load(**_text_options(folder))
    return DataSet(label=found.label, records=_stored(loaded, label, expected, keep=cache), note=found.note)


def _shards(found: _Found, folder: Path) -> list[str]:
    """The split's files by their paths inside, in order, if our own reader makes the same rows of each; else none."""
    import datasets

    folder = folder.resolve()  # as the datasets library has it in the paths of files
    builder = datasets.load_dataset_builder(found.name, found.config, **found.place)
    files = sorted(Path(str(file)) for file in (builder.config.data_files or {}).get(found.split, ()))
    is_plain = all(file.is_relative_to(folder) and (one := format_of(file)) and one.kind in SHARD_KINDS for file in files)
    features = (builder.info.features or {}).values()
    if not is_plain or any(isinstance(feature, datasets.ClassLabel) for feature in features):
        return []
    return [file.relative_to(folder).as_posix() for file in files]


def _text_options(folder: Path) -> dict[str, str]:
    """A folder of texts alone: each file is one document. (The datasets library would make every line a row of its own.)"""
    suffixes = {file.suffix.lower() for file in folder.rglob("*") if file.is_file()} & set(FILE_SUFFIXES) - {".md"}
    return {"sample_by": "document"} if suffixes == {".txt"} else {}


def read_hub(name: str, config: str | None, choice: Choice) -> DataSet:
    """A data set of the hub: downloaded to the user's cache, or with a limit sampled from its stream.

    Raises:
        DataError, AssetError: as `read_data_set`; its card names data files elsewhere.
    """
    with _failures_of_hub(name):
        if Path(name).is_dir():  # the datasets library takes that, too
            require_inside(Path(name), name)
        else:
            require_hub_inside(name)
        found = _find(name, name, config, choice)
        if choice.limit is None:
            return DataSet(label=found.label, records=_stored(found.load(), name, "a data set"), note=found.note)
        sample = found.load(streaming=True).shuffle(seed=choice.seed, buffer_size=SHUFFLE_BUFFER).take(choice.limit)
    said = f"a sample of at most {choice.limit:,} rows drawn from its stream (seed {choice.seed})"
    return DataSet(label=found.label, records=_streamed(sample, name), note="; ".join(filter(None, (found.note, said))))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """One split of one configuration, chosen but not loaded."""

    name: str
    config: str
    split: str
    label: str
    note: str
    place: Mapping[str, Any]
    """`cache_dir`, where it is not to be the user's: what is not told of it leaves locks there."""

    def load(self, **options: Any) -> Any:
        import datasets

        return datasets.load_dataset(self.name, self.config, split=self.split, **self.place, **options)


def _find(name: str, label: str, config: str | None, choice: Choice, **place: str) -> _Found:
    import datasets

    config = _choose_config(datasets.get_dataset_config_names(name), config, name)
    label = label if config == "default" else f"{label}:{config}"
    splits = [str(one) for one in datasets.get_dataset_split_names(name, config, **place)]
    chosen, note = choose_split(splits, choice.split, label)
    return _Found(name=name, config=config, split=chosen, label=f"{label}/{chosen}", note=note, place=place)


def _stored(loaded: Any, label: str, expected: str, keep: object = None) -> Callable[[], Iterator[dict[str, Any]]]:
    """Reader of a data set that lies on the disk; `keep` lives as long as it."""

    def records(keep: object = keep) -> Iterator[dict[str, Any]]:
        names = _class_names(loaded)
        with _failures_of(label, expected):
            for batch in loaded.with_format("arrow").iter(batch_size=BATCH_ROWS):
                yield from (with_names(record, names) for record in batch.to_pylist())

    return records


def _streamed(loaded: Any, name: str) -> Callable[[], Iterator[dict[str, Any]]]:
    def records() -> Iterator[dict[str, Any]]:
        names = _class_names(loaded)
        with _failures_of_hub(name):
            yield from (with_names(dict(record), names) for record in loaded)

    return records


def _class_names(loaded: Any) -> Mapping[str, Sequence[str]]:
    import datasets

    features = loaded.features or {}  # None of a stream whose columns nobody declared
    return {column: feature.names for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)}


def _choose_config(configs: Sequence[str], wanted: str | None, name: str) -> str:
    if wanted is None and "default" in configs:
        return "default"
    if wanted is None and len(configs) == 1:
        return configs[0]
    if wanted in configs:
        return str(wanted)
    found = f"there is no configuration {wanted!r}" if wanted else "it has several configurations"
    raise DataError(name, found, expected=f"one of {', '.join(configs)}", remedy=f"name one, as in `{name}:{configs[0]}`")


@contextmanager
def _failures_of(label: str, expected: str) -> Iterator[None]:
    """Say what the datasets library met in a folder as a DataError."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except TunesmithError:
        raise
    except (OSError, ValueError, DatasetsError) as error:
        found = f"the folder cannot be read ({_gist(error)})"
        raise DataError(label, found, expected=expected, remedy="correct the folder") from None


@contextmanager
def _failures_of_hub(name: str) -> Iterator[None]:
    """Say what the datasets library met on the hub as an AssetError."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except TunesmithError:
        raise
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:  # RuntimeError: it would run a script of the data set's
        raise AssetError(
            name,
            f"the data set could not be had from the hub ({_gist(error)})",
            expected="a data set of the Hugging Face hub and a connection to it",
            remedy="correct the name, log in if it is private, or give a local file",
        ) from None


def _gist(error: BaseException) -> str:
    from datasets.exceptions import DatasetGenerationError

    if type(error) is DatasetGenerationError:  # says only that an error occurred; its subclasses say more than their causes
        error = error.__cause__ or error
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
