"""What makes a row unusable, told apart by a short problem that can be counted and a detail that names the value.

>>> require_text(42, "completion", "answer")
tunesmith.data.parsing.faults.UnusableRowError: the completion (column 'answer') is 42, of type int
"""

from __future__ import annotations

import re
import reprlib
from typing import Any

from tunesmith.errors import DataError
from tunesmith.types import Row

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character that takes two in UTF-16; a JSON escape can spell it, no file can hold it."""


class UnusableRowError(Exception):
    """Raised where a row turns out unusable, caught where the rows are gone through; never reaches a user.

    Attributes:
        problem: the same for all rows with this fault, e.g. `empty completion`.
        detail: what was found in this row.
        expected: what should have been there.
    """

    def __init__(self, problem: str, detail: str, expected: str) -> None:
        super().__init__(detail)
        self.problem, self.detail, self.expected = problem, detail, expected


def require_whole(row: Row) -> Row:
    """`row`, if its record could be taken apart: for readers that leave nothing out.

    Raises:
        DataError: it could not.
    """
    if row.fault is not None:
        _, found, expected = row.fault
        raise DataError(row.source, found, expected=expected, remedy="correct the row")
    return row


def require_text(value: Any, part: str, column: str) -> str:
    """`value`, unchanged, if it is text that says something."""
    text = require_string(value, part, column)
    if not text.strip():
        raise UnusableRowError(f"empty {part}", f"the {part} (column {column!r}) is empty", "text")
    return text


def require_string(value: Any, part: str, column: str) -> str:
    """`value`, unchanged, if it is a string that a file can hold; it may be empty."""
    where = f"the {part} (column {column!r})"
    if value is None:
        raise UnusableRowError(f"missing {part}", f"{where} is missing", "text")
    if not isinstance(value, str):
        raise UnusableRowError(f"{part} is not a string", f"{where} is {reprlib.repr(value)}, of type {type(value).__name__}", "a string")
    broken = LONE_SURROGATE.search(value)
    if broken:
        raise UnusableRowError(f"broken character in {part}", f"{where} holds {broken.group()!r}, half of a character", "whole characters")
    return value
