"""Which split a file belongs to by its path, and which of several splits is read.

>>> choose_split(["train", "test"], None, "faq")
('train', 'took the split train of train, test')
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from tunesmith.errors import DataError

File = TypeVar("File")

SPLIT_NAME = re.compile(
    r"(?:^|[-_. /\d])(?:train|training|test|testing|eval|evaluation|dev|development|val|valid|validation)(?=$|[-_. /\d])"
)
"""How the datasets library tells from a path which split a file belongs to."""
SHARD_NAME = re.compile(r"(?P<split>\w[\w.]*)-\d{5}-of-\d{5}\.")
"""How the hub calls the parts of a split."""


def of_split(files: Sequence[tuple[str, File]], wanted: str | None, label: str) -> tuple[list[tuple[str, File]], str]:
    """Of (path, file) those of the wanted split, or of the one that `choose_split` takes; with a note.

    All of them where none is wanted and some path tells no split.

    Raises:
        DataError: as `choose_split`.
    """
    splits = [split_of(name) for name, _ in files]
    if None in splits and wanted is None:
        return list(files), ""
    chosen, note = choose_split([name for name in dict.fromkeys(splits) if name], wanted, label)
    said = "; ".join(filter(None, (note, untold([name for name, _ in files]))))
    return [one for one, split in zip(files, splits, strict=True) if split == chosen], said


def untold(names: Sequence[str]) -> str:
    """What is said of files beside those of a chosen split; empty when each tells which it belongs to, or none does."""
    count = sum(split_of(name) is None for name in names)
    if count in (0, len(names)):
        return ""
    return "left out 1 file whose path tells no split" if count == 1 else f"left out {count:,} files whose paths tell no split"


def below_pattern(path: str, pattern: str) -> str:
    """The part of a path that a pattern left open: folders before its first wildcard are the user's choice and tell no split.

    >>> below_pattern("dev/faq/train/part-0.jsonl", "dev/faq/*/part-*.jsonl")
    'train/part-0.jsonl'
    """
    return path.removeprefix(re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]).lstrip("/")


def split_of(name: str) -> str | None:
    """Which split a file belongs to by its path, as on the hub; None where it does not tell.

    >>> split_of("data/train_sft-00000-of-00003.parquet"), split_of("dev/part-1.jsonl"), split_of("part-1.jsonl")
    ('train_sft', 'validation', None)
    """
    shard = SHARD_NAME.search(name)
    if shard and SPLIT_NAME.search(shard["split"].lower()):
        return shard["split"]
    words = SPLIT_NAME.findall(name.lower())
    if not words:
        return None
    word = re.sub(r"[^a-z]", "", words[-1])
    return "train" if word.startswith("train") else "validation" if word.startswith(("val", "dev")) else "test"


def choose_split(splits: Sequence[str], wanted: str | None, label: str) -> tuple[str, str]:
    """The split to read, and a note where it was chosen for the user.

    Raises:
        DataError: the wanted split is not there, or there are several without a `train`.
    """
    if wanted is not None and wanted not in splits:
        raise no_split(label, wanted, splits)
    if wanted is not None or len(splits) == 1:
        return wanted or splits[0], ""
    if "train" in splits:
        return "train", f"took the split train of {', '.join(splits)}"
    found = f"it has the splits {', '.join(splits)} and none is called train"
    raise DataError(label, found, expected="a chosen split", remedy="choose one with `--split NAME`")


def no_split(label: str, wanted: str, splits: Sequence[str]) -> DataError:
    """The wanted split is not there."""
    found = f"there is no split {wanted!r}"
    if not splits:
        return DataError(label, found, expected="no choice of split, for it has none", remedy="leave out `--split`")
    return DataError(label, found, expected=f"one of {', '.join(splits)}", remedy="correct `--split`")
