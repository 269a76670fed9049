"""A user's words and regular expressions: compiled, tried on hostile texts, and searched within a time limit.

>>> Patterns.of(words=("refund",), expressions=(r"\\border \\d+",), place="scope.deny").found("Where is order 17?")
True
"""

from __future__ import annotations

import itertools
import math
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import regex

from tunesmith.errors import ConfigError

LONGEST, MOST = 500, 200
"""Characters of an expression, and expressions of one rule."""
MOST_REPEATED = 20_000
"""Product of all counted repetitions (`{2,40}` counts 40) of an expression: reading it takes time and memory in proportion."""
SECONDS = 0.1
"""For one expression and one text."""
TRIAL_LENGTH = 2_000
"""Characters of the texts on which an expression is tried before it is taken."""


class TooSlow(Exception):  # noqa: N818 - the text's fault as much as the pattern's
    """An expression did not come to an end."""


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """Found where any of them is found."""

    compiled: tuple[Any, ...]

    @classmethod
    def of(cls, *, words: Sequence[str], expressions: Sequence[str], place: str) -> Patterns:
        """Words stand by themselves and in any case; expressions say themselves what they want.

        Raises:
            ConfigError: an expression is none, too long, or takes too long.
        """
        if len(expressions) > MOST:
            raise ConfigError(place, f"{len(expressions)} expressions", expected=f"at most {MOST}", remedy="join them, or use words")
        alternatives = "|".join(regex.escape(" ".join(word.split())) for word in words if word.strip())
        whole = (regex.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", regex.IGNORECASE),) if alternatives else ()
        return cls(compiled=(*whole, *(compiled(one, place) for one in expressions)))

    def found(self, text: str) -> bool:
        """Whether one is.

        Raises:
            TooSlow: one did not come to an end in time.
        """
        flat = " ".join(text.split())
        try:
            return any(one.search(flat, timeout=SECONDS) for one in self.compiled)
        except TimeoutError:
            raise TooSlow from None


def compiled(expression: str, place: str) -> Any:
    """An expression that has come through its trials.

    Raises:
        ConfigError: it is none, too long, or takes too long.
    """
    pattern = well_formed(expression, place)
    try:
        for text in _hostile(expression):
            pattern.search(text, timeout=SECONDS)
    except TimeoutError:
        raise ConfigError(
            place,
            f"{expression!r} takes over {SECONDS:g} s on some texts",
            expected="an expression that does not try every way to cut a text",
            remedy="avoid repetitions inside repetitions, or make them possessive (`++`)",
        ) from None
    return pattern


def well_formed(expression: str, place: str) -> Any:
    """An expression that has been read and not tried: to be searched for with a `timeout` alone.

    Raises:
        ConfigError: it is none, or too long.
    """
    if len(expression) > LONGEST:
        found = f"an expression of {len(expression):,} characters"
        raise ConfigError(place, found, expected=f"at most {LONGEST}", remedy="split it")
    counts = [max(1, *map(int, re.findall(r"\d+", braces))) for braces in re.findall(r"\{[\d, ]*\d[\d, ]*\}", expression)]
    if math.prod(counts) > MOST_REPEATED:
        found = f"{expression!r} repeats {math.prod(counts):,} times"
        raise ConfigError(place, found, expected=f"at most {MOST_REPEATED:,}, all counts multiplied", remedy="use `*` or `+`")
    try:
        return regex.compile(expression)
    except (regex.error, OverflowError, RecursionError, ValueError) as error:
        found = f"{expression!r} is no regular expression ({error})"
        raise ConfigError(place, found, expected="Python's syntax, as the `regex` library reads it", remedy="correct it") from None


def _hostile(expression: str) -> Iterator[str]:
    """Long runs of what the expression may repeat, which then end otherwise than it wants."""
    literal = sorted({one for one in expression if one.isalnum()})[:40]
    end = "\x00" + "".join(sorted(set(expression)))  # what the expression needs to be there is there, in the wrong place
    for character in dict.fromkeys([*literal, *"a0 -_", *string.punctuation]):
        yield character * TRIAL_LENGTH + end
    for pair in itertools.pairwise(literal):
        yield "".join(pair) * (TRIAL_LENGTH // 2) + end
    yield "a b " * (TRIAL_LENGTH // 4) + end
