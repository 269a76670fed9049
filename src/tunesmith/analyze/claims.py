"""Checkable claims in a text: addresses, numbers and names, in forms that can be compared.

    >>> addresses_in("See https://www.Acme.com/docs/, or mail help@acme.com.")
    ['acme.com/docs', 'help@acme.com']
    >>> numbers_in("It costs $1,200.50 for 3 seats.")
    ['1200.5', '3']
    >>> names_in("Ask Maria Gonzalez, who founded the firm in Toledo.")
    [('Maria', 'Gonzalez'), ('Toledo',)]

Code is left out: what stands in it is a value to be replaced more often than a claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tunesmith.analyze.content import CODE

_ADDRESS = re.compile(
    r"(?P<mail>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)|(?:[a-z][a-z\d+.-]*://|www\.|localhost:)[^\s<>\"'`)\]}]+"
    r"|(?<![\w@./-])[a-z\d-]+(?:\.[a-z\d-]+)*\.(?:com|org|net|io|ai|dev|edu|gov|co|app|info)(?:/[^\s<>\"'`)\]}]*)?(?![\w@-])",
    re.IGNORECASE,
)
_RESERVED = re.compile(r"^(?:(?:[\w-]+\.)*example\.(?:com|org|net)|localhost|127\.0\.0\.1|0\.0\.0\.0)(?:[:/]|$)|@example\.(?:com|org|net)$")
"""Names that stand for any (RFC 2606)."""
_LIST_MARK = re.compile(r"^[ \t]*(?:step )?\(?\d{1,3}[.):][ \t]", re.MULTILINE | re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w])(?<![A-Za-z]-)(?<!\d[.,])\d+(?:[.,]\d+)*(?=(?:%|st|nd|rd|th|[a-zµ]{1,2})?(?![A-Za-z_\d]))")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NUMBER_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_NAME_WORD = r"[^\W\d_a-z][^\W\d_]*(?:['’-][^\W\d_]+)*"
_NAME = re.compile(rf"(?<!_){_NAME_WORD}(?:[ ](?:(?:de|van|von|da|bin|al)[ ])?{_NAME_WORD})*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;…\n\"“(\[*#>|•-])[\s\"“'*_(\[#>|•-]*$")


def addresses_in(text: str) -> list[str]:
    """Addresses of pages and mail, lower case, without scheme, `www.`, and what ends a sentence."""
    found = []
    for match in _ADDRESS.finditer(text):
        bare = re.sub(r"^[a-z][a-z\d+.-]*://", "", match.group().lower()).removeprefix("www.").rstrip(".,;:!?'*_/")
        if bare and not _RESERVED.search(bare):
            found.append(bare)
    return list(dict.fromkeys(found))


def numbers_in(text: str, *, all_forms: bool = False) -> list[str]:
    """Numbers in one form each; marks of lists, addresses and parts of names such as GPT-3 are no numbers.

    Args:
        text: to look through.
        all_forms: those in code and those spelt out, up to twelve, as well: they may be known, but are no claims (`one of them`).
    """
    bare = _LIST_MARK.sub(" ", _ADDRESS.sub(" ", text if all_forms else CODE.sub(" ", text)))
    found = [_plain_number(match.group()) for match in _NUMBER.finditer(bare)]
    spelt = [str(_NUMBER_WORDS.index(word)) for word in _WORD.findall(bare.lower()) if word in _NUMBER_WORDS] if all_forms else []
    return list(dict.fromkeys(found + spelt))


def _plain_number(text: str) -> str:
    plain = re.sub(r",(?=\d{3}(?:\D|$))", "", text)
    whole, point, part = plain.partition(".")
    if point and "." not in part and "," not in plain:
        part = part.rstrip("0")
        return f"{whole.lstrip('0') or '0'}.{part}" if part else whole.lstrip("0") or "0"
    return plain.lstrip("0") or "0"


def names_in(text: str) -> list[tuple[str, ...]]:
    """Runs of capitalised words; one that only begins a sentence is no name, two or more may be."""
    bare = _ADDRESS.sub(" , ", CODE.sub(" , ", text))
    found = []
    for match in _NAME.finditer(bare):
        parts = tuple(part for part in match.group().split(" ") if part[:1].isupper() and part[:2] not in ("I'", "I’"))
        if not parts or (len(parts) == 1 and len(parts[0]) < 2):
            continue
        if len(parts) == 1 and _SENTENCE_START.search(bare[max(0, match.start() - 12) : match.start()]):
            continue
        found.append(parts)
    return list(dict.fromkeys(found))


def plain_words(text: str) -> Iterator[str]:
    """Words without regard to case and possessive endings."""
    for match in _WORD.finditer(text):
        yield re.sub(r"['’]s?$", "", match.group()).casefold()
