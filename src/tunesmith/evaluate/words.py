"""Cutting text into words, in any script, for scorers and error groups.

    >>> words("Don't panic: 中国 — привет_мир!")
    ['don', 't', 'panic', '中', '国', 'привет', 'мир']

A word is a run of letters, digits and combining marks. Scripts written without spaces give one word a character, the
convention of multilingual question answering (MLQA, Lewis et al. 2020, section 4.1).
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache
from itertools import groupby

# Thai, Lao, Myanmar, Khmer, kana, Han (with its extensions and half-width kana).
_SPACELESS = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff])"
)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMERIC_MARK = re.compile(r"(?<=\d)\.(?=\d)|(?<![^\s(])[-\u2212](?=\d)")  # the point in 2.5, the sign of -3


def words(text: str) -> list[str]:
    """Lower-case words of `text`, punctuation left out."""
    composed = unicodedata.normalize("NFC", text).lower()
    return space_out("".join(character if _is_word_character(character) else " " for character in composed)).split()


def num_words(text: str) -> int:
    """Words as `words` counts them; a character of a script without spaces counts as one."""
    return len(words(text))


def pieces(text: str) -> list[str]:
    """`text` cut into words and what stands between them, nothing lost: `"".join(pieces(text)) == text`."""

    def kind(place: tuple[int, str]) -> int:
        index, character = place
        if not _is_word_character(character):
            return -1
        return index if _SPACELESS.match(character) else -2

    return ["".join(character for _, character in run) for _, run in groupby(enumerate(text), key=kind)]


def normalise(text: str) -> str:
    """Lower case, no punctuation, no English articles, single spaces (SQuAD's script, Rajpurkar et al. 2016).

    Two departures: punctuation is Unicode's, not only ASCII's; and a decimal point or minus sign of a number stays, so
    that 2.5 is not 25 and -3 is not 3. Text of nothing else than punctuation and articles is kept as it is, stripped.
    """
    lowered = unicodedata.normalize("NFC", text).lower()
    kept = {match.start() for match in _NUMERIC_MARK.finditer(lowered)}
    bare = "".join(character for i, character in enumerate(lowered) if i in kept or not _is_punctuation(character))
    return " ".join(_ARTICLES.sub(" ", bare).split()) or lowered.strip()


def normalised_words(text: str) -> list[str]:
    """Words of `normalise(text)`, the units of token F1."""
    return space_out(normalise(text)).split()


def space_out(text: str) -> str:
    """Spaces around every character of a script without spaces."""
    return _SPACELESS.sub(r" \1 ", text)


@lru_cache(maxsize=65536)
def _is_word_character(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


@lru_cache(maxsize=65536)
def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character)[0] == "P"
