"""Mojibake: text whose bytes were read in another encoding than they were written in.

>>> fix("donâ€™t")
'don’t'
"""

from __future__ import annotations

from tunesmith.data.checks.each import EachExample, Rule, Spot
from tunesmith.data.checks.finding import CheckContext, excerpt, texts_of
from tunesmith.types import Example

REPLACEMENT = "\ufffd"
"""What a decoder puts where it could not read: what stood there is lost."""
LOST = "lost for good"


def mojibake(context: CheckContext) -> EachExample:
    """Text whose bytes were read in another encoding than they were written in."""
    sentence = "{how_many} hold{s} text that was decoded wrongly"
    beyond = frozenset({LOST})
    return EachExample(Rule(name="mojibake", spot=spot, sentence=sentence, severity="problem", can_fix=True, beyond_repair=beyond), context)


def spot(example: Example) -> Spot | None:
    """The first place that reads otherwise once it is put right, or that is lost."""
    for text in texts_of(example):
        if text.isascii():
            continue
        fixed = fix(text)
        if fixed != text:
            return Spot("can be put right", excerpt(text, _first_difference(text, fixed)))
        if REPLACEMENT in text:
            return Spot(LOST, excerpt(text, text.index(REPLACEMENT)))
    return None


def fix(text: str) -> str:
    """`text` as it was meant; quotes, width and everything else that is a matter of taste stay as they are."""
    if text.isascii():
        return text
    from ftfy import fix_encoding
    from ftfy.badness import is_bad

    return fix_encoding(text) if is_bad(text) else text


def _first_difference(one: str, other: str) -> int:
    return next((place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
