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

LEAST_LETTERS_OF_STEM = 4
LEAST_FREQUENCY_OF_STEM = 100_000
"""New words are made from words that are in use."""
_PREFIXES = (
    "anti auto bi co counter cyber de dis eco extra fore geo hyper inter intra macro mega meta micro mid mini mis mono multi nano neuro "
    "non out over photo poly post pre proto pseudo psycho quasi re self semi socio sub super tele trans ultra un under uni up"
)
PREFIXES = tuple(_PREFIXES.split())
"""From which English makes new words."""
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


_SUFFIXES = tuple(
    (re.compile(rf"(?:{suffix})$"), stems)
    for suffix, stems in (
        ("(?:ness|less|like|wise)", ("",)),  # robustness
        ("abl[ey]|ability|abilities", ("", "e")),  # trainable, tunable
        ("i[sz](?:e|ed|es|er|ers|ing|able|ation|ations)", ("", "e", "y")),  # tokenizer, vectorization, summarizer
        ("ification|ifications", ("", "e", "y")),  # gamification
    )
)
"""Endings that make new words, and what the stem has lost before them."""


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
    return _is_listed(word) or _is_compound(word) or _is_derived(word)


def _is_listed(word: str) -> bool:
    return _in_dictionary(word) or any(map(_in_dictionary, _british(word)))


def _is_derived(word: str) -> bool:
    """A productive prefix, suffix or both around a frequent word: `deduplication`, `retrainable`, `tokenizer`.

    Not where a common word is one letter away (`copetition`, `transmiter`): that is a slip, whatever its parts.
    """
    rests = [word, *(word.removeprefix(prefix) for prefix in PREFIXES if word.startswith(prefix))]
    derived = any(map(_is_stem, rests[1:])) or any(_is_stem(stem) for rest in rests for stem in _stems(rest))
    return word in PREFIXES or (derived and _nearest(word, 1) is None)


def _stems(word: str) -> Iterable[str]:
    """Words that a suffix may have been put to."""
    for suffix, lost in _SUFFIXES:
        if found := suffix.search(word):
            yield from (word[: found.start()] + letter for letter in lost)


def _is_stem(word: str) -> bool:
    """In the dictionary, long and frequent enough to have derivatives."""
    return len(word) >= LEAST_LETTERS_OF_STEM and max(map(_frequency, (word, *_british(word)))) >= LEAST_FREQUENCY_OF_STEM


def _frequency(word: str) -> int:
    return _frequencies().get(word, 0)


def _british(word: str) -> Iterable[str]:
    """The dictionary is British: `color` -> `colour`, `analyze` -> `analyse`, `traveled` -> `travelled`."""
    for american, british in _AMERICAN:
        for match in american.finditer(word):
            yield word[: match.start()] + british + word[match.end() :]


def _is_compound(word: str) -> bool:
    """Two known words of three letters or more: `dataset`, `overfitting`, `hyperparameters`.

    Where a common word is one letter away, both have to be common: `backend`, not `happend` or `refurn`.
    """
    halves = [(word[:cut], word[cut:]) for cut in range(3, len(word) - 2)]
    known = [pair for pair in halves if all(map(_in_dictionary, pair))]
    return bool(known) and (any(all(map(is_common_word, pair)) for pair in known) or _nearest(word, 1) is None)


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


def _correction(word: str) -> str | None:
    return _nearest(word, 2 if len(word) >= LEAST_LETTERS_FOR_TWO else 1)


@lru_cache(maxsize=8192)
def _nearest(word: str, distance: int) -> str | None:
    """The most frequent of the nearest common words, at most so many letters away."""
    from symspellpy import Verbosity

    found = _corrector().lookup(word, Verbosity.TOP, max_edit_distance=distance)
    return str(found[0].term) if found else None


def is_common_word(word: str) -> bool:
    """Whether a lower-case word is so frequent that it is hardly a name, even with a capital."""
    return _frequencies().get(word, 0) >= COMMON_FREQUENCY


def is_english_word(word: str) -> bool:
    """Whether a lower-case word is in the dictionary, British or American, or made of two that are."""
    return _is_known(word)
