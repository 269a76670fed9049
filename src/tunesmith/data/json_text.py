r"""JSON Lines and JSON text -> records, with the line and a piece of the text where something is broken.

>>> read_json_lines('{"question": "Hi?"}\n{"question": "Bye}', "faq.jsonl")
tunesmith.errors.DataError: faq.jsonl:2: broken JSON at column 14 (Unterminated string starting at): '{"question": "Bye}';
expected one JSON object on each line. To go on: correct the line.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from tunesmith.errors import DataError
from tunesmith.types import Row

EXCERPT_CHARACTERS = 30
"""Shown on either side of the place where parsing failed."""


def read_json_lines(text: str, label: str) -> list[Row]:
    """One row a line; blank lines count as lines but are no rows."""
    remedy = "correct the line"
    if text.lstrip()[:1] == "[" or text.lstrip().split("\n", 1)[0].strip() == "{":
        remedy = f"the file looks like one JSON document: rename it to {PurePath(label).with_suffix('.json').name}"
    rows = []
    # Not splitlines(): a JSON string may hold U+2028 and other characters that Python takes for line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{label}:{number}"
        record = _parse(line, label, number, expected="one JSON object on each line", remedy=remedy)
        rows.append(Row(values=_object(record, place, remedy), source=place))
    return rows


def read_json_document(text: str, label: str) -> list[Mapping[str, Any]]:
    """The objects of a list, of the list under `data`, or of an object's only list."""
    if text.lstrip()[:1] == "{" and "\n{" in text:
        remedy = f"correct it; if it holds one object a line, rename it to {PurePath(label).with_suffix('.jsonl').name}"
    else:
        remedy = "correct the file"
    document = _parse(text, label, 1, expected="one JSON document", remedy=remedy)
    items = _items(document, label)
    return [_object(item, f"{label}#{number}", "correct the item") for number, item in enumerate(items, start=1)]


def _items(document: Any, label: str) -> list[Any]:
    if isinstance(document, list):
        return document
    expected = 'a list of objects, or an object with one list such as {"data": […]}'
    if not isinstance(document, dict):
        raise DataError(label, f"{reprlib.repr(document)}, {_kind(document)}", expected=expected, remedy="wrap the objects in a list")
    lists = {key: value for key, value in document.items() if isinstance(value, list)}
    if isinstance(document.get("data"), list):
        return lists["data"]
    if len(lists) != 1:
        found = f"an object with {len(lists)} lists (its keys: {', '.join(document)})"
        raise DataError(label, found, expected=expected, remedy='put the rows under the key "data"')
    return next(iter(lists.values()))


def _parse(text: str, label: str, first_line: int, *, expected: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        excerpt = text[max(0, error.pos - EXCERPT_CHARACTERS) : error.pos + EXCERPT_CHARACTERS]
        place = f"{label}:{first_line + error.lineno - 1}"
        found = f"broken JSON at column {error.colno} ({error.msg}): {excerpt!r}"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested a thousand deep
        place, found = f"{label}:{first_line}", f"JSON that cannot be read ({error})"
    raise DataError(place, found, expected=expected, remedy=remedy)


def _object(value: Any, place: str, remedy: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(place, f"{reprlib.repr(value)}, {_kind(value)}", expected="a JSON object with named values", remedy=remedy)
    return value


def _kind(value: Any) -> str:
    """What JSON calls the type of a Python value."""
    if value is None or isinstance(value, bool):
        return "a constant"
    names: Mapping[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")
