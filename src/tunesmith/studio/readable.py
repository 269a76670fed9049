"""Reading JSON that anybody may have written: what comes out is of the right type, or there is a reason why not.

    >>> record = read_object(run / "run.json")
    >>> text(record, "model", "name")
    'smollm2-135m-instruct'
    >>> number(record, "cost", "num_steps")     # None where it is absent, no number, infinite or not a number
    320.0

A run directory may come from elsewhere, be half-written, or be made to break what reads it. Nothing here raises but `Unreadable`.
"""

from __future__ import annotations

import json
import math
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

MOST_BYTES = 64 * 1024 * 1024
"""Of one JSON document; a report of 100,000 examples has a tenth of it."""
MOST_TEXT = 10_000
"""Characters of a name or a sentence that are shown; longer ones are cut."""


_UNSENDABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Unreadable(Exception):  # noqa: N818 - a finding, shown in a row, rather than an error
    """A file is not what it should be; the message is the reason, for people."""


def read_object(file: Path, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """One JSON object.

    Raises:
        Unreadable: it is absent, too large, torn, not JSON, or no object.
    """
    return parse_object(read_content(file, most_bytes=most_bytes), file.name)


def read_content(file: Path, *, start: int = 0, most_bytes: int = MOST_BYTES) -> bytes:
    """A regular file from `start` on; devices and pipes, which may never end, are refused.

    Raises:
        Unreadable: it is absent, no regular file, or too large.
    """
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable(f"{file.name} is no file")
        if found.st_size - start > most_bytes:
            raise Unreadable(f"{file.name} has {found.st_size:,} bytes, more than the {most_bytes:,} that are read")
        with file.open("rb") as handle:
            handle.seek(start)
            return handle.read(most_bytes)
    except OSError as error:
        raise Unreadable(f"{file.name}: {error.strerror or type(error).__name__}") from None


def parse_object(content: bytes, name: str) -> dict[str, Any]:
    """One JSON object from bytes.

    Raises:
        Unreadable: it is not JSON in UTF-8, too deep, or no object.
    """
    try:
        value = parse(content)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "nested too deeply" if isinstance(error, RecursionError) else "not JSON"
        raise Unreadable(f"{name} is {reason}") from None
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is no JSON object")
    return value


def parse(content: bytes) -> object:
    """JSON as Python reads it, in a tenth of the time where it is as the standard has it.

    Raises:
        ValueError: it is not JSON in UTF-8.
        RecursionError: it is nested too deeply.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:  # NaN and halves of characters among others, which Python writes and reads
        return json.loads(content)


def find(value: object, *keys: str) -> object:
    """What lies under the keys, None where nothing does."""
    for key in keys:
        if not isinstance(value, (dict, Mapping)):  # to ask `dict` first takes a third of the time
            return None
        value = value.get(key)
    return value


def text(value: object, *keys: str) -> str | None:
    """A string under the keys, as `shown` makes it."""
    found = find(value, *keys)
    return shown(found) if isinstance(found, str) else None


def shown(content: str, *, most: int = MOST_TEXT) -> str:
    """What a page can hold: no control characters, no halves of characters (which cannot be sent), and not too long."""
    cut = content if len(content) <= most else content[:most] + "…"
    return _UNSENDABLE.sub("\N{REPLACEMENT CHARACTER}", cut)


def number(value: object, *keys: str) -> float | None:
    """A finite number under the keys; True and False are none."""
    found = find(value, *keys)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        as_float = float(found)
    except OverflowError:
        return None
    return as_float if math.isfinite(as_float) else None


def whole(value: object, *keys: str) -> int | None:
    """A whole number under the keys."""
    found = number(value, *keys)
    return int(found) if found is not None and found == int(found) else None


def items(value: object, *keys: str) -> list[Any]:
    """A list under the keys, an empty one where there is none."""
    found = find(value, *keys)
    return list(found) if isinstance(found, list | tuple) else []


def mapping(value: object, *keys: str) -> dict[str, Any]:
    """An object under the keys, an empty one where there is none."""
    found = find(value, *keys)
    return dict(found) if isinstance(found, Mapping) else {}
