"""Control characters, and those that cannot be seen: zero-width spaces, byte-order marks, direction marks in left-to-right text.

>>> fix("zero\\u200bwidth\\x07")
'zerowidth'
"""

from __future__ import annotations

import re

from tunesmith.data.checks.each import EachExample, Rule, Spot
from tunesmith.data.checks.finding import CheckContext, excerpt, texts_of
from tunesmith.types import Example

_CONTROLS = r"\x00-\x08\x0b\x0e-\x1f\x7f"
# After a letter that begins a character in UTF-8, these are part of mojibake, which has a fix of its own that needs them.
_HIGH_CONTROLS = r"(?<![\u0080-\u00f4])[\x80-\x84\x86-\x9f]+"
_INVISIBLE = r"\u00ad\u200b\u2060-\u2064\ufeff\ufff9-\ufffb"
_DIRECTIONS = r"\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Joiners are letters' business in Persian and Hindi, and glue emoji; between characters of ASCII they do nothing.
_JOINERS = r"(?<![^\x00-\x7f])[\u200c\u200d]+(?![^\x00-\x7f])"
_IN_ASCII = re.compile(f"[{_CONTROLS}]")
_LEFT_TO_RIGHT = re.compile(f"[{_CONTROLS}{_INVISIBLE}{_DIRECTIONS}]|{_HIGH_CONTROLS}|{_JOINERS}")
_RIGHT_TO_LEFT = re.compile(f"[{_CONTROLS}{_INVISIBLE}]|{_HIGH_CONTROLS}|{_JOINERS}")
_HEBREW_OR_ARABIC = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


def control_characters(context: CheckContext) -> EachExample:
    """Control characters and invisible ones."""
    sentence = "{how_many} hold{s} control characters or invisible ones"
    rule = Rule(name="control-characters", spot=spot, sentence=sentence, severity="warning", can_fix=True)
    return EachExample(rule, context)


def spot(example: Example) -> Spot | None:
    """The first such character."""
    for text in texts_of(example):
        match = _pattern(text).search(text)
        if match:
            kind = "with control characters" if match.group() < "\xa0" else "with invisible characters"
            return Spot(kind, excerpt(text, *match.span()))
    return None


def fix(text: str) -> str:
    """`text` without them."""
    return _pattern(text).sub("", text)


def _pattern(text: str) -> re.Pattern[str]:
    """What is a fault in `text`: direction marks are none where Hebrew or Arabic stands."""
    if text.isascii():
        return _IN_ASCII
    return _RIGHT_TO_LEFT if _HEBREW_OR_ARABIC.search(text) else _LEFT_TO_RIGHT
