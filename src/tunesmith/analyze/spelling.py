"""Misspelt English words, with what was probably meant.

    >>> Spelling.learn(examples).misspelt("Fine-tuning recieves colour and LoRA.", known="")
    [Misspelling(word='recieves', meant='receives')]

A word is called misspelt only where that is nearly sure: it is in no dictionary, not in the training data, the prompt or
the reference, is no compound or American form of a known word, and a common word is one or two letters away. Names,
code, addresses and new coinages fail that test, and are meant to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from tunesmith.analyze.content import CODE
from tunesmith.types import Example

if TYPE_CHECKING:
    from symspellpy import SymSpell

LEAST_ENGLISH_SHARE = 0.8
"""Data with fewer dictionary words than this is not English prose, and is not checked; measured: lamini_docs 98 %."""
MOST_UNKNOWN_SHARE = 0.5
"""An answer with more unknown words than this is in another language, or code."""
LEAST_LETTERS = 4
"""Shorter words are mostly abbreviations."""
LEAST_FREQUENCY = 1_000_000
"""A word this frequent in Google's books is common enough to be what was meant (`receive`: 88 million)."""
COMMON_FREQUENCY = 20_000_000
"""Names that the dictionary has are mostly rarer (Toledo 5, Maria 14, Moscow 10 million), common nouns more frequent (kitchen 61)."""
LEAST_LETTERS_FOR_TWO = 8
"""From this many letters two letters may be wrong, below only one."""

_NOT_PROSE = re.compile(r"://|www\.|[@\d_/\\<>]|\w\.\w")  # within a token between spaces
_WORD = re.compile(r"(?<![\w'’-])[A-Za-z]+(?:['’][A-Za-z]+)?(?![\w])|(?<=-)[a-z]+(?![\w])")
_AMERICAN = tuple(
    (re.compile(american), british)
    for american, british in (
        ("(?<=..)or", "our"),  # color
        ("yz(?=[ei])", "ys"),  # analyze
        ("iz(?=[eia])", "is"),  # realize
        ("ic(?=ing$|ed$)", "is"),  # practicing
        ("er(?=$|s$|ed$|ing$)", "re"),  # center; centered has one e less:
        ("ered$", "red"),
        ("l(?=ed$|ing$|ers?$|ors?$)", "ll"),  # traveled
        ("(?<=lfi|sti|nro|hra)ll|ll(?=ments?$|ful)", "l"),  # fulfillment, skillful
        ("og(?=s?$)", "ogue"),  # catalog
        ("e(?=d|m|o|s)", "ae"),  # orthopedic
        ("ense(?=s?$)", "ence"),  # defense
    )
)


class Misspelling(NamedTuple):
    """A word as written, and the common word nearest to it."""

    word: str
    meant: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Spelling:
    """What counts as known beside the dictionary."""

    vocabulary: frozenset[str]
    """Words of the training data, lower case."""
    is_english: bool
    """False: the data is not English, and nothing is ever misspelt."""

    @classmethod
    def learn(cls, examples: Sequence[Example]) -> Spelling:
        texts = list(chain.from_iterable(_texts(example) for example in examples))
        found = [word for text in texts for word in _all_words(text)]
        return cls(vocabulary=frozenset(found), is_english=_is_english(texts, found))

    def misspelt(self, text: str, *, known: str) -> list[Misspelling]:
        """Misspelt words of `text`, each once, in order; words of `known` (prompt and reference) are right."""
        if not self.is_english:
            return []
        right = self.vocabulary | frozenset(_all_words(known))
        checked = list(_prose_words(text))
        unknown = list(dict.fromkeys(word for word in checked if word not in right and not _is_known(word)))
        if len(unknown) > MOST_UNKNOWN_SHARE * max(len(checked), 6):
            return []
        return [Misspelling(word, meant) for word in unknown if (meant := _correction(word))]


def _texts(example: Example) -> list[str]:
    return [message.content for message in example.messages] if example.messages else [example.text or ""]


def _is_english(texts: Sequence[str], found: Sequence[str]) -> bool:
    """Most words are in the dictionary, and most letters are in those words (not in another script)."""
    num_letters = sum(character.isalpha() for text in texts for character in text)
    num_known_letters = sum(len(word) for word in found if _in_dictionary(word))
    num_known = sum(map(_in_dictionary, found))
    return num_known >= LEAST_ENGLISH_SHARE * len(found) and 2 * num_known_letters >= num_letters


def _all_words(text: str) -> list[str]:
    return [_bare(match) for match in re.findall(r"[A-Za-z]+(?:['’][A-Za-z]+)?", text.lower())]


def _prose_words(text: str) -> Iterable[str]:
    """Lower-case words that could be misspelt: no code, addresses, words with digits, and no capitals."""
    prose = re.sub(r"\S+", _blank_unless_prose, CODE.sub(" ", text))
    for match in _WORD.finditer(prose):
        word = match.group()
        if len(word) >= LEAST_LETTERS and word.islower():  # a capital anywhere: a name, an acronym, or code
            yield _bare(word)


def _blank_unless_prose(token: re.Match[str]) -> str:
    return " " if _NOT_PROSE.search(token.group()) else token.group()


def _bare(word: str) -> str:
    """Without a possessive ending."""
    return re.sub(r"'s?$", "", word.replace("’", "'"))


def _is_known(word: str) -> bool:
    return _in_dictionary(word) or any(map(_in_dictionary, _british(word))) or _is_compound(word)


def _british(word: str) -> Iterable[str]:
    """The dictionary is British: `color` -> `colour`, `analyze` -> `analyse`, `traveled` -> `travelled`."""
    for american, british in _AMERICAN:
        for match in american.finditer(word):
            yield word[: match.start()] + british + word[match.end() :]


def _is_compound(word: str) -> bool:
    """Two known words of three letters or more: `dataset`, `overfitting`, `hyperparameters`."""
    return any(_in_dictionary(word[:cut]) and _in_dictionary(word[cut:]) for cut in range(3, len(word) - 2))


def _in_dictionary(word: str) -> bool:
    return word in _frequencies()


@lru_cache(maxsize=1)
def _frequencies() -> Mapping[str, int]:
    """symspellpy's English dictionary: 82,834 words and how often they occur in Google's books."""
    file = resources.files("symspellpy") / "frequency_dictionary_en_82_765.txt"
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return {word: int(count) for word, count in (line.split() for line in lines)}


@lru_cache(maxsize=1)
def _corrector() -> SymSpell:
    from symspellpy import SymSpell

    corrector = SymSpell(max_dictionary_edit_distance=2)
    for word, count in _frequencies().items():
        if count >= LEAST_FREQUENCY and len(word) >= LEAST_LETTERS - 1:
            corrector.create_dictionary_entry(word, count)
    return corrector


@lru_cache(maxsize=8192)
def _correction(word: str) -> str | None:
    from symspellpy import Verbosity

    distance = 2 if len(word) >= LEAST_LETTERS_FOR_TWO else 1
    found = _corrector().lookup(word, Verbosity.TOP, max_edit_distance=distance)
    return str(found[0].term) if found else None


def is_common_word(word: str) -> bool:
    """Whether a lower-case word is so frequent that it is hardly a name, even with a capital."""
    return _frequencies().get(word, 0) >= COMMON_FREQUENCY


def is_english_word(word: str) -> bool:
    """Whether a lower-case word is in the dictionary, British or American, or made of two that are."""
    return _is_known(word)
