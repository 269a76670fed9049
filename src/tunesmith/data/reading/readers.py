"""Files and data sets -> rows in memory, each keeping where it came from; and rows from what a program has already.

    >>> read_rows("faq.csv")[0]
    Row(values={'question': 'Do you ship abroad?', 'answer': 'Yes, to forty countries.'}, source='faq.csv:2')

What is larger than memory is read as a stream: see `sources`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tunesmith.data.parsing.formats import FORMATS as READERS
from tunesmith.data.parsing.formats import numbered
from tunesmith.data.reading.sources import open_sources
from tunesmith.types import Row

__all__ = ["READERS", "DataFrame", "read_rows", "rows_from_dataframe", "rows_from_records"]


class DataFrame(Protocol):
    """What is asked of a data frame; pandas has it."""

    def to_dict(self, orient: Any) -> Any: ...


def read_rows(source: str | Path, *, encoding: str = "utf-8", split: str | None = None, kind: str | None = None) -> list[Row]:
    """Read a file, an archive, a folder, a pattern, or a data set of the hub (`owner/name` or `owner/name:config`).

    `split` chooses among the splits of a data set; None takes the only one, or `train`. Only a hub id touches the network.

    Raises:
        DataError: missing, empty, in another encoding, broken at a line, or of an unknown kind.
        AssetError: the hub does not have it or cannot be reached.
    """
    return [row for one in open_sources([source], encoding=encoding, split=split, kind=kind) for row in one.read()]


def rows_from_records(records: Iterable[Mapping[str, Any]], name: str = "records") -> list[Row]:
    """Rows from dictionaries that are in memory already."""
    return list(numbered(records, name))


def rows_from_dataframe(frame: DataFrame, name: str = "dataframe") -> list[Row]:
    """Rows from a pandas data frame; its missing values (NaN, NA, NaT) become None, its arrays lists."""
    records = ({str(key): _plain(value) for key, value in record.items()} for record in frame.to_dict("records"))
    return list(numbered(records, name))


def _plain(value: Any) -> Any:
    if type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return None
    return value.tolist() if hasattr(value, "tolist") else value
