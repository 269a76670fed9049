"""Is a folder laid out as on the hub, by a card or by the names of its files?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tunesmith.data.parsing.formats import format_of
from tunesmith.data.reading.splits import SPLIT_NAME, untold

HUB_CARD = re.compile(r"\A---\s*\n(?:.*\n)*?(?:configs|dataset_info)\s*:", re.MULTILINE)
"""A README.md whose header names data files or configurations."""
ABOUT_THE_DATA = frozenset({"readme", "license", "licence", "copying", "changelog", "contributing", "notice", "citation"})
"""Beside files of rows, documents of these names are about them."""


def is_hub_layout(folder: Path, files: Sequence[Path]) -> bool:
    """Does a README.md say what the splits are, or does the path of every file of rows name its split?"""
    if has_card(folder):
        return True
    data = [path.relative_to(folder).as_posix().lower() for path in files if format_of(path) is not None]
    return bool(data) and all(SPLIT_NAME.search(name) for name in data)


def has_card(folder: Path) -> bool:
    """Is there a README.md whose header says what the data files are?"""
    card = folder / "README.md"
    return card.is_file() and bool(HUB_CARD.match(card.read_bytes()[:100_000].decode("utf-8", "replace").replace("\r\n", "\n")))


def beside_splits(folder: Path, files: Sequence[Path]) -> str:
    """What is said of files that the choice of a split leaves out, as their paths tell none; empty where a card does."""
    tables = [path for path in files if format_of(path) is not None and path.stem.lower() not in ABOUT_THE_DATA]
    return "" if has_card(folder) else untold([path.relative_to(folder).as_posix() for path in tables])
