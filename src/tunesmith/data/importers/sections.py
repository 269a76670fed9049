"""Sections of a document -> passages of a sensible size.

A section of up to 2,000 characters is one passage, and a rest below 200 stays with it. A longer one is divided between paragraphs; a
piece of code stays whole, a paragraph that is itself too long is cut between lines, sentences or words. A heading without text
below it is in the titles of the sections below, and no passage of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tunesmith.data.importers.record import Request
from tunesmith.types import Row

LONGEST = 2_000
"""Characters of a passage: about 500 tokens of English."""
SHORTEST = 200
"""A rest shorter than this stays with the passage before it."""
BREAKS = (
    re.compile(r"\n[^\S\n]*\n"),
    re.compile(r"\n(?=[^\S\n]{0,3}(?:[-*+]|\d{1,3}[.)])\s)"),
    re.compile(r"\n"),
    re.compile(r"[.!?\u3002\uff01\uff1f]\s"),
    re.compile(r"\s"),
)
"""Where a long paragraph is cut, the best place first: blank lines, items of a list, lines, sentences, words."""


class Paragraph(NamedTuple):
    """A piece that is not divided unless it is too long by itself."""

    text: str
    place: str
    """`:12` for a line, `#3` for an item."""
    is_code: bool = False


class Section(NamedTuple):
    """What stands below one heading."""

    titles: tuple[str, ...]
    """From the outermost heading to its own."""
    heading: Paragraph | None
    paragraphs: Sequence[Paragraph]


def passages(sections: Iterable[Section], request: Request, document: str) -> Iterator[Row]:
    """Rows with `text`, `title` (`Guide > Install`; the document's name above the first heading) and `document`."""
    for section in sections:
        if not any(paragraph.text.strip() for paragraph in section.paragraphs):
            continue
        title = " > ".join(section.titles) or document
        head = [section.heading] if section.heading is not None else []
        for passage in _divided([*head, *section.paragraphs]):
            text = "\n\n".join(paragraph.text.strip("\n") for paragraph in passage).rstrip()
            values = {"text": text, "title": title, "document": document}
            yield Row(values=values, source=f"{request.label}{passage[0].place}", group=request.label)


def under(titles: Sequence[tuple[int, str]], level: int, title: str) -> list[tuple[int, str]]:
    """The headings above and including a new one of this level."""
    return [*((above, name) for above, name in titles if above < level), (level, " ".join(title.split()))]


def sections_of(parts: Iterable[tuple[int | None, str, Paragraph]]) -> Iterator[Section]:
    """Of (level of a heading or None, its plain text, the paragraph) in order."""
    titles: list[tuple[int, str]] = []
    heading: Paragraph | None = None
    paragraphs: list[Paragraph] = []
    for level, title, paragraph in parts:
        if level is None:
            paragraphs.append(paragraph)
            continue
        yield Section(tuple(name for _, name in titles if name), heading, paragraphs)
        titles, heading, paragraphs = under(titles, level, title), paragraph, []
    yield Section(tuple(name for _, name in titles if name), heading, paragraphs)


def _divided(paragraphs: Sequence[Paragraph]) -> Iterator[list[Paragraph]]:
    """Runs of paragraphs that together are not too long."""
    pieces = [piece for paragraph in paragraphs for piece in _cut(paragraph) if piece.text.strip()]
    remaining = sum(len(piece.text) + 2 for piece in pieces)
    run: list[Paragraph] = []
    size = 0
    for piece in pieces:
        if run and size + len(piece.text) > LONGEST and remaining >= SHORTEST:
            yield run
            run, size = [], 0
        run.append(piece)
        size += len(piece.text) + 2
        remaining -= len(piece.text) + 2
    if run:
        yield run


def _cut(paragraph: Paragraph) -> Iterator[Paragraph]:
    """The paragraph, in pieces if it is too long; each piece of a text with lines has its own line."""
    text, place = paragraph.text, paragraph.place
    while len(text) > LONGEST + SHORTEST and not paragraph.is_code:
        ends = next((ends for kind in BREAKS if (ends := [one.end() for one in kind.finditer(text, SHORTEST, LONGEST)])), [LONGEST])
        yield Paragraph(text[: ends[-1]].rstrip(), place)
        if place.startswith(":"):
            place = f":{int(place[1:]) + text.count(chr(10), 0, ends[-1])}"
        text = text[ends[-1] :]
    yield paragraph._replace(text=text, place=place)
