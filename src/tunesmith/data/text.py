"""Bytes of a text file -> text, with the file's real encoding named when it is not the one expected.

>>> decode("Wie ändere ich mein Passwort?".encode("cp1252"), "faq.csv", "utf-8")
tunesmith.errors.DataError: faq.csv:1: byte 0xe4 at offset 4 is not UTF-8 (the file looks like cp1250); expected UTF-8
text. To go on: read it with `--encoding cp1250`, or save it as UTF-8.
"""

from __future__ import annotations

import re

from tunesmith.errors import ConfigError, DataError

BYTE_ORDER_MARK = "\ufeff"
GUESS_WINDOW_BYTES = 200_000
"""How much of the file the guess looks at; guessing over the whole of a large file takes minutes."""


def decode(data: bytes, label: str, encoding: str) -> str:
    """Decode strictly; a byte-order mark at the start is left out.

    Raises:
        ConfigError: Python knows no such encoding.
        DataError: naming the line and offset of the first wrong byte and the encoding the file seems to have.
    """
    try:
        text = data.decode(encoding)
    except LookupError:
        raise ConfigError(
            "--encoding", f"{encoding!r} is not a text encoding", expected="a name such as utf-8 or gb18030", remedy="correct the name"
        ) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x} at offset {error.start:,} is not {_shown(encoding)}"
        raise _refusal(data, f"{label}:{line}", found, encoding) from None
    if "\0" in text:  # UTF-16 of plain English is valid UTF-8 with every second character NUL
        offset = text.index("\0")
        line = text.count("\n", 0, offset) + 1
        raise _refusal(data, f"{label}:{line}", f"character {offset:,} is NUL, which no text holds", encoding)
    return text.removeprefix(BYTE_ORDER_MARK)


def _refusal(data: bytes, place: str, found: str, encoding: str) -> DataError:
    guess = guess_encoding(data)
    if guess is None:
        looks, remedy = "", "save it as UTF-8, or name its encoding with `--encoding NAME`"
    else:
        looks, remedy = f" (the file looks like {guess})", f"read it with `--encoding {guess}`, or save it as UTF-8"
    return DataError(place, found + looks, expected=f"{_shown(encoding)} text", remedy=remedy)


def _shown(encoding: str) -> str:
    return "UTF-8" if encoding.lower() in {"utf-8", "utf8", "utf-8-sig"} else encoding


def guess_encoding(data: bytes) -> str | None:
    """The likeliest encoding that decodes all of `data` to text without NUL characters, or None."""
    from charset_normalizer import from_bytes

    # Begin at the line of the first byte that is not ASCII: a long ASCII beginning tells nothing.
    telling = re.search(rb"[^\x01-\x7f]", data)
    start = data.rfind(b"\n", 0, telling.start()) + 1 if telling else 0
    matches = from_bytes(data[start : start + GUESS_WINDOW_BYTES])
    return next((match.encoding for match in matches if _decodes(data, match.encoding)), None)


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        return "\0" not in data.decode(encoding)
    except UnicodeDecodeError:
        return False
