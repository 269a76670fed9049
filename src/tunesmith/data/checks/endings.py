"""Whether a text without an end breaks off there, told from how often its last words end a sentence elsewhere in the set.

    >>> endings = Endings([Ending("You can train a model. You can train a model on text.".split())])
    >>> endings.odds(("You", "can")).odds > 1 > endings.odds(("a", "model")).odds
    True

The odds of a word are Bayes' rule on counts: a text cut anywhere ends on a word as often as that word stands within sentences, a
whole one as often as it ends them. Counts of the last three words are interpolated with those of two and of one (Jelinek and Mercer
1980), more counts with more trust. A word that the set does not know is a fragment or a rare word:
fragments begin other words and end as words do within, rare words end as words do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

NUM_CONTEXT = 3
"""Last words that are looked at together."""
TRUST = (3.0, 1.5, 1.0)
"""Counts that one, two and three words need to weigh as much as the fewer words before them."""
INSIDE_WORDS = 0.4
"""Of texts that are cut anywhere, about, those cut within a word."""
UNKNOWN_FRAGMENTS = 0.8
"""Of fragments, about, those that are no word of the set."""
FRAGMENTS_OF_KNOWN = 0.85
"""Of those, about, the beginnings of a word of the set."""
SUFFIX_LETTERS = 2
SUFFIXES = 400.0
"""Kinds of two last letters, about: what is added to their counts, one for each, before shares are taken of them."""
NUM_STANDING = 5
"""Last words by which an end that other texts have as well is known."""

_EDGE = "\"'”’“‘()[]{}*_`,.!?;:…"
_CLOSING = "\"'”’)]*_`"
_STOPS = (".", "!", "?", "…")


class Ending(NamedTuple):
    """A text to learn from."""

    words: Sequence[str]
    """As they stand, with their punctuation."""
    is_whole: bool = True
    """Does its last word end it for sure? Otherwise that word says nothing."""


class Odds(NamedTuple):
    """How many times likelier the end is if the text was cut than if it is whole."""

    odds: float
    is_inside: bool
    """If cut, then rather within a word."""


def bare(word: str) -> str:
    """Without the punctuation around it."""
    return word.strip(_EDGE)


def chances(odds: Sequence[float]) -> list[float]:
    """(texts,) -> the chance of each of being cut, the share of cut ones estimated along with them (expectation maximisation).

    One cut and one whole text are taken for seen before, so that a single end decides by its odds alone.
    """
    share = 0.5
    chance: list[float] = []
    for _ in range(50):
        chance = [share * one / (1 - share + share * one) for one in odds]
        share = (sum(chance) + 1) / (len(chance) + 2)
    return chance


class Endings:
    """Counts over some texts of a set."""

    def __init__(self, texts: Iterable[Ending], last_words: Iterable[str] | None = None) -> None:
        """`last_words`: those that will be asked about, bare; None keeps counts of all."""
        wanted = None if last_words is None else frozenset(last_words)
        self._all: Counter[tuple[str, ...]] = Counter()
        self._ends: Counter[tuple[str, ...]] = Counter()
        self._words: Counter[str] = Counter()
        self._word_ends: Counter[str] = Counter()
        self._standing: set[tuple[str, ...]] = set()
        for text in texts:
            self._take(text, wanted)
        self._share = (self._word_ends.total() + 1) / (self._words.total() + 2)
        self._study_words()

    def _take(self, text: Ending, wanted: frozenset[str] | None) -> None:
        words = [bare(word) for word in text.words]
        ends = [word.rstrip(_CLOSING).endswith(_STOPS) for word in text.words]
        num_known = len(words)
        if text.is_whole:
            ends[-1:] = [True] * len(ends[-1:])
            self._standing.add(tuple(words[-NUM_STANDING:]))
        else:
            num_known -= 1
        self._words.update(words[:num_known])
        self._word_ends.update([word for word, is_end in zip(words[:num_known], ends, strict=False) if is_end])
        for place in range(num_known):
            if wanted is None or words[place] in wanted:
                for number in range(1, min(NUM_CONTEXT, place + 1) + 1):
                    context = tuple(words[place - number + 1 : place + 1])
                    self._all[context] += 1
                    self._ends[context] += ends[place]

    def _study_words(self) -> None:
        """What is known of words that are not: how rare ones end and stand, and which letters words end and go on with."""
        once = [word for word, count in self._words.items() if count == 1]
        num_ends, num = self._word_ends.total(), self._words.total()
        num_once_ends = sum(word in self._word_ends for word in once)
        self._rare_end = (num_once_ends + 1) / (num_ends + 2)
        self._rare_within = (len(once) - num_once_ends + 1) / (num - num_ends + 2)
        self._vocabulary = sorted(word for word in self._words if word)
        num_beginnings = sum(after.startswith(word) for word, after in pairwise(self._vocabulary))
        self._beginning = (num_beginnings + 1) / (len(self._vocabulary) + 2)
        self._last_letters = Counter(word[-SUFFIX_LETTERS:].casefold() for word in self._vocabulary)
        self._inner_letters = Counter(
            word[max(0, place - SUFFIX_LETTERS) : place].casefold() for word in self._vocabulary for place in range(1, len(word))
        )

    def odds(self, words: Sequence[str]) -> Odds:
        """Of a text whose last words, bare, are `words`."""
        context = tuple(words[-NUM_CONTEXT:])
        if not self._words[context[-1]]:
            return self._odds_of_unknown(context[-1])
        share = self._share
        for number in range(1, len(context) + 1):
            trust = TRUST[number - 1]
            share = (self._ends[context[-number:]] + trust * share) / (self._all[context[-number:]] + trust)
        return Odds((1 - share) / share * self._share / (1 - self._share), is_inside=False)

    def is_standing(self, words: Sequence[str]) -> bool:
        """Does a whole text of the set end with the same words?"""
        return tuple(words[-NUM_STANDING:]) in self._standing

    def _odds_of_unknown(self, word: str) -> Odds:
        part = word.rsplit("-", 1)[-1] or word
        place = bisect_right(self._vocabulary, part)
        begins_another = place < len(self._vocabulary) and self._vocabulary[place].startswith(part)
        letters = part[-SUFFIX_LETTERS:].casefold()
        as_word = _share(self._last_letters, letters) * (self._beginning if begins_another else 1 - self._beginning)
        as_fragment = _share(self._inner_letters, letters) * (FRAGMENTS_OF_KNOWN if begins_another else 1 - FRAGMENTS_OF_KNOWN)
        inside = INSIDE_WORDS * UNKNOWN_FRAGMENTS * as_fragment
        between = (1 - INSIDE_WORDS) * self._rare_within * as_word
        return Odds((inside + between) / (self._rare_end * as_word), is_inside=inside > between)


def _share(counts: Counter[str], letters: str) -> float:
    return (counts[letters] + 1) / (counts.total() + SUFFIXES)
