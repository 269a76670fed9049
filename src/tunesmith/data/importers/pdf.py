"""PDF -> passages, page by page.

Lines that stand at the top or bottom of most pages are headers and footers and are left out; a word divided at the end of a line is
put together again. Pages that are pictures have no text and are counted: reading them would take a program for that (OCR).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tunesmith.data.importers.record import LARGEST_FILE_BYTES, Importer, Request, require_size
from tunesmith.data.importers.sections import Paragraph, Section, passages
from tunesmith.errors import DataError
from tunesmith.types import Row

if TYPE_CHECKING:
    from pypdf import PdfReader

MARK = b"%PDF-"
MOST_PAGES = 10_000
EDGE_LINES = 2
"""At the top and at the bottom of a page, in which headers and footers are looked for."""
FEWEST_PAGES = 3
"""Of a document whose pages can be compared."""
DIVIDED_WORD = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]\n(?=[^\W\d_A-Z\u00c0-\u00de])")
"""A hyphen at the end of a line, with small letters after it: a name that is spelled with a hyphen goes on with a capital."""


def recognises(path: Path, head: bytes) -> bool:
    """By the suffix and the first bytes (some programs write a few before the mark)."""
    return not path.is_dir() and path.suffix.lower() == ".pdf" and MARK in head[:1024]


def rows(path: Path, request: Request) -> Iterator[Row]:
    """`manual.pdf#page=3`, counted from 1; a passage of a long page has the source of its page."""
    yield from document_rows(path, request, request.label)


def document_rows(path: Path, request: Request, document: str) -> Iterator[Row]:
    """Of one file, which `document` names.

    Raises:
        DataError: damaged, protected by a password, too long, or without any text.
    """
    require_size(path, request.label, LARGEST_FILE_BYTES)
    pages = _pages(path, request.label)
    texts = _without_edges(pages, request)
    num_empty = sum(not text.strip() for text in texts)
    if num_empty == len(texts):
        remedy = "have the text of its pictures recognised first (OCR), or leave it out"
        raise DataError(request.label, f"none of its {len(texts):,} pages has text", expected="text", remedy=remedy)
    request.tally.leave_out("page without text", num_empty, plural="pages without text")
    sections = (
        Section((document, f"page {number}"), None, [Paragraph(part, f"#page={number}") for part in re.split(r"\n[^\S\n]*\n", text)])
        for number, text in enumerate(texts, start=1)
    )
    yield from passages(sections, request, document)


def _pages(path: Path, label: str) -> list[str]:
    """The text of every page as pypdf finds it."""
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        with _quiet(), path.open("rb") as file:
            return _texts(file, label)
    except (DataError, MemoryError):
        raise
    except DependencyError:  # raised before the password is tried
        raise _without_cryptography(label) from None
    except FileNotDecryptedError:
        raise _protected(label) from None
    except Exception as error:  # noqa: BLE001 - over damaged files pypdf raises nearly anything, RecursionError to KeyError
        raise _damaged(label, error) from None


def _texts(file: BinaryIO, label: str) -> list[str]:
    from pypdf import PdfReader

    reader = PdfReader(file)
    if reader.is_encrypted:
        _require_open(reader, label)
    if len(reader.pages) > MOST_PAGES:
        found = f"{len(reader.pages):,} pages"
        raise DataError(label, found, expected=f"at most {MOST_PAGES:,}", remedy="split it into several files")
    return [page.extract_text() for page in reader.pages]


def _require_open(reader: PdfReader, label: str) -> None:
    """Many files are encrypted with an empty password, which keeps honest programs from printing them."""
    if not reader.decrypt(""):
        raise _protected(label)


def _protected(label: str) -> DataError:
    remedy = "open it with its password and save or print it as a PDF without one"
    return DataError(label, "it is protected by a password", expected="a PDF that opens without one", remedy=remedy)


def _without_cryptography(label: str) -> DataError:
    found = "it is encrypted with AES, and the package that decrypts it is not installed"
    return DataError(label, found, expected="cryptography", remedy="`pip install cryptography`, or print it as a PDF without encryption")


def _damaged(label: str, error: Exception) -> DataError:
    gist = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return DataError(label, f"not readable as PDF ({gist})", expected="a whole PDF", remedy="export or download it again")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without pypdf's remarks on faults that it could mend."""
    logger = logging.getLogger("pypdf")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _without_edges(pages: Sequence[str], request: Request) -> list[str]:
    """The pages without headers and footers, words put together."""
    split = [[line.rstrip() for line in page.replace("\0", "").split("\n")] for page in pages]
    edges = [{position: _shape(lines[position]) for position in _edge_positions(lines)} for lines in split]
    counts = Counter(shape for edge in edges for shape in set(edge.values()))
    repeated = {shape for shape, count in counts.items() if len(pages) >= FEWEST_PAGES and count > len(pages) / 2}
    texts = []
    for lines, edge in zip(split, edges, strict=True):
        dropped = {position for position, shape in edge.items() if shape in repeated}
        request.tally.leave_out("line of headers and footers", len(dropped), plural="lines of headers and footers")
        kept = "\n".join(line for position, line in enumerate(lines) if position not in dropped)
        texts.append(DIVIDED_WORD.sub("", kept))
    return texts


def _edge_positions(lines: Sequence[str]) -> list[int]:
    filled = [position for position, line in enumerate(lines) if line.strip()]
    return sorted({*filled[:EDGE_LINES], *filled[-EDGE_LINES:]})


def _shape(line: str) -> str:
    """Equal for `Page 3 of 10` and `Page 4 of 10`."""
    return re.sub(r"\d+", "#", " ".join(line.split())).casefold()


IMPORTER = Importer(name="pdf", description="PDF", recognises=recognises, rows=rows)
