"""Markdown and HTML -> the blocks they consist of, in order: headings, paragraphs, code, and what looks like a question.

>>> [(block.kind, block.text) for block in markdown_blocks("# Help\\n\\nCall **us**.")]
[('heading', 'Help'), ('paragraph', 'Call us.')]

Nothing of a page is run or fetched; scripts, styles and what is not shown are no part of any block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from tunesmith.data.importers.record import Tally
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from markdown_it.token import Token

Kind = Literal["heading", "paragraph", "code", "term", "summary"]
UNSHOWN = ("script", "style", "noscript", "template", "iframe", "object", "embed", "svg", "math", "head", "title", "textarea", "select")
SURROUNDINGS = ("nav", "aside", "header", "footer")
"""Of a page: not its content."""
BLOCKS = re.compile(
    "address|article|aside|blockquote|body|caption|dd|details|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|header|hr|html|li|"
    "main|nav|ol|p|pre|section|summary|table|tbody|td|tfoot|th|thead|tr|ul"
)
"""Elements that begin a line of their own."""
SCOPES = ("details", "dl")
CELLS = ("td", "th")
MOST_SCOPES = 8
"""That are remembered of one place."""
LARGEST_PAGE_BYTES = 64 * 2**20
"""Of a page that is taken apart: its tree is many times as large."""
DEEPEST = 7
"""A level below every heading."""
FRONT_MATTER = re.compile(r"---[^\S\n]*\n(?:(?!---|\.\.\.)[^\n]*\n)*(?:---|\.\.\.)[^\S\n]*(?:\n|$)")


class Block(NamedTuple):
    """A piece of a page that stands by itself."""

    kind: Kind
    text: str
    """Plain."""
    raw: str
    """As it becomes part of a row: of Markdown its own lines, of HTML plain text with marks of lists."""
    line: int
    """On which it begins; 0 where that is not known."""
    level: int = DEEPEST
    """Of headings 1 to 6."""
    is_bold: bool = False
    """Does it begin with bold text?"""
    bold: str = ""
    """That text."""
    scopes: tuple[int, ...] = ()
    """Which foldable parts and definition lists it lies in, the innermost last."""


def markdown_blocks(text: str, tally: Tally | None = None) -> list[Block]:
    """All blocks; what stands between two of them (definitions of links) belongs to the first.

    `tally` counts front matter, which is left out.
    """
    from markdown_it import MarkdownIt

    if front := FRONT_MATTER.match(text):
        if tally is not None:
            tally.leave_out("head of settings (front matter)", plural="heads of settings (front matter)")
        text = "\n" * front.group().count("\n") + text[front.end() :]
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    top = [position for position, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0 and token.map]
    starts = [(tokens[position].map or [0])[0] for position in top]
    ends = [*starts[1:], len(lines)][: len(starts)]  # none at all of a text without blocks
    blocks: list[Block] = []
    scopes: tuple[int, ...] = ()
    for position, start, end in zip(top, starts, ends, strict=True):
        raw = "\n".join(lines[start:end]).rstrip()
        if tokens[position].type == "html_block":
            made, scopes = _html_in_markdown(raw, start + 1, scopes)
            blocks += made
        else:
            blocks.append(_markdown_block(tokens, position, raw, start + 1)._replace(scopes=scopes))
    return blocks


def _markdown_block(tokens: list[Token], position: int, raw: str, line: int) -> Block:
    token = tokens[position]
    if token.type in {"heading_open", "paragraph_open"}:
        inline = tokens[position + 1].children or []
        level = int(token.tag[1]) if token.type == "heading_open" else DEEPEST
        bold = _leading_bold(inline)
        kind: Kind = "heading" if token.type == "heading_open" else "paragraph"
        return Block(kind, _plain(inline), raw, line, level, bold is not None, bold or "")
    return Block("code" if token.type in {"fence", "code_block"} else "paragraph", raw, raw, line)


def _plain(inline: list[Token]) -> str:
    parts = ["\n" if token.type in {"softbreak", "hardbreak"} else token.content for token in inline if token.type != "html_inline"]
    return "".join(parts).strip()


def _leading_bold(inline: list[Token]) -> str | None:
    """The text of the bold beginning of a paragraph."""
    shown = [token for token in inline if token.type != "text" or token.content]
    if not shown or shown[0].type != "strong_open":
        return None
    end = next((position for position, token in enumerate(shown) if token.type == "strong_close"), len(shown))
    return _plain(shown[1:end])


def _html_in_markdown(raw: str, line: int, scopes: tuple[int, ...]) -> tuple[list[Block], tuple[int, ...]]:
    """Blocks of a piece of HTML, and the foldable parts that are open after it (it may hold the beginning of one only)."""
    blocks = []
    for part in re.split(r"(?i)(?=<details\b)", raw):
        inside = (*scopes, line)[-MOST_SCOPES:] if re.match(r"(?i)<details\b", part) else scopes
        summary, rest = (plain_html(piece) for piece in _without_summary(part))
        if summary:
            blocks.append(Block("summary", summary, summary, line, scopes=inside))
        if rest:
            blocks.append(Block("paragraph", rest, rest, line, scopes=inside))
        scopes = inside[: max(0, len(inside) - len(re.findall("(?i)</details>", part)))]
        line += part.count("\n")
    return blocks, scopes


def _without_summary(part: str) -> tuple[str, str]:
    """What stands in the first `<summary>`, and the rest. (A search for the pair by one expression would be quadratic.)"""
    lowered = part.lower() if len(part.lower()) == len(part) else part
    start = lowered.find("<summary")
    end = lowered.find("</summary>", start)
    if min(start, end) < 0:
        return "", part
    return part[start:end], part[:start] + part[end + len("</summary>") :]


def parse_html(text: str, label: str) -> BeautifulSoup:
    """The page as a tree; reading fetches nothing and runs nothing.

    Raises:
        DataError: it cannot be taken apart.
    """
    import warnings

    from bs4 import BeautifulSoup, MarkupResemblesLocatorWarning, XMLParsedAsHTMLWarning
    from bs4.exceptions import ParserRejectedMarkup

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MarkupResemblesLocatorWarning)
            warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)  # XHTML
            return BeautifulSoup(text, "lxml")
    except (RecursionError, ParserRejectedMarkup) as error:
        found = f"not readable as HTML ({type(error).__name__})"
        raise DataError(label, found, expected="a page", remedy="save it again, or leave it out") from None


def plain_html(text: str) -> str:
    """The text of a piece of HTML."""
    return "\n\n".join(block.raw for block in html_blocks(parse_html(text, "a piece of HTML")))


def main_part(page: BeautifulSoup, tally: Tally) -> Tag:
    """The part of the page that is its content, without navigation and what is not shown."""
    main = page.find("main") or page.find(True, attrs={"role": "main"})
    part = main or page
    surroundings = part.find_all(SURROUNDINGS[:2] if main else SURROUNDINGS)
    tally.leave_out("part around the content", len(surroundings), plural="parts around the content")
    for element in surroundings:
        element.extract()
    return part


class _Place(NamedTuple):
    """Where in a page something stands."""

    element: Tag
    """The nearest that begins a line."""
    is_shown: bool = True
    is_item: bool = False
    scopes: tuple[int, ...] = ()


def html_blocks(root: Tag) -> list[Block]:
    """Text gathered by the nearest element that begins a line of its own; a list is one block, and so is a table."""
    blocks: list[Block] = []
    before: _Place | None = None
    for place, parts in _runs(root):
        joined = "".join(parts)
        text = joined.replace("\0", "\n").strip("\n") if place.element.name == "pre" else _evened(joined)
        if not text.strip():
            continue
        block = _html_block(place, text)
        glue = _glue(before, place) if not block.is_bold else None
        if glue is not None:
            last = blocks[-1]
            blocks[-1] = last._replace(text=f"{last.text}{glue}{block.text}", raw=f"{last.raw}{glue}{block.raw}")
        else:
            blocks.append(block)
        before = place
    return blocks


def _glue(before: _Place | None, after: _Place) -> str | None:
    """What stands between two pieces of one table or list; None between blocks."""
    if before is None:
        return None
    if before.element.name in CELLS and after.element.name in CELLS:
        return " | " if before.element.parent is after.element.parent else "\n"
    are_items = before.is_item and after.is_item and before.element is not after.element
    return "\n" if are_items and before.scopes == after.scopes else None


def _runs(root: Tag) -> Iterator[tuple[_Place, list[str]]]:
    """Consecutive texts of one place. Each element's place follows from its parent's, so a page of enemies may be deep."""
    from bs4.element import NavigableString, PreformattedString, Tag

    places = {id(root): _Place(root)}
    current: _Place | None = None
    parts: list[str] = []
    for node in root.descendants:
        around = places[id(node.parent)]
        if isinstance(node, Tag):
            places[id(node)] = _inside(node, around)
        is_break = isinstance(node, Tag) and node.name == "br"
        is_text = isinstance(node, NavigableString) and not isinstance(node, PreformattedString)
        if not around.is_shown or not (is_text or is_break):
            continue
        if current is not None and around.element is not current.element:
            yield current, parts
            parts = []
        current = around
        parts.append("\0" if is_break else str(node))
    if current is not None:
        yield current, parts


def _inside(element: Tag, around: _Place) -> _Place:
    """The place of what stands in `element`."""
    return _Place(
        element=element if BLOCKS.fullmatch(element.name) else around.element,
        is_shown=around.is_shown and element.name not in UNSHOWN,
        is_item=element.name == "li" or (around.is_item and element.name == "p" and element.find_previous_sibling() is None),
        scopes=(*around.scopes, id(element))[-MOST_SCOPES:] if element.name in SCOPES else around.scopes,
    )


def _evened(text: str) -> str:
    """Spaces as a browser shows them; line breaks alone break lines."""
    return "\n".join(" ".join(line.split()) for line in text.split("\0")).strip()


def _html_block(place: _Place, text: str) -> Block:
    name = place.element.name
    if re.fullmatch("h[1-6]", name):
        level = int(name[1])
        return Block("heading", text, f"{'#' * level} {text}", 0, level, scopes=place.scopes)
    if name == "pre":
        return Block("code", text, f"```\n{text}\n```", 0, scopes=place.scopes)
    if name in {"summary", "dt"}:
        return Block("term" if name == "dt" else "summary", text, text, 0, scopes=place.scopes)
    bold = _html_bold(place.element)
    bold = bold if bold and text.startswith(bold) else None
    return Block("paragraph", text, f"- {text}" if place.is_item else text, 0, DEEPEST, bold is not None, bold or "", place.scopes)


def _html_bold(element: Tag) -> str | None:
    """The bold text that it begins with."""
    from bs4 import Tag

    first = next((child for child in element.children if isinstance(child, Tag) or str(child).strip()), None)
    return _evened(first.get_text()) if isinstance(first, Tag) and first.name in {"b", "strong"} else None
