"""Answers cut off before their end, told from the way the other answers of the set end.

    >>> cut_off("Raise the learning rate, train longer, or increase the").sign
    'after a word that goes on'
    >>> cut_off("Raise the learning rate, train longer, or increase the rank.")

Some ends are signs by themselves: an open code fence, a comma, a word like `the`. A missing full stop alone is none, for many
people write none. Where the other answers have theirs, it counts by its last words: how often they end a sentence of the set, and
whether they are words at all (`endings`). An end that several answers share is the set's own way to end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, Self

from tunesmith.data.checks.endings import NUM_STANDING, Ending, Endings, bare, chances
from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, ending, percent
from tunesmith.data.checks.sampling import Sample
from tunesmith.types import Example

FEWEST_WORDS = 4
"""A shorter answer is no sentence to be cut."""
LEAST_ENDED = 0.8
"""Share of the answers that end by themselves from which a missing end means anything."""
LEAST_CHANCE = 0.5
"""Of being cut, from which a doubtful one may count."""
MOST_WRONG = 0.05
"""Expected share of whole answers among those that are flagged."""
MOST_STUDIED = 10_000
"""Answers from whose words is learnt how sentences end, chosen by their ids."""
MOST_CHARACTERS = 4_000
"""Of each of them."""
MOST_DOUBTFUL = 200_000
"""Remembered until all are seen. A set with more of them, and more than a fifth, punctuates little, and none of them counts."""

_ENDS = frozenset(".!?…。！？।؟:;*_`~|])}>\"'”’»=/\\$%°™®♪")
"""Sentence ends, closing brackets and quotes, markup and code."""
_OPEN = frozenset(",([{-–—&+")
_NAMED_PLUS = re.compile(r"\w+\+{1,2}")
"""`C++`, `A+`."""
_SPECIAL = re.compile(
    r"\S+://\S*|www\.\S+|\S+@\S+|[\w-]+(?:\.[\w-]+)+\S*|\S*[/\\_#]\S*|[A-Z][A-Z\d-]+s?|\S*\d\S*|[^\x00-\u024f]+\S*", re.ASCII
)
"""Addresses, paths, names in code, abbreviations and numbers need no full stop; scripts other than Latin may have none."""
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*•+>]|\d{1,3}[.)]|[a-zA-Z][.)]|#+|\w+:)[ \t]")
_GOING_ON = frozenset(
    word
    for line in (
        "the a an of and or but as if than which who whose when where while because is are was were be been has have had will would can",
        "could should may might must its their your our my his into onto from with for to by in on at every such through between during",
        "that not also this these it they we you i he she very more about either both only any some each however therefore so then",
        "der den dem ein eine einen einem und oder mit für von zu im le les des une et ou du pour avec el los las una y para con del",
    )
    for word in line.split()
)
"""Words that a sentence rarely ends with."""


class Cut(NamedTuple):
    """How an answer breaks off."""

    sign: str
    """For people; empty where only the full stop is missing."""
    last: str
    """The last word."""


def cut_off(answer: str) -> Cut | None:
    """The sign that `answer` was cut off, if it may have been."""
    answer = answer.rstrip()
    if answer.count("```") % 2:
        return Cut("in an open code block", "")
    if answer[-2:] == " `" and answer.count("`") % 2:
        return Cut("in open inline code", "`")
    return None if answer[-1:] in _ENDS else _without_end(answer)


def _without_end(answer: str) -> Cut | None:
    words = answer.rsplit(None, FEWEST_WORDS)
    if len(words) < FEWEST_WORDS:
        return None
    last = words[-1]
    if last[-1] in _OPEN and not _NAMED_PLUS.fullmatch(last):
        return Cut("after a comma or the like", last)
    if last in _GOING_ON:
        return Cut("after a word that goes on", last)
    if answer.count("`") % 2:
        return Cut("in open inline code", last)
    if _SPECIAL.fullmatch(last) or (not answer.isprintable() and _is_list(answer)):
        return None
    return Cut("in an open bracket or quotation" if answer.count("(") > answer.count(")") or answer.count('"') % 2 else "", last)


def _is_list(answer: str) -> bool:
    """Whether the last line belongs to a list, or to lines that all end without a full stop."""
    lines = [line for line in answer.split("\n") if line.strip()]
    return bool(_LIST_ITEM.match(lines[-1])) or (len(lines) > 1 and lines[-2].rstrip()[-1] not in _ENDS)


class _Seen(NamedTuple):
    """An answer that breaks off, or may."""

    position: int
    source: str
    end: str
    what: str
    """The sign; of a doubtful one empty."""

    @property
    def words(self) -> list[str]:
        """The last words, bare, without what another check looks for in them."""
        seen = self.end if self.end.isprintable() else "".join(sign for sign in self.end if sign.isprintable() or sign.isspace())
        return [bare(word) for word in seen.split()[-NUM_STANDING:]]


class Truncated:
    """The check: sure signs as they come, doubtful ends once it is known how the answers of the set end."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "truncated-answer"
        self.context = context
        self.num_seen = self.num_sentences = 0
        self.sure: list[_Seen] = []
        self.doubtful: list[_Seen] = []
        self.sample = Sample(MOST_STUDIED, most_characters=MOST_CHARACTERS)

    def look(self, position: int, example: Example) -> None:
        self.num_seen += 1
        if not example.messages:
            return
        answer = example.messages[-1].content
        if len(answer.split(None, FEWEST_WORDS)) < FEWEST_WORDS and "```" not in answer:
            return
        self.num_sentences += 1
        self.sample.offer(position, example)
        cut = cut_off(answer)
        if cut is not None:
            kept = self.sure if cut.sign else self.doubtful
            if len(kept) < MOST_DOUBTFUL:
                kept.append(_Seen(position, example.source, answer.rstrip()[-400:], cut.sign))

    def merge(self, other: Self) -> None:
        self.num_seen += other.num_seen
        self.num_sentences += other.num_sentences
        self.sure += other.sure
        self.doubtful += other.doubtful
        self.sample.merge(other.sample)

    def findings(self) -> list[Finding]:
        cut = sorted([*self.sure, *self._counting()])
        if not cut:
            return []
        share = len(cut) / self.num_seen
        signs = Counter(one.what for one in cut)
        listed = ", ".join(f"{count:,} {sign}" for sign, count in sorted(signs.items(), key=lambda item: (-item[1], item[0])))
        return [
            Finding(
                check=self.name,
                sentence=f"{counted(len(cut), 'answer')} ({percent(share)}) {'is' if len(cut) == 1 else 'are'} cut off: {listed}",
                severity="problem" if share >= 0.01 else "warning",
                count=len(cut),
                share=share,
                specimens=tuple(Specimen(source=one.source, excerpt=ending(one.end)) for one in cut[:MOST_SPECIMENS]),
                flagged=tuple(one.position for one in cut),
                action=self.context.action(self.name),
                option=f"--drop {self.name}",
                figures={"signs": dict(signs), "answers_without_end": len(self.sure) + len(self.doubtful), "sentences": self.num_sentences},
            )
        ]

    def _counting(self) -> list[_Seen]:
        """The doubtful ones that count: the likeliest, as long as so few of all that are flagged are expected to be wrong."""
        if not self.doubtful or len(self.sure) + len(self.doubtful) > (1 - LEAST_ENDED) * self.num_sentences:
            return []
        judged = self._judged()
        ranked = sorted(zip(chances([odds for odds, _ in judged]), judged, strict=True), key=lambda one: (-one[0], one[1][1].position))
        counting: list[_Seen] = []
        expected_wrong = 0.0
        for chance, (_, seen) in ranked:
            expected_wrong += 1 - chance
            if chance < LEAST_CHANCE or expected_wrong > max(1 - LEAST_CHANCE, MOST_WRONG * (len(self.sure) + len(counting) + 1)):
                break
            counting.append(seen)
        return counting

    def _judged(self) -> list[tuple[float, _Seen]]:
        """Odds of being cut, with what is said then; without the ends that several answers share, as formulas of the set."""
        last_words = [one.words for one in self.doubtful]
        endings = Endings(self._studied(), {words[-1] for words in last_words})
        shared = Counter(map(tuple, last_words))
        judged = []
        for one, words in zip(self.doubtful, last_words, strict=True):
            if shared[tuple(words)] == 1 and not endings.is_standing(words):
                odds, is_inside = endings.odds(words)
                judged.append((odds, one._replace(what="within a word" if is_inside else "after a word that goes on in the other answers")))
        return judged

    def _studied(self) -> Iterator[Ending]:
        for taken in self.sample.taken():
            is_whole = len(taken.answer) < MOST_CHARACTERS and cut_off(taken.answer) is None
            yield Ending(taken.answer.split(), is_whole)


def truncated(context: CheckContext) -> Truncated:
    """Answers cut off before their end."""
    return Truncated(context)
