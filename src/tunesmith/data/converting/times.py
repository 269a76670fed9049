"""A cell that says when -> seconds since 1970, to find the newest examples.

>>> read_time("2024-05-01T12:00:00+02:00", "created")
1714557600.0
"""

from __future__ import annotations

import datetime as dt
import math
import reprlib
from typing import Any

from tunesmith.data.parsing.faults import UnusableRowError

EXPECTED = "a time such as 2024-05-31, 2024-05-31T17:00:00Z or seconds since 1970"


def read_time(value: Any, column: str) -> float:
    """Seconds; a time without a zone counts as UTC. Numbers are taken as they are: one column is of one unit.

    Raises:
        UnusableRowError: there is none, or it cannot be told which.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UnusableRowError("missing time", f"the time (column {column!r}) is missing", EXPECTED)
    seconds = _seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise UnusableRowError("unclear time", f"the time (column {column!r}) is {reprlib.repr(value)}", EXPECTED)
    return seconds


def _seconds(value: Any) -> float | None:
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC).timestamp()
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return _seconds_of_text(value.strip()) if isinstance(value, str) else None


def _seconds_of_text(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return _seconds(dt.datetime.fromisoformat(text))
    except ValueError:
        return None
