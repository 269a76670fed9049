"""Personal data and secrets in text, by formats that can be verified: found, or masked.

    >>> mask("Write to ann@firm.org or call +44 20 7946 0958.")
    'Write to [EMAIL] or call [PHONE].'

Checksums decide where there are any (cards: Luhn, IBAN: ISO 7064). Addresses of private networks are left alone; those that manuals
use as examples are not, for masking them does no harm. Names of people need a language model: see `names.py`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tunesmith.data.checks.each import EachExample, Rule, Spot
from tunesmith.data.checks.finding import CheckContext, excerpt, texts_of
from tunesmith.types import Example


class Hit(NamedTuple):
    """One place in a text that tells whom it is about, or opens a door."""

    kind: str
    start: int
    end: int


LABELS = {
    "private key": "[PRIVATE_KEY]",
    "key or token": "[SECRET]",
    "e-mail address": "[EMAIL]",
    "IBAN": "[IBAN]",
    "card number": "[CARD]",
    "social security number": "[SSN]",
    "IP address": "[IP]",
    "phone number": "[PHONE]",
}
"""Kind to what masks it, in the order in which a place that could be several is decided."""

_EMAIL = re.compile(
    r"(?<![\w.+%@-])[A-Za-z0-9](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_+-])?@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w@-])"
)

_SECRET_HINTS = ("AKIA", "ASIA", "gh", "github_pat_", "sk-", "xox", "AIza", "eyJ", "hf_", "glpat-", "_live_", "npm_", "SG.")
_SECRET = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"
    r"|sk-(?:proj-|svcacct-|ant-[a-z0-9]+-|or-v1-)?[A-Za-z0-9_-]{20,200}"  # OpenAI, Anthropic, OpenRouter
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}"  # JSON Web Token: both heads begin with {"
    r"|hf_[A-Za-z0-9]{34}|glpat-[A-Za-z0-9_-]{20}|npm_[A-Za-z0-9]{36}"
    r"|[rs]k_live_[A-Za-z0-9]{24,99}|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"  # Stripe, SendGrid
    r")(?![A-Za-z0-9])"
)
_KEY_LINE = r"-----{} (?:[A-Z0-9]+ ){{0,3}}PRIVATE KEY(?: BLOCK)?-----"
_PRIVATE_KEY = re.compile(rf"{_KEY_LINE.format('BEGIN')}(?:.{{0,8000}}?{_KEY_LINE.format('END')}|[A-Za-z0-9+/=\s]*)", re.DOTALL)

_DIGITS = re.compile(r"\d(?:[ .()/-]{0,2}\d){6}")
"""Seven digits close together: without them there is no number of a phone, a card or a person."""
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-]|\.\d)")
_CARD_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})$|5[1-5]\d{14}$|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}$"  # Visa, Mastercard
    r"|3[47]\d{13}$|6(?:011|5\d\d|4[4-9]\d)\d{12}$|3(?:0[0-5]|[68]\d)\d{11}$|35(?:2[89]|[3-8]\d)\d{12}$|62\d{14,17}$"
)
"""How numbers of the great issuers begin, and their lengths (ISO/IEC 7812): of random digits, one in ten passes Luhn alone."""
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_DOTTED = re.compile(r"\.[0-9]")
"""Quickly found or not, for an address has three of them."""
_IPV4 = re.compile(r"(?<![\w.])(?<!version )(?<!Version )(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,7}(?::?[0-9A-Fa-f]{1,4}){1,7}(?![\w:])")
_DOCUMENTED = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:", "2001:DB8:")
"""Set aside for manuals (RFC 5737, RFC 3849)."""
_PUBLIC_RESOLVERS = frozenset({"1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9"})
"""Public name servers, which every manual names."""

_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"\+[1-9]\d{0,2}[ .-]?(?:\(0?\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"  # international (E.164), grouped as one likes
    r"|(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])\d{3}[.-]\d{4}"  # North America
    r"|0\d{2,4}[ /-]\d{3,4}(?:[ -]?\d{2,5}){1,2}"  # national, with the trunk zero
    r"|[2-9]\d{2}-\d{4}"  # North America, within one area
    r")(?![\w]|[.-]\d)"
)
_NEAR_PHONE = re.compile(
    r"(?:\b(?:phone|tel|telephone|call|mobile|cell|fax|ring|dial|text|whatsapp|reach|telefon|mobil|handy|numéro)\b[^\n]{0,30})\Z",
    re.IGNORECASE,
)


def pii(context: CheckContext) -> EachExample:
    """Addresses, numbers and secrets."""
    rule = Rule(name="pii", spot=spot, sentence="{how_many} hold{s} personal data or secrets", severity="problem", can_fix=True)
    return EachExample(rule, context)


def spot(example: Example) -> Spot | None:
    """The first hit in any text of the example."""
    for text in texts_of(example):
        hit = next(_candidates(text), None)
        if hit:
            return Spot(f"with {_ARTICLES.get(hit.kind[0].lower(), 'a')} {hit.kind}", excerpt(text, hit.start, hit.end))
    return None


_ARTICLES = {"e": "an", "i": "an"}


def mask(text: str) -> str:
    """`text` with every hit replaced: `[EMAIL]`, `[PHONE]`, `[CARD]`, `[IBAN]`, `[IP]`, `[SSN]`, `[SECRET]`, `[PRIVATE_KEY]`."""
    masked, done = [], 0
    for hit in find(text):
        masked += [text[done : hit.start], LABELS[hit.kind]]
        done = hit.end
    return "".join(masked) + text[done:]


def find(text: str) -> list[Hit]:
    """All hits in the order of the text; of those that overlap, the kind that `LABELS` names first."""
    found: list[Hit] = []
    for hit in _candidates(text):
        if all(hit.end <= other.start or other.end <= hit.start for other in found):
            found.append(hit)
    return sorted(found, key=lambda hit: hit.start)


def _candidates(text: str) -> Iterator[Hit]:
    """Hits kind by kind; what is quick to rule out is ruled out first."""
    if "PRIVATE KEY" in text:
        yield from _hits("private key", _PRIVATE_KEY, text)
    if any(hint in text for hint in _SECRET_HINTS):
        yield from _hits("key or token", _SECRET, text, _looks_random)
    if "@" in text:
        yield from _hits("e-mail address", _EMAIL, text)
    if any(digit in text for digit in "0123456789"):
        yield from _numbers(text)


def _numbers(text: str) -> Iterator[Hit]:
    if _DIGITS.search(text):
        yield from _hits("IBAN", _IBAN, text, lambda match: is_iban(match.group()))
        yield from _hits("card number", _CARD, text, lambda match: is_card_number(match.group()))
        yield from _hits("social security number", _SSN, text)
        yield from _hits("phone number", _PHONE, text, _is_phone)
    if text.count(".") >= 3 and _DOTTED.search(text):
        yield from _hits("IP address", _IPV4, text, lambda match: _is_public(match.group()))
    if text.count(":") >= 3:
        yield from _hits("IP address", _IPV6, text, lambda match: _is_public(match.group()))


def _hits(kind: str, pattern: re.Pattern[str], text: str, holds: Callable[[re.Match[str]], bool] = bool) -> Iterator[Hit]:
    for match in pattern.finditer(text):
        if holds(match):
            yield Hit(kind, *match.span())


def _looks_random(match: re.Match[str]) -> bool:
    """Not words joined by hyphens, nor a row of x that stands for a key."""
    secret = match.group()
    return len(set(secret)) >= 8 and any(one.isdigit() for one in secret)


def is_card_number(text: str) -> bool:
    """A length and beginning that an issuer uses, and Luhn's checksum (ISO/IEC 7812-1, annex B)."""
    digits = text.replace(" ", "").replace("-", "")
    if not _CARD_ISSUERS.match(digits) or len(set(digits)) == 1:
        return False
    doubled = "0246813579"
    total = sum(int(digit) for digit in digits[-1::-2]) + sum(int(doubled[int(digit)]) for digit in digits[-2::-2])
    return total % 10 == 0


IBAN_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FO", "GL", "NL", "SD", "FK"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "XK", "MN"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "OM", "TL", "SO"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("PT", "ST", "LY"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "MR", "SM", "BI", "DJ"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "NI", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU", "YE"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
"""Characters by country (SWIFT's IBAN registry)."""


def is_iban(text: str) -> bool:
    """A known country's length, and ISO 7064's checksum: the number made of it leaves 1 when divided by 97."""
    compact = text.replace(" ", "")
    if IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(one, 36)) for one in compact[4:] + compact[:4])) % 97 == 1


def _is_public(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return (address.is_global or text.startswith(_DOCUMENTED)) and text not in _PUBLIC_RESOLVERS


def _is_phone(match: re.Match[str]) -> bool:
    """Eight to fifteen digits (E.164). A national number could be many things: only where the text speaks of calling it is one."""
    number = match.group()
    digits = sum(one.isdigit() for one in number)
    if number.startswith("+"):
        return 8 <= digits <= 15
    if digits >= 10 and not number.startswith("0"):
        return True
    return digits <= 15 and _NEAR_PHONE.search(match.string, max(0, match.start() - 60), match.start()) is not None
