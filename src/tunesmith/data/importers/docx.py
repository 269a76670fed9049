"""DOCX -> passages with the path of their headings; tables as lines of cells.

A .docx is a zip archive of XML: before it is opened, its members say how much they unpack to, and what is too much is refused.
Entities of XML are not resolved. Headers, footers, comments and pictures are no part of the text.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.data.importers.record import LARGEST_FILE_BYTES, Importer, Request, head_of, require_size
from tunesmith.data.importers.sections import Paragraph, passages, sections_of
from tunesmith.errors import DataError
from tunesmith.types import Row

if TYPE_CHECKING:
    from docx.table import Table
    from docx.text.paragraph import Paragraph as DocxParagraph

BODY = "word/document.xml"
LARGEST_UNPACKED_BYTES = 400 * 2**20
"""Of all members together."""
LARGEST_XML_BYTES = 100 * 2**20
"""Of one member that is XML: it becomes a tree in memory, about ten times as large."""
LARGEST_RATIO = 200
"""Unpacked to packed bytes of a member over a mebibyte. Repetitive XML reaches some dozens."""
PROTECTED_MARK = b"\xd0\xcf\x11\xe0"
"""How the container of old Office files begins, which protected new ones are put into as well."""
HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


def recognises(path: Path, head: bytes) -> bool:
    """By the suffix and the first bytes."""
    return not path.is_dir() and path.suffix.lower() == ".docx" and head.startswith((b"PK\x03\x04", PROTECTED_MARK))


def rows(path: Path, request: Request) -> Iterator[Row]:
    """`handbook.docx#12` begins with the twelfth paragraph or table of the body."""
    yield from document_rows(path, request, request.label)


def document_rows(path: Path, request: Request, document: str) -> Iterator[Row]:
    """Of one file, which `document` names.

    Raises:
        DataError: damaged, protected by a password, made to fill the memory, or without text.
    """
    require_size(path, request.label, LARGEST_FILE_BYTES)
    _require_safe(path, request.label)
    parts = _parts(path, request)
    if not any(paragraph.text.strip() for _, _, paragraph in parts):
        raise DataError(request.label, "no text is in it", expected="a document with text", remedy="leave it out")
    yield from passages(sections_of(parts), request, document)


def _require_safe(path: Path, label: str) -> None:
    if head_of(path).startswith(PROTECTED_MARK):
        remedy = "open it with its password and save it as .docx without one"
        raise DataError(label, "it is protected by a password, or an old .doc", expected="a DOCX that is open", remedy=remedy)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(label, error) from None
    if BODY not in {member.filename for member in members}:
        raise DataError(label, f"it holds no {BODY}", expected="a Word document", remedy="save it as .docx with a word processor")
    grown = [one for one in members if one.file_size > 2**20 and one.file_size > LARGEST_RATIO * one.compress_size]
    large = [one for one in members if one.filename.endswith((".xml", ".rels")) and one.file_size > LARGEST_XML_BYTES]
    total = sum(member.file_size for member in members)
    if grown or large or total > LARGEST_UNPACKED_BYTES:
        name = (grown or large or members)[0].filename
        found = (
            f"it unpacks to {total:,} bytes ({name[:80]!r} alone is out of proportion)"
            if grown or large
            else f"it unpacks to {total:,} bytes"
        )
        raise DataError(label, found, expected="a document of common size", remedy="save its text to a .txt file if you trust it")


def _damaged(label: str, error: Exception) -> DataError:
    gist = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return DataError(label, f"not readable as DOCX ({gist})", expected="a whole Word document", remedy="save or download it again")


def _parts(path: Path, request: Request) -> list[tuple[int | None, str, Paragraph]]:
    """Headings, paragraphs and tables in order."""
    import docx

    try:
        document = docx.Document(str(path))
        request.tally.leave_out("picture", len(document.inline_shapes))
        return [_part(item, number) for number, item in enumerate(document.iter_inner_content(), start=1)]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - over damaged files python-docx and lxml raise nearly anything
        raise _damaged(request.label, error) from None


def _part(item: DocxParagraph | Table, number: int) -> tuple[int | None, str, Paragraph]:
    from docx.table import Table

    place = f"#{number}"
    if isinstance(item, Table):
        return None, "", Paragraph("\n".join(_lines(item)), place)
    style = item.style.name or "" if item.style is not None else ""
    text = item.text.strip("\n")
    heading = HEADING.fullmatch(style)
    level = int(heading[1]) if heading else 0 if style == "Title" else None
    if level is not None and text.strip():
        return level, text, Paragraph(text, place)
    return None, "", Paragraph(f"- {text}" if style.startswith("List") and text.strip() else text, place)


def _lines(table: Table) -> Iterator[str]:
    """`cell | cell` for each row; a cell that spans several columns once."""
    for row in table.rows:
        cells: dict[Any, str] = {cell._tc: " ".join(cell.text.split()) for cell in row.cells}
        yield " | ".join(cells.values())


IMPORTER = Importer(name="docx", description="Word document", recognises=recognises, rows=rows)
