"""FAQ pages -> questions and answers.

    ## How do I reset it?        a heading that asks
    **Is it waterproof?** Yes.   a bold beginning that asks
    Q: May I return it?          a line that says so, and `A:` before the answer

and in HTML definition lists, foldable parts (`details`), and the page's own account of its questions (schema.org FAQPage). An
answer goes on until the next question, or the next heading that is not below its own. The rest of the page is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.data.importers.blocks import (
    DEEPEST,
    LARGEST_PAGE_BYTES,
    Block,
    html_blocks,
    main_part,
    markdown_blocks,
    parse_html,
    plain_html,
)
from tunesmith.data.importers.record import Importer, Request, Tally, head_text, read_text
from tunesmith.errors import DataError
from tunesmith.types import Row

HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
MARKDOWN_SUFFIXES = frozenset({".md", ".markdown"})
ASKS = re.compile(r"(?:[*_`\s]*\?|\uff1f|\u061f)[)\"\u201d'*_`\s]*\Z")
NUMBER = re.compile(r"\A(?:\(?\d{1,3}(?:\.\d{1,3})*[.):]\s+|[-\u2013\u2022]\s+)")
Q_LINE = re.compile(r"\s{0,3}(?:[-*+]\s{1,3})?[*_]{0,2}(?:Q|Question)\s?\d{0,3}\s?[.:)][*_]{0,2}\s*(?P<text>\S.*)\Z", re.IGNORECASE)
A_LINE = re.compile(r"\s{0,3}(?:[-*+]\s{1,3})?[*_]{0,2}(?:A|Answer)\s?\d{0,3}\s?[.:)][*_]{0,2}\s*(?P<text>.*)\Z", re.IGNORECASE)
LONGEST_QUESTION = 300
"""Characters; what is longer and ends with a question mark is a paragraph that ends in a question."""
FEWEST_PAIRS = 3
"""Of a page that is recognised; two do if its name says FAQ."""


class Pair(NamedTuple):
    """A question with its answer."""

    question: str
    answer: str
    line: int
    """0 where it is not known."""


def question_in(text: str) -> str | None:
    """The question that a heading asks, without number or mark; None if it asks none."""
    line = " ".join(text.split())
    marked = Q_LINE.match(line)
    if marked:
        line = marked["text"].rstrip("*_ ")
    elif len(line) > LONGEST_QUESTION or not ASKS.search(line):
        return None
    return NUMBER.sub("", line).strip() or None


class _Page:
    """Goes through the blocks of a page, one after the other."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.pairs: list[Pair] = []
        self.num_unanswered = self.num_ignored = self.num_other_headings = 0
        self._question: str | None = None
        self._opener = Block("paragraph", "", "", 0)
        self._answer: list[str] = []
        terms = [block for block in blocks if block.kind in {"term", "summary"}]
        self._terms_ask = 2 * sum(question_in(block.text) is not None for block in terms) >= len(terms)
        for block in blocks:
            self._take(block)
        self._close()

    def _open(self, question: str, block: Block) -> None:
        self._close()
        self._question, self._opener = question, block

    def _close(self) -> None:
        answer = "\n\n".join(self._answer).strip()
        if self._question is not None and answer:
            self.pairs.append(Pair(self._question, answer, self._opener.line))
        elif self._question is not None:
            self.num_unanswered += 1
        self._question, self._answer = None, []

    def _take(self, block: Block) -> None:
        if self._question is not None and self._opener.scopes and self._opener.scopes[-1] not in block.scopes:
            self._close()  # the foldable part or the list of the question is over
        if block.kind == "heading":
            self._heading(block)
        elif block.kind in {"term", "summary"} and self._terms_ask:
            self._open(question_in(block.text) or block.text, block)
        elif block.kind == "paragraph" and any(Q_LINE.match(line) for line in block.raw.split("\n")):
            self._lines(block)
        elif block.is_bold and (question := question_in(block.bold)) is not None:
            self._open(question, block._replace(level=DEEPEST))
            self._add(_without_beginning(block))
        elif self._question is None:
            self.num_ignored += 1
        else:
            self._add(block.raw)

    def _heading(self, block: Block) -> None:
        question = question_in(block.text)
        if question is not None:
            self._open(question, block)
        elif self._question is not None and self._opener.level < block.level:
            self._add(block.raw)
        else:
            self._close()
            self.num_ignored += 1
            self.num_other_headings += block.level > 1

    def _lines(self, block: Block) -> None:
        """A paragraph of lines, of which some begin with `Q:` or `A:`."""
        for number, line in enumerate(block.raw.split("\n")):
            if match := Q_LINE.match(line):
                self._open(
                    match["text"].rstrip("*_ ") or match["text"],
                    block._replace(line=block.line + number if block.line else 0, level=DEEPEST),
                )
            elif self._question is None:
                self.num_ignored += bool(line.strip())
            elif self._answer:
                self._answer[-1] += f"\n{line}"
            else:
                self._add(line)

    def _add(self, text: str) -> None:
        """A part of the answer; the first may say that it is one."""
        marked = None if self._answer else A_LINE.match(text.partition("\n")[0])
        if marked:
            text = marked["text"] + text[len(text.partition("\n")[0]) :]
        if text.strip():
            self._answer.append(text.strip("\n"))


