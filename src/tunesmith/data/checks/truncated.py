"""Answers cut off before their end, told from the way the other answers of the set end.

    >>> cut_off("Raise the learning rate, train longer, or increase the").sign
    'after a word that goes on'
    >>> cut_off("Raise the learning rate, train longer, or increase the rank.")

Some ends are signs by themselves: an open code fence, a comma, a word like `the`. A missing full stop alone is none, for many
people write none. It counts where the other answers have theirs, and where the last word never ends a sentence elsewhere in the
set, or where so many ends are words like `the` that the texts must have been cut anywhere.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple, Self

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, ending, percent
from tunesmith.types import Example

FEWEST_WORDS = 4
"""A shorter answer is no sentence to be cut."""
LEAST_ENDED = 0.8
"""Share of the answers that end by themselves from which a missing end means anything."""
SIGNLESS_RATE = 0.3
"""Of cut answers, about, for one that shows a sign: those that happen to break off after a word that can end a sentence."""
LEAST_CUT = 0.5
"""Estimated share of cut ones among the answers without end or sign, from which they count as well."""
MOST_DOUBTFUL = 200_000
"""Remembered until all are seen. A set with more of them, and more than a fifth, punctuates little, and none of them counts."""
MOST_FINAL_WORDS = 1_000_000

_ENDS = frozenset(".!?…。！？।؟:;*_`~|])}>\"'”’»=/\\$%°™®♪")
"""Sentence ends, closing brackets and quotes, markup and code."""
_OPEN = frozenset(",([{-–—&+")
_FULL_STOPS = (".", "!", "?", ":", ";", ".)", '."')
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
    return None if answer[-1:] in _ENDS else _without_end(answer)


def _without_end(answer: str) -> Cut | None:
    words = answer.rsplit(None, FEWEST_WORDS)
    if len(words) < FEWEST_WORDS:
        return None
    last = words[-1]
    if last[-1] in _OPEN:
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
    """The sign; of a doubtful one the last word."""


class Truncated:
    """The check: sure signs as they come, doubtful ends once it is known how the answers of the set end."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "truncated-answer"
        self.context = context
        self.num_seen = self.num_sentences = 0
        self.sure: list[_Seen] = []
        self.doubtful: list[_Seen] = []
        self.final_words: set[str] = set()
        """With their full stops, as they stand at the ends of sentences."""

    def look(self, position: int, example: Example) -> None:
        self.num_seen += 1
        if not example.messages:
            return
        answer = example.messages[-1].content
        words = answer.split()
        if len(words) < FEWEST_WORDS and "```" not in answer:
            return
        self.num_sentences += 1
        if len(self.final_words) < MOST_FINAL_WORDS:
            self.final_words.update([word for word in words if word[-1] in ".!?"])
        cut = cut_off(answer)
        if cut is not None:
            kept, what = (self.sure, cut.sign) if cut.sign else (self.doubtful, cut.last)
            if len(kept) < MOST_DOUBTFUL:
                kept.append(_Seen(position, example.source, answer.rstrip()[-400:], what))

    def merge(self, other: Self) -> None:
        self.num_seen += other.num_seen
        self.num_sentences += other.num_sentences
        self.sure += other.sure
        self.doubtful += other.doubtful
        self.final_words |= other.final_words

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
        """The doubtful ones that count."""
        if len(self.sure) + len(self.doubtful) > (1 - LEAST_ENDED) * self.num_sentences:
            return []
        known = [any(one.what + stop in self.final_words for stop in _FULL_STOPS) for one in self.doubtful]
        signs, signless = len(self.sure) + known.count(False), known.count(True)
        all_count = SIGNLESS_RATE * signs >= LEAST_CUT * signless
        return [
            one._replace(what="after a word that may end a sentence" if is_known else "after a word that ends no other sentence")
            for one, is_known in zip(self.doubtful, known, strict=True)
            if all_count or not is_known
        ]


def truncated(context: CheckContext) -> Truncated:
    """Answers cut off before their end."""
    return Truncated(context)
