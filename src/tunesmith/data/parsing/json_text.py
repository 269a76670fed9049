r"""JSON Lines and JSON text -> records, with the line and a piece of the text where something is broken.

>>> list(read_json_lines(['{"question": "Hi?"}\n{"question": "Bye}'], "faq.jsonl"))
tunesmith.errors.DataError: faq.jsonl:2: broken JSON at column 14 (Unterminated string starting at): '{"question": "Bye}';
expected one JSON object on each line. To go on: correct the line.

Both come in pieces of text, and a list is decoded item by item; a document that is an object has to be held whole.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

from tunesmith.data.parsing.text import LONGEST_LINE, lines, too_long
from tunesmith.errors import DataError
from tunesmith.types import Row

EXCERPT_CHARACTERS = 30
"""Shown on either side of the place where parsing failed."""
LARGEST_OBJECT = 64 * 2**20
"""Characters of a document that is one object; as Python objects they take several times as much memory."""
ONE_A_LINE = "one JSON object on each line"
ONE_DOCUMENT = "one JSON document"
CUT_CHARACTERS = 16
"""A fault this close to the end of the text read so far may be the cut itself, as in the middle of `false`."""
_decoder = json.JSONDecoder()
BLANKS = re.compile(r"[ \t\n\r]*")


def read_json_lines(texts: Iterable[str], label: str) -> Iterator[Row]:
    """One row a line; blank lines count as lines but are no rows.

    Raises:
        DataError: a line is broken, is no object, or is longer than `LONGEST_LINE`.
    """
    every = lines(texts, label)
    first = True
    for number, line in enumerate(every, start=1):
        if line.isspace():
            continue
        place = f"{label}:{number}"
        try:
            values = as_object(_parse(line.rstrip("\r\n"), label, number, ONE_A_LINE, "correct the line"), place, "correct the line")
        except DataError as error:
            if first:
                following = next((one for one in every if not one.isspace()), "")
                raise DataError(error.place, error.found, expected=error.expected, remedy=_remedy(line, following, label)) from None
            raise
        yield Row(values=values, source=place)
        first = False


def _remedy(line: str, following: str, label: str) -> str:
    """Where the first line is at fault: is it one document, or a list on each line?"""
    line = line.strip()
    if line[:1] == "[" and line[-1] == "]" and following[:1] == "[":
        return 'write each line as an object with named values, such as {"question": …, "answer": …}'
    if line[:1] == "[" or line == "{":
        return f"the file looks like one JSON document: rename it to {PurePath(label).with_suffix('.json').name}"
    return "correct the line"


def read_json_document(texts: Iterable[str], label: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, of the list under `data`, or of an object's only list.

    Raises:
        DataError: broken, of another form, or too large: an item beyond `LONGEST_LINE`, an object beyond `LARGEST_OBJECT`.
    """
    text = _Text(texts, label)
    items = _listed(text) if text.next_character() == "[" else iter(_items(_whole(text, label), label))
    for number, item in enumerate(items, start=1):
        yield as_object(item, f"{label}#{number}", "correct the item")