def _without_beginning(block: Block) -> str:
    """What follows the bold question of a paragraph."""
    if block.line:  # Markdown: after the marks that end the bold text
        parts = re.split(r"\*\*|__", block.raw, maxsplit=2)
        return parts[2].strip() if len(parts) == 3 else ""
    return block.text[len(block.bold) :].strip()


def recognises(path: Path, head: bytes) -> bool:
    """A page most of whose headings ask and are answered, or that says of itself that it is a FAQ page."""
    suffix = path.suffix.lower()
    if path.is_dir() or suffix not in HTML_SUFFIXES | MARKDOWN_SUFFIXES:
        return False
    text = head_text(head)
    if suffix in HTML_SUFFIXES:
        page = parse_html(text, path.name)
        if '"FAQPage"' in text or "schema.org/FAQPage" in text:
            return True
        read = _Page(html_blocks(main_part(page, Tally())))
    else:
        read = _Page(markdown_blocks(text))
    says_so = "faq" in re.split(r"[\W_]+", path.stem.casefold()) or "frequently asked" in text[:2000].casefold()
    return len(read.pairs) >= (2 if says_so else FEWEST_PAIRS) and len(read.pairs) >= read.num_other_headings


def rows(path: Path, request: Request) -> Iterator[Row]:
    """`faq.md:12` is the line of the question; `faq.html#3` the third question."""
    text = read_text(path, request.label, request.encoding, LARGEST_PAGE_BYTES)
    is_html = path.suffix.lower() in HTML_SUFFIXES
    pairs = _html_pairs(text, request) if is_html else _pairs(markdown_blocks(text, request.tally), request.tally)
    if not pairs:
        raise DataError(
            request.label,
            "no question with an answer is in it",
            expected="headings or bold text that end with a question mark, lines that begin with Q: and A:, or a list of definitions",
            remedy="read it as a text with `--kind documents`",
        )
    for number, pair in enumerate(pairs, start=1):
        place = f"{request.label}:{pair.line}" if pair.line else f"{request.label}#{number}"
        yield Row(values={"question": pair.question, "answer": pair.answer}, source=place)


def _pairs(blocks: Sequence[Block], tally: Tally) -> list[Pair]:
    page = _Page(blocks)
    tally.leave_out("paragraph or heading outside of answers", page.num_ignored, plural="paragraphs and headings outside of answers")
    tally.leave_out("question without an answer", page.num_unanswered, plural="questions without an answer")
    return page.pairs


def _html_pairs(text: str, request: Request) -> list[Pair]:
    """What the page declares of itself; only where it declares nothing, what it shows."""
    page = parse_html(text, request.label)
    declared: list[Pair] = []
    for script in page.find_all("script", type="application/ld+json"):
        declared += _declared(script.get_text(), request.tally)
    if declared:
        request.tally.say("read from the page's own FAQPage data")
        return list(dict.fromkeys(declared))
    return _pairs(html_blocks(main_part(page, request.tally)), request.tally)


def _declared(text: str, tally: Tally) -> Iterator[Pair]:
    """Of JSON-LD: every `Question` with an `acceptedAnswer`, wherever it stands."""
    try:
        waiting: list[Any] = [json.loads(text, strict=False)]
    except (ValueError, RecursionError):
        tally.leave_out("broken piece of JSON-LD", plural="broken pieces of JSON-LD")
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += reversed(node)
        elif isinstance(node, dict):
            kinds = node.get("@type")
            answers = node.get("acceptedAnswer") or node.get("suggestedAnswer")
            if "Question" in (kinds if isinstance(kinds, list) else [kinds]) and answers:
                yield from _declared_pair(node.get("name"), answers, tally)
            else:
                waiting += reversed(list(node.values()))


def _declared_pair(name: Any, answers: Any, tally: Tally) -> Iterator[Pair]:
    answer = answers[0] if isinstance(answers, list) else answers
    text = answer.get("text") if isinstance(answer, dict) else None
    question, said = (plain_html(value) if isinstance(value, str) else "" for value in (name, text))
    if question and said:
        yield Pair(" ".join(question.split()), said, 0)
    else:
        tally.leave_out("question without an answer", plural="questions without an answer")


IMPORTER = Importer(name="faq", description="FAQ page", recognises=recognises, rows=rows)
