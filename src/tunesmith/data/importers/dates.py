"""Dates and times as exports write them -> seconds, with the order of day and month found out from all of them together.

>>> seconds_of(["1/2/24, 9:15 PM", "1/13/24, 9:15 PM"])
[1704230100.0, 1705180500.0]

Only differences of seconds are looked at, so a time without a zone counts as UTC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
CLOCK = re.compile(r"(?<!\d)(\d{1,2})[:.](\d\d)(?:[:.](\d\d))?(?!\d)(?:[.,]\d+)?\s?([ap])?", re.IGNORECASE)
NUMBERS = re.compile(r"\s*(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?!\d)")
DAY_MONTH = re.compile(r"(?<!\d)(\d{1,2})[ .-]+([a-z]{3})[a-z]*[ .,-]+(\d{4}|\d\d)(?![\d:])", re.IGNORECASE)
MONTH_DAY = re.compile(r"([a-z]{3})[a-z]*[ .]+(\d{1,2})\b.*?\b((?:19|20)\d\d)\b", re.IGNORECASE)
EPOCH = re.compile(r"\s*(\d{10})(\d{3})?(?:\.\d+)?\s*")
ORDERS = ("DMY", "MDY", "YMD")
"""How three numbers may be meant; where nothing decides, the first."""


class _Stamp(NamedTuple):
    """What a stamp says: seconds at once, or three numbers whose order is open, and the seconds of the day."""

    seconds: float | None
    numbers: tuple[int, int, int] | None = None
    clock: float = 0.0


def seconds_of(stamps: Sequence[str]) -> list[float | None]:
    """Seconds since 1970 for each; None where a stamp is no date."""
    read = [_read(stamp) for stamp in stamps]
    if not any(stamp.numbers for stamp in read):
        return [stamp.seconds for stamp in read]
    candidates = [[_resolved(stamp, order) for stamp in read] for order in ORDERS]
    return min(candidates, key=_implausibility)


def _implausibility(times: Sequence[float | None]) -> tuple[int, int, float]:
    """How many are no dates, how often time runs backward, and how much time passes."""
    known = [time for time in times if time is not None]
    backward = sum(later < earlier for earlier, later in pairwise(known))
    return len(times) - len(known), backward, max(known, default=0.0) - min(known, default=0.0)


def _read(stamp: str) -> _Stamp:
    if len(stamp) > 64:
        return _Stamp(None)
    if epoch := EPOCH.fullmatch(stamp):
        return _Stamp(float(epoch[1]))
    try:
        return _Stamp(_seconds(datetime.fromisoformat(stamp.strip())))
    except (ValueError, OverflowError):
        pass  # not ISO 8601; the forms that follow are tried
    if numbers := NUMBERS.match(stamp):
        return _Stamp(None, (int(numbers[1]), int(numbers[3]), int(numbers[4])), _clock(stamp[numbers.end() :]))
    return _Stamp(_named_month(stamp))


def _named_month(stamp: str) -> float | None:
    if found := DAY_MONTH.search(stamp):
        day, month, year = found.groups()
    elif found := MONTH_DAY.search(stamp):
        month, day, year = found.groups()
    else:
        return None
    if month.lower() not in MONTHS:
        return None
    return _day_and_clock(int(year), MONTHS.index(month.lower()) + 1, int(day), _clock(stamp))


def _resolved(stamp: _Stamp, order: str) -> float | None:
    if stamp.numbers is None:
        return stamp.seconds
    parts = dict(zip(order, stamp.numbers, strict=True))
    if stamp.numbers[0] > 99:  # a year of four digits comes first, whatever the order
        parts = dict(zip("YMD", stamp.numbers, strict=True))
    return _day_and_clock(parts["Y"], parts["M"], parts["D"], stamp.clock)


def _day_and_clock(year: int, month: int, day: int, clock: float) -> float | None:
    try:
        return _seconds(datetime(year + 2000 if year < 100 else year, month, day, tzinfo=UTC)) + clock
    except (ValueError, OverflowError):
        return None


def _clock(text: str) -> float:
    """Seconds of the day; 0 where there is no time."""
    found = CLOCK.search(text)
    if found is None:
        return 0.0
    hours, half = int(found[1]), (found[4] or "").lower()
    if half:
        hours = hours % 12 + (12 if half == "p" else 0)
    return float(hours * 3600 + int(found[2]) * 60 + int(found[3] or 0))


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
