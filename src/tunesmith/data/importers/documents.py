"""READMEs and folders of documentation -> passages with the path of their headings.

    docs/guide.md   ->   {"text": "## Linux\\n\\nRun ...", "title": "Guide > Install > Linux", "document": "guide.md"}

Markdown, reStructuredText, HTML, plain text, PDF and DOCX. All passages of a document are one group, so they stay on one side of a
split. Hidden folders, links and files of other kinds are passed over, the last counted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePath

from tunesmith.data.importers import docx, pdf
from tunesmith.data.importers.blocks import LARGEST_PAGE_BYTES, Block, html_blocks, main_part, markdown_blocks, parse_html
from tunesmith.data.importers.record import Importer, Request, read_text
from tunesmith.data.importers.sections import Paragraph, passages, sections_of
from tunesmith.data.parsing.text import printable
from tunesmith.errors import DataError
from tunesmith.types import Row

DATA_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".gz", ".zst"})
"""A folder that holds one of them is a folder of data."""
PASSED_OVER = frozenset({"node_modules", "__pycache__", "__MACOSX", "_build", "site-packages"})
LOOKED_AT = 10_000
"""Files of a folder by which it is recognised."""
UNDERLINE = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}[^\S\n]*")
"""Below, and perhaps above, a title of reStructuredText."""


def recognises(path: Path, head: bytes) -> bool:
    """A Markdown, reStructuredText or HTML file; a folder that holds documents and no data."""
    if not path.is_dir():
        return path.suffix.lower() in _MARKED
    suffixes = {file.suffix.lower() for file in islice(_files(path), LOOKED_AT)}
    return not suffixes & DATA_SUFFIXES and bool(suffixes & (_MARKED | {".pdf", ".docx"}))


def _files(folder: Path) -> Iterator[Path]:
    """In order of their names, hidden ones and links left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "~")) and name not in PASSED_OVER)
        for name in sorted(names):
            file = Path(parent, name)
            if not name.startswith((".", "~")) and not file.is_symlink():
                yield file


def rows(path: Path, request: Request) -> Iterator[Row]:
    """`docs/guide.md:12` is the line on which the passage begins; `page.html#3` the third block; `manual.pdf#page=3` the page."""
    if not path.is_dir():
        yield from _document(path, request, PurePath(request.label).name)
        return
    num_read = 0
    for file in _files(path):
        name = file.relative_to(path).as_posix()
        if file.suffix.lower() not in READERS or not file.is_file():
            request.tally.leave_out("file of another kind", plural="files of other kinds")
        elif file.stat().st_size == 0:
            request.tally.leave_out("empty file")
        else:
            num_read += 1
            inside = Request(label=f"{request.label}/{printable(name)}", encoding=request.encoding, tally=request.tally)
            yield from _document(file, inside, printable(name))
    if not num_read:
        expected = f"files that end in {', '.join(READERS)}"
        raise DataError(request.label, "no document is in the folder", expected=expected, remedy="name another folder")


def _document(path: Path, request: Request, document: str) -> Iterator[Row]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        expected = f"a file that ends in {', '.join(READERS)}"
        raise DataError(request.label, f"documents of the kind {path.suffix!r} are not read", expected=expected, remedy="convert it")
    yield from reader(path, request, document)


def _markdown(path: Path, request: Request, document: str) -> Iterator[Row]:
    text = read_text(path, request.label, request.encoding, LARGEST_PAGE_BYTES)
    blocks = markdown_blocks(text, request.tally)
    parts = ((_level(block), block.text, Paragraph(block.raw, f":{block.line}", block.kind == "code")) for block in blocks)
    yield from passages(sections_of(parts), request, document)


def _level(block: Block) -> int | None:
    return block.level if block.kind == "heading" else None


def _html(path: Path, request: Request, document: str) -> Iterator[Row]:
    page = parse_html(read_text(path, request.label, request.encoding, LARGEST_PAGE_BYTES), request.label)
    blocks = enumerate(html_blocks(main_part(page, request.tally)), start=1)
    parts = ((_level(block), block.text, Paragraph(block.raw, f"#{number}", block.kind == "code")) for number, block in blocks)
    yield from passages(sections_of(parts), request, document)


def _plain(path: Path, request: Request, document: str) -> Iterator[Row]:
    lines = read_text(path, request.label, request.encoding).split("\n")
    parts = ((None, "", paragraph) for paragraph in _paragraphs(lines))
    yield from passages(sections_of(parts), request, document)


def _paragraphs(lines: Sequence[str], first_line: int = 1) -> Iterator[Paragraph]:
    """What blank lines divide, each with its line."""
    gathered: list[str] = []
    for number, line in enumerate((*lines, ""), start=first_line):
        if line.strip():
            gathered.append(line)
        elif gathered:
            yield Paragraph("\n".join(gathered), f":{number - len(gathered)}")
            gathered = []


def _restructured(path: Path, request: Request, document: str) -> Iterator[Row]:
    text = read_text(path, request.label, request.encoding)
    yield from passages(sections_of(_restructured_parts(text.split("\n"))), request, document)


def _restructured_parts(lines: list[str]) -> Iterator[tuple[int | None, str, Paragraph]]:
    """Titles rank in the order in which their kinds of lines are met, as reStructuredText has it."""
    kinds: list[tuple[str, bool]] = []
    position = start = 0
    while position < len(lines):
        size = _title_size(lines, position)
        if not size:
            position += 1
            continue
        yield from ((None, "", paragraph) for paragraph in _paragraphs(lines[start:position], start + 1))
        kind = (lines[position + size - 1][0], size == 3)
        kinds += [kind] if kind not in kinds else []
        title = lines[position + size - 2].strip()
        yield kinds.index(kind) + 1, title, Paragraph("\n".join(lines[position : position + size]), f":{position + 1}")
        position = start = position + size
    yield from ((None, "", paragraph) for paragraph in _paragraphs(lines[start:], start + 1))


def _title_size(lines: list[str], position: int) -> int:
    """How many lines the title that begins here has: 2, with a line above 3; 0 if none begins."""
    above, title, below = (lines[position + offset] if position + offset < len(lines) else "" for offset in range(3))
    is_alone = position == 0 or not lines[position - 1].strip()
    if UNDERLINE.fullmatch(above) and title.strip() and below.rstrip() == above.rstrip() and is_alone:
        return 3 if len(title.strip()) <= len(above.rstrip()) else 0
    is_underlined = UNDERLINE.fullmatch(title) and above.strip() and not above[0].isspace() and not UNDERLINE.fullmatch(above)
    return 2 if is_underlined and is_alone and len(above.rstrip()) <= len(title.rstrip()) else 0


READERS: Mapping[str, Callable[[Path, Request, str], Iterator[Row]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".rst": _restructured,
    ".html": _html,
    ".htm": _html,
    ".xhtml": _html,
    ".txt": _plain,
    ".pdf": pdf.document_rows,
    ".docx": docx.document_rows,
}
"""By suffix."""
_MARKED = frozenset({".md", ".markdown", ".rst", ".html", ".htm", ".xhtml"})
"""Suffixes that are no ordinary data's."""

IMPORTER = Importer(name="documents", description="documents", recognises=recognises, rows=rows)