class _Text:
    """Text that is read on as it is needed, and knows in which line and column it stands."""

    def __init__(self, texts: Iterable[str], label: str) -> None:
        self._texts, self._label = iter(texts), label
        self._text, self._at = "", 0
        self._line, self._column = 1, 0  # of the first character of `_text`

    def next_character(self) -> str:
        """The next that is not blank, not yet taken; empty at the end."""
        while True:
            match = BLANKS.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def take(self, expected: str) -> str:
        """The next character that is not blank, one of `expected`."""
        found = self.next_character()
        if not found or found not in expected:
            raise self.fault(f"Expecting {' or '.join(map(repr, expected))}", self._at)
        self._at += 1
        return found

    def value(self) -> Any:
        """The JSON value that begins at the next character."""
        self.next_character()
        while True:
            try:
                value, end = _decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated") or error.pos + CUT_CHARACTERS > len(self._text)
                ahead = error.pos - self._at  # reading on moves both
                if not (is_cut and self._read_on()):
                    raise self.fault(error.msg, self._at + ahead) from None
            except (ValueError, RecursionError) as error:
                raise _unreadable(f"{self._label}:{self.line}", error, ONE_DOCUMENT, "correct the file") from None
            else:
                if end < len(self._text) or not self._read_on():  # a number at the end may go on
                    self._at = end
                    return value

    def require_end(self) -> None:
        """Nothing but blanks may follow."""
        if self.next_character():
            raise self.fault("Extra data", self._at)

    def rest(self, limit: int) -> str:
        """All that is left; once it is longer than `limit`, only the beginning."""
        pieces = [self._text[self._at :]]
        size = len(pieces[0])
        for piece in self._texts:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                break
        return "".join(pieces)

    def _read_on(self) -> bool:
        """Let go of what was taken and read at least one piece, as much again as there is (a value is decoded from its start)."""
        pieces = [self._text[self._at :]]
        size = wanted = len(pieces[0])
        if size > LONGEST_LINE:
            raise too_long(f"{self._label}:{self.line}", "item")
        self._line, self._column = self._place(self._at)
        for piece in self._texts:
            pieces.append(piece)
            size += len(piece)
            if size >= 2 * wanted:
                break
        self._text, self._at = "".join(pieces), 0
        return len(pieces) > 1

    def _place(self, position: int) -> tuple[int, int]:
        """Line from 1 and column from 0."""
        line_start = self._text.rfind("\n", 0, position) + 1
        column = position - line_start if line_start else self._column + position
        return self._line + self._text.count("\n", 0, position), column

    @property
    def line(self) -> int:
        """The line of the next character, from 1."""
        return self._place(self._at)[0]

    def fault(self, message: str, position: int) -> DataError:
        line, column = self._place(position)
        return _broken(self._text, position, f"{self._label}:{line}", (column + 1, message), ONE_DOCUMENT, "correct the file")


def _listed(text: _Text) -> Iterator[Any]:
    """The items of a list, each let go of before the next."""
    text.take("[")
    if text.next_character() == "]":
        text.take("]")
    else:
        yield text.value()
        while text.take(",]") == ",":
            yield text.value()
    text.require_end()


def _whole(text: _Text, label: str) -> Any:
    document, lines_name = text.rest(LARGEST_OBJECT), PurePath(label).with_suffix(".jsonl").name
    if len(document) > LARGEST_OBJECT:
        raise DataError(
            label,
            f"one JSON object of over {LARGEST_OBJECT:,} characters, which would have to be held in memory whole",
            expected="a list of objects, or an object with a shorter list",
            remedy=f"write the list by itself, or one object a line as {lines_name}; if it is that already, rename it",
        )
    remedy = "correct the file"
    if document[:1] == "{" and "\n{" in document:
        remedy = f"correct it; if it holds one object a line, rename it to {lines_name}"
    return _parse(document, label, text.line, ONE_DOCUMENT, remedy)


def _items(document: Any, label: str) -> list[Any]:
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


def _parse(text: str, label: str, first_line: int, expected: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"{label}:{first_line + error.lineno - 1}"
        raise _broken(text, error.pos, place, (error.colno, error.msg), expected, remedy) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested a thousand deep
        raise _unreadable(f"{label}:{first_line}", error, expected, remedy) from None


def _broken(text: str, position: int, place: str, what: tuple[int, str], expected: str, remedy: str) -> DataError:
    """`what`: the column from 1 and what the decoder said."""
    excerpt = text[max(0, position - EXCERPT_CHARACTERS) : position + EXCERPT_CHARACTERS].strip("\r\n")
    return DataError(place, f"broken JSON at column {what[0]} ({what[1]}): {excerpt!r}", expected=expected, remedy=remedy)


def _unreadable(place: str, error: Exception, expected: str, remedy: str) -> DataError:
    return DataError(place, f"JSON that cannot be read ({error})", expected=expected, remedy=remedy)


def as_object(value: Any, place: str, remedy: str) -> Mapping[str, Any]:
    """`value`, if it is a JSON object.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, dict):
        raise DataError(place, f"{reprlib.repr(value)}, {_kind(value)}", expected="a JSON object with named values", remedy=remedy)
    return value


def _kind(value: Any) -> str:
    """What JSON calls the type of a Python value."""
    if value is None or isinstance(value, bool):
        return "a constant"
    names: Mapping[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")
