"""Is an answer desirable: a label's value -> True or False, and which columns hold such labels.

    >>> [read_label(value, "label") for value in (True, "false", 1, "0")]
    [True, False, True, False]

A column of classes (0 to 76, or words) is no column of labels: only values that say yes or no are.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any

from tunesmith.data.parsing.faults import UnusableRowError

EXPECTED = "true or false, or 1 or 0"
WORDS = {"true": True, "false": False}
NUMBERS = {"1": True, "0": False}
JUDGING_WORDS = frozenset(
    {"good", "bad", "yes", "no", "desirable", "undesirable", "chosen", "rejected", "accepted", "up", "down", "like", "dislike", "1", "-1"}
)
"""May mean desirable or not, which is for the user to say: taken neither for labels nor for something else."""


def read_label(value: Any, column: str) -> bool:
    """The judgement that a value states.

    Raises:
        UnusableRowError: there is none, or it is neither true nor false.
    """
    if _is_missing(value):
        raise UnusableRowError("missing label", f"the label (column {column!r}) is missing", EXPECTED)
    if (label := _judgement(value)) is None:
        raise UnusableRowError("unclear label", f"the label (column {column!r}) is {reprlib.repr(value)}", EXPECTED)
    return label


def are_labels(values: Iterable[Any]) -> bool:
    """True or false at least once, or nothing but 1 and 0. (Then a value that is neither is a fault of its row.)"""
    present = [value for value in values if not _is_missing(value)]
    if any(word_of(value) in WORDS for value in present):
        return True
    return bool(present) and all(_judgement(value) is not None for value in present)


def unclear_words(values: Iterable[Any]) -> list[str]:
    """The different values of a column that judges in words of its own; empty when it does not."""
    words = list(dict.fromkeys(word_of(value) for value in values if not _is_missing(value)))
    return words if words and set(words) <= JUDGING_WORDS else []


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _judgement(value: Any) -> bool | None:
    return (WORDS | NUMBERS).get(word_of(value))


def word_of(value: Any) -> str:
    """`True` -> true, `1.0` -> 1: as a column of numbers with gaps comes out of a data frame."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().casefold()
