"""The same or nearly the same prompt with answers that do not go together.

    "Is it free?"  "Yes, for everybody."              opposite: one says yes, the other no
    "Is it free?"  "No, it costs 10 dollars."
    "What does it cost?"  "It costs 10 dollars."      numbers: different ones
    "What does it cost?"  "It costs 12 dollars."
    "Does it run there?"  "It runs on Windows."       negation: nearly the same words, one with a not
    "Does it run there?"  "It does not run on Windows."
    "What is it?"  "A card game."                     wording: hardly a word in common

The first three are faults more often than not. The last may be two good answers, to a request with many (`Write a poem`), and is told
apart. Prompts that differ in a number, a negation or such a pair as enable and disable ask different things and are not compared.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, excerpt, percent
from tunesmith.data.comparing.neighbours import Neighbours, asked, examples_at
from tunesmith.data.comparing.shingles import Hashes, jaccard, normalise, shingle_set
from tunesmith.types import Example

NAME = "contradictions"
DIFFERENT = "different-answers"
MOST_COMPARED = 12
"""Members of a cluster, with different answers, that are compared with each other."""
DIFFERENT_BELOW = 0.3
"""Words that the shorter answer shares with the longer one, of its own, below which they differ in wording."""
LABEL_WORDS = 3
"""Of answers as short as names of classes, both, every word counts: `lost card` is not `card arrival`."""
ALIKE_FROM = 0.6
"""The same share, from which a negation in one of them turns it into the opposite."""
SERIOUS = ("opposite", "numbers", "negation")

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def _words_in(text: str) -> frozenset[str]:
    return frozenset(text.split())


YES = _words_in("yes yeah yep correct right true sure absolutely certainly definitely ja oui sí sì sim")
NO = _words_in("no nope incorrect wrong false never nein non não nee")
NEGATIONS = _words_in("not no never none cannot without neither nor nothing unable nicht kein keine nie pas jamais ne nunca")
PREFIXES = ("dis", "un", "in", "im", "non", "de")
OPPOSITES = frozenset(
    frozenset(pair.split("/"))
    for pair in _words_in(
        "enable/disable on/off add/remove start/stop increase/decrease open/close import/export upload/download encode/decode "
        "before/after minimum/maximum min/max first/last first/second up/down left/right lock/unlock install/uninstall best/worst "
        "more/less most/least advantages/disadvantages pros/cons high/low input/output push/pull buy/sell send/receive deposit/withdraw"
    )
)
FILLERS = _words_in(
    "a an the is are was were be been it its this that these those of to in on for and or with by as at from you your i we they "
    "can could will would do does did has have had there which what how"
)


class Said(NamedTuple):
    """What is compared of an answer."""

    words: frozenset[str]
    """Without those that every sentence has."""
    numbers: frozenset[str]
    start: str
    negations: int


class Pair(NamedTuple):
    """Positions of two examples and how they contradict each other."""

    first: int
    second: int
    kind: str


def find(examples: Sequence[Example], context: CheckContext, near: Neighbours) -> list[Finding]:
    """At most two findings: contradictions in a strict sense, and answers that merely differ."""
    if not examples or examples[0].text is not None:
        return []
    pairs = list(_pairs(examples, near, context.threshold))
    serious = [pair for pair in pairs if pair.kind in SERIOUS]
    involved = {position for pair in serious for position in pair[:2]}
    others = [pair for pair in pairs if pair.kind not in SERIOUS and not {pair.first, pair.second} <= involved]
    found = []
    if serious:
        how = " and ".join(f"{count} by {kind}" for kind, count in sorted(Counter(pair.kind for pair in serious).items()))
        sentence = "{} ({}) contradict each other: nearly the same prompt, answers that cannot both be right (" + how + ")"
        found.append(_finding(examples, context, serious, sentence, NAME))
    if others:
        sentence = "{} ({}) have nearly the same prompt as another and an answer with hardly a word in common"
        found.append(_finding(examples, context, others, sentence, DIFFERENT))
    return found


def _finding(examples: Sequence[Example], context: CheckContext, pairs: Sequence[Pair], sentence: str, name: str) -> Finding:
    flagged = sorted({position for pair in pairs for position in pair[:2]})
    share = len(flagged) / len(examples)
    return Finding(
        check=name,
        sentence=sentence.format(counted(len(flagged), "example"), percent(share)),
        severity="warning" if name == NAME else "note",
        count=len(flagged),
        share=share,
        specimens=tuple(_specimen(examples[pair.first], examples[pair.second]) for pair in pairs[:MOST_SPECIMENS]),
        flagged=tuple(flagged),
        action=context.action(name),
        option=f"--drop {name}",
        figures={"pairs": len(pairs), "by_kind": dict(Counter(pair.kind for pair in pairs))},
    )


def _specimen(one: Example, other: Example) -> Specimen:
    shown = f"{excerpt(one.prompt, length=60)} → {excerpt(one.reference, length=60)} / {excerpt(other.reference, length=60)}"
    return Specimen(source=f"{one.source} and {other.source}", excerpt=shown)


def _pairs(examples: Sequence[Example], near: Neighbours, threshold: float) -> Iterator[Pair]:
    """Within every cluster of prompts, among the first few that are answered differently."""
    clusters = list(_clusters(near))
    read_in_turn = examples_at(examples, np.array([position for members in clusters for position in members], np.int64))
    for members in clusters:
        chosen = [_Compared.of(position, next(read_in_turn)) for position in members]
        for one, other in combinations(chosen, 2):
            if one.label != other.label or not _same_question(one.asked, other.asked, threshold):
                continue
            if kind := disagreement(one.said, other.said):
                yield Pair(one.position, other.position, kind)


class _Asked:
    """A prompt, and what is compared of it, worked out when it is."""

    def __init__(self, text: str) -> None:
        self.text, self.normal = text, normalise(text)

    @cached_property
    def words(self) -> Counter[str]:
        return Counter(_words(self.text))

    @cached_property
    def numbers(self) -> list[str]:
        return sorted(NUMBER.findall(self.text))

    @cached_property
    def negations(self) -> int:
        return _negations(self.words)

    @cached_property
    def shingles(self) -> Hashes:
        return shingle_set(self.normal)


class _Compared(NamedTuple):
    """An example of a cluster."""

    position: int
    label: bool | None
    asked: _Asked
    said: Said

    @classmethod
    def of(cls, position: int, example: Example) -> _Compared:
        return cls(position, example.label, _Asked(asked(example)), read(example.reference))


def _clusters(near: Neighbours) -> Iterator[list[int]]:
    """Positions of each cluster of near prompts, one for each cluster of near examples in it, MOST_COMPARED at most."""
    first = np.unique(near.examples)  # near examples answer alike
    first = first[np.argsort(near.prompts[first], kind="stable")]
    starts = np.flatnonzero(np.diff(near.prompts[first], prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(first)], strict=True):
        if end - start > 1:
            yield sorted(first[start:end].tolist())[:MOST_COMPARED]


def _same_question(one: _Asked, other: _Asked, threshold: float) -> bool:
    """Near directly, not by way of others, and without a difference that turns the question into another."""
    if one.normal == other.normal:
        return True
    if one.numbers != other.numbers or one.negations != other.negations:
        return False
    only_first, only_second = set(one.words - other.words), set(other.words - one.words)
    return not _turned(only_first, only_second) and jaccard(one.shingles, other.shingles) >= threshold


def _turned(one: set[str], other: set[str]) -> bool:
    """Is a word of one the opposite of a word of the other, by the list or by a prefix?"""
    return any(
        frozenset((first, second)) in OPPOSITES or any(prefix + first == second or prefix + second == first for prefix in PREFIXES)
        for first in one
        for second in other
    )


def _words(text: str) -> list[str]:
    return [word.replace("’", "'") for word in WORD.findall(unicodedata.normalize("NFKC", text).casefold())]


def _negations(words: Counter[str]) -> int:
    return sum(count for word, count in words.items() if word in NEGATIONS or word.endswith("n't"))


def read(answer: str) -> Said:
    """What of an answer is compared."""
    words = _words(answer)
    return Said(
        words=frozenset(words) - FILLERS or frozenset(words),
        numbers=frozenset(NUMBER.findall(answer)),
        start=words[0] if words else "",
        negations=_negations(Counter(words)),
    )


def disagreement(one: Said, other: Said) -> str | None:
    """`opposite`, `numbers`, `negation`, `wording`, or None when the answers go together."""
    if {(one.start in YES, one.start in NO), (other.start in YES, other.start in NO)} == {(True, False), (False, True)}:
        return "opposite"
    if not one.words or not other.words:
        return None
    shared = len(one.words & other.words) / min(len(one.words), len(other.words))
    labels = max(len(one.words), len(other.words)) <= LABEL_WORDS
    if shared < DIFFERENT_BELOW or (labels and shared < 1 and one.numbers == other.numbers and not one.negations + other.negations):
        return "wording"
    if not (one.numbers <= other.numbers or other.numbers <= one.numbers):
        return "numbers"
    if shared >= ALIKE_FROM and (one.negations == 0) != (other.negations == 0) and abs(len(one.words) - len(other.words)) <= 3:
        return "negation"
    return None
