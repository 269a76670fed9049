"""Vulgar words, as whole words: of better-profanity's list those with a vulgar stem, in whatever spelling.

The list itself also holds words that ordinary texts need (kill, organ, god, sex, stroke, weed); a text is not vulgar for those.
"""

from __future__ import annotations

import re
import string
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tunesmith.data.checks.each import EachExample, Rule, Spot
from tunesmith.data.checks.finding import CheckContext, excerpt, texts_of
from tunesmith.types import Example

_STEMS = re.compile(
    r"f[uv_.-]?[_.-]?c[_.-]?k|fcuk|fuk|phu[ckq]|sh[i1!_.-][_.-]?t|cunt|cnut|bitch|ass(?:hole|munch|fuck|bang|$)|arse|jackass|(?:dumb|fat|punk)ass"
    r"|who?r[ea]|slut|wank|twat|n[i1]gg(?!le)|fag|cock(?!s?$)|dick(?!s?$)|puss(?:y|ie)|bastard|titt|tits$|jiz|cum(?:m|s$|shot)|piss|dildo"
    r"|(?:blow|hand|rim) ?job|p[o0]rn(?!ography)|m[ou]th[ae]r? ?f|mofo|douche|bull ?shit|(?:jerk|jack).?off|gang.?bang|goddam|skank|kikes?$"
    r"|wetback|boobs?$|butthole|clits?$|bellend|knobhead|gtfo|stfu|shemale"
)
"""Names, birds and needles (dick, cock, prick) are left out."""


_PUNCTUATION = str.maketrans(dict.fromkeys(f"{string.punctuation.replace('_', '')}…“”‘’«»—–", " "))


class Vulgar(NamedTuple):
    """The list, ready for looking up."""

    words: frozenset[str]
    phrases: re.Pattern[str]
    """Entries of several words, or with signs in them."""
    openings: frozenset[str]
    """First words of the phrases."""
    beginnings: frozenset[str]
    """Both: most texts hold none of them."""


def profanity(context: CheckContext) -> EachExample:
    """Vulgar words."""
    return EachExample(Rule(name="profanity", spot=spot, sentence="{how_many} hold{s} vulgar words", severity="warning"), context)


def spot(example: Example) -> Spot | None:
    """The first vulgar word in any text of the example."""
    vulgar = load()
    for text in texts_of(example):
        lowered = text.lower()
        said = lowered.translate(_PUNCTUATION).split()
        if vulgar.beginnings.isdisjoint(said):
            continue
        if not vulgar.words.isdisjoint(said):
            word = next(one for one in said if one in vulgar.words)
            return Spot("", excerpt(text, *_place(word, lowered)))
        if not vulgar.openings.isdisjoint(said) and (match := vulgar.phrases.search(lowered)):
            return Spot("", excerpt(text, *match.span()))
    return None


def _place(word: str, lowered: str) -> tuple[int, int]:
    match = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", lowered)
    return match.span() if match else (0, 0)


@cache
def load() -> Vulgar:
    """Read the words once; the library itself is not imported, which would spell out every variant of every word."""
    from importlib.util import find_spec

    origin = find_spec("better_profanity")
    assert origin is not None
    assert origin.origin is not None
    lines = Path(origin.origin).with_name("profanity_wordlist.txt").read_text(encoding="utf-8").lower().split("\n")
    chosen = [line.strip() for line in lines if _STEMS.search(line)]
    single = frozenset(one for one in chosen if re.fullmatch(r"\w+", one))
    phrases = sorted({one for one in chosen if one not in single}, key=lambda one: (-len(one), one))
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, phrases))})(?!\w)")
    openings = frozenset(re.split(r"\W", one)[0] for one in phrases)
    return Vulgar(words=single, phrases=pattern, openings=openings, beginnings=single | openings)
