"""Bytes of a text file -> text, piece by piece, with the file's real encoding named when it is not the one expected.

>>> decode("Wie ändere ich mein Passwort?".encode("cp1252"), "faq.csv", "utf-8")
tunesmith.errors.DataError: faq.csv:1: byte 0xe4 at offset 4 is not UTF-8 (the file looks like cp1250); expected UTF-8
text. To go on: read it with `--encoding cp1250`, or save it as UTF-8.

A byte-order mark of UTF-8, UTF-16 or UTF-32 tells the encoding by itself, unless the user named one.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator

from tunesmith.errors import ConfigError, DataError

GUESS_WINDOW_BYTES = 200_000
"""How much of the file the guess looks at; guessing over the whole of a large file takes minutes."""
LONGEST_LINE = 16 * 2**20
"""Characters of one line, and of one record: a line beyond this is a mistake, and would have to be held in memory whole."""
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32"),  # before UTF-16's, which begins alike
    (codecs.BOM_UTF32_BE, "utf-32-be", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16"),
)
BYTE_ORDER_MARK = "\ufeff"


def decode(data: bytes, label: str, encoding: str) -> str:
    """Decode strictly; a byte-order mark at the start is left out.

    Raises:
        ConfigError: Python knows no such encoding.
        DataError: naming the line and offset of the first wrong byte and the encoding the file seems to have.
    """
    return "".join(decoded([data], label, encoding))


def marked_encoding(head: bytes, encoding: str) -> str:
    """`UTF-16` or `UTF-32` when the file's first bytes say so and the user named nothing else; otherwise empty."""
    name = next((name for mark, _, name in BYTE_ORDER_MARKS if head.startswith(mark)), "")
    return name if _is_utf8(encoding) and name != "UTF-8" else ""


def decoded(pieces: Iterable[bytes], label: str, encoding: str) -> Iterator[str]:
    """The text of each piece; a character may begin in one and end in the next.

    Raises:
        ConfigError, DataError: as `decode`.
    """
    rest = iter(pieces)
    first = next(rest, b"")
    mark, codec, shown = _by_mark(first, encoding)
    decoder = _decoder(codec)
    line, offset, num_characters = 1, len(mark), 0
    piece = first.removeprefix(mark)
    while True:
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise _wrong_byte(error, piece, rest, (label, line, offset), shown) from None
        except UnicodeError as error:  # of the few codecs that do not tell where
            raise DataError(f"{label}:{line}", f"not {shown} text ({error})", expected=shown, remedy="correct `--encoding`") from None
        text = text.removeprefix(BYTE_ORDER_MARK) if not num_characters else text
        if "\0" in text:  # UTF-16 of plain English is valid UTF-8 with every second character NUL
            raise _nul(text, piece, f"{label}:{line + text.count(chr(10), 0, text.index(chr(0)))}", num_characters, shown)
        line, offset, num_characters = line + text.count("\n"), offset + len(piece), num_characters + len(text)
        if text:
            yield text
        if not piece:
            return
        piece = next(rest, b"")


def _by_mark(first: bytes, encoding: str) -> tuple[bytes, str, str]:
    """The byte-order mark to leave out, the codec, and how the encoding is said."""
    if not _is_utf8(encoding):
        return b"", encoding, encoding
    for mark, codec, name in BYTE_ORDER_MARKS:
        if first.startswith(mark):
            return mark, codec, name
    return b"", "utf-8", "UTF-8"


def _is_utf8(encoding: str) -> bool:
    return encoding.lower() in {"utf-8", "utf8", "utf-8-sig", "utf_8"}


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        b"a".decode(encoding, "ignore")  # refuses those that are no text encodings, such as hex
        return codecs.getincrementaldecoder(encoding)()
    except (LookupError, UnicodeError, ValueError):
        raise ConfigError(
            "--encoding", f"{encoding!r} is not a text encoding", expected="a name such as utf-8 or gb18030", remedy="correct the name"
        ) from None


def _wrong_byte(error: UnicodeDecodeError, piece: bytes, rest: Iterator[bytes], before: tuple[str, int, int], shown: str) -> DataError:
    """`before`: the label, and line and offset at which the piece begins."""
    label, line, offset = before
    data = error.object  # the piece, led by what was left of the one before
    place = f"{label}:{line + data.count(10, 0, error.start)}"
    found = f"byte 0x{data[error.start]:02x} at offset {offset + error.start - (len(data) - len(piece)):,} is not {shown}"
    window = bytes(data[data.rfind(b"\n", 0, error.start) + 1 :])
    while len(window) < GUESS_WINDOW_BYTES and (more := next(rest, b"")):
        window += more
    return _refusal(window, place, found, shown)


def _nul(text: str, piece: bytes, place: str, num_before: int, shown: str) -> DataError:
    return _refusal(piece, place, f"character {num_before + text.index(chr(0)):,} is NUL, which no text holds", shown)


def _refusal(data: bytes, place: str, found: str, shown: str) -> DataError:
    guess = guess_encoding(data)
    if guess is None:
        looks, remedy = "", "save it as UTF-8, or name its encoding with `--encoding NAME`"
    else:
        looks, remedy = f" (the file looks like {guess})", f"read it with `--encoding {guess}`, or save it as UTF-8"
    return DataError(place, found + looks, expected=f"{shown} text", remedy=remedy)


def guess_encoding(data: bytes) -> str | None:
    """The likeliest encoding that decodes `data`, as far as the guess looks, to text without NUL characters, or None."""
    from charset_normalizer import from_bytes

    # Begin at the line of the first byte that is not ASCII: a long ASCII beginning tells nothing.
    telling = re.search(rb"[^\x01-\x7f]", data)
    start = data.rfind(b"\n", 0, telling.start()) + 1 if telling else 0
    window = data[start : start + GUESS_WINDOW_BYTES]
    return next((match.encoding for match in from_bytes(window) if _decodes(window, match.encoding)), None)


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        return "\0" not in codecs.getincrementaldecoder(encoding)().decode(data)  # its last character may be cut
    except UnicodeError:
        return False


def printable(name: str) -> str:
    """The name of a file or column as a screen or report can hold it: Linux allows any bytes, JSON can spell half a character."""
    return name.encode("utf-8", "replace").decode("utf-8")


def lines(texts: Iterable[str], label: str) -> Iterator[str]:
    r"""Lines with their ends, which are `\n`, `\r\n` or `\r`, mixed as they come.

    Not `splitlines()`: a JSON string may hold U+2028 and other characters that Python takes for line ends.

    Raises:
        DataError: a line is longer than `LONGEST_LINE`; no more than that of it was in memory.
    """
    pending, number = "", 1
    for text in texts:
        split = io.StringIO(pending + text, newline="").readlines()
        # What ends in `\r` waits as well: the next piece may begin with its `\n`.
        pending = split.pop() if split and not split[-1].endswith("\n") else ""
        yield from split
        number += len(split)
        if len(pending) > LONGEST_LINE:
            raise too_long(f"{label}:{number}", "line")
    if pending:
        yield pending


def too_long(place: str, what: str) -> DataError:
    """Of a line or record beyond `LONGEST_LINE`."""
    found = f"the {what} that begins here is longer than {LONGEST_LINE:,} characters"
    remedy = "look for a missing line break or closing quote; a single value that long cannot be trained on"
    return DataError(place, found, expected=f"at most {LONGEST_LINE:,} characters", remedy=remedy)
