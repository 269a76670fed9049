"""Word sequences that come again and again in different answers, and how much of the text they make up.

Counted on a sample: every word begins a sequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Self

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, excerpt, percent
from tunesmith.data.checks.sampling import Sample, Taken
from tunesmith.types import Example

PHRASE_WORDS = 5
SAMPLE_SIZE = 2_000
FEWEST_ANSWERS = 50
"""Different answers in the sample, below which nothing is said."""
LEAST_SHARE = 0.04
"""Of the answers of the sample, from which a phrase is said."""
MUCH = 0.1
"""From which it is a warning."""
MOST_PHRASES = 10


class Phrase(NamedTuple):
    """A sequence of words and the answers it stands in."""

    text: str
    members: frozenset[int]
    """Numbers of the answers."""


class RepeatedPhrases:
    """The check."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "repeated-phrases"
        self.context = context
        self.sample = Sample(SAMPLE_SIZE)

    def look(self, position: int, example: Example) -> None:
        if example.messages:
            self.sample.offer(position, example)

    def merge(self, other: Self) -> None:
        self.sample.merge(other.sample)

    def findings(self) -> list[Finding]:
        # Equal answers are stock answers or duplicates, which have checks of their own.
        answers = list({" ".join(one.answer.lower().split()): one for one in reversed(self.sample.taken())}.values())[::-1]
        if len(answers) < FEWEST_ANSWERS:
            return []
        phrases, repeated_share = frequent_phrases([one.answer for one in answers])
        if not phrases:
            return []
        members = frozenset().union(*(one.members for one in phrases))
        share = len(members) / len(answers)
        listed = ", ".join(f"“{one.text}” in {percent(len(one.members) / len(answers))}" for one in phrases[:3])
        return [
            Finding(
                check=self.name,
                sentence=f"of a sample of {len(answers):,} different answers, {len(members):,} ({percent(share)}) share phrases: {listed}",
                severity="warning" if len(phrases[0].members) >= MUCH * len(answers) else "note",
                count=len(members),
                share=share,
                specimens=tuple(_specimen(answers, one) for one in phrases[:MOST_SPECIMENS]),
                figures={
                    "sample": len(answers),
                    "phrases": {one.text: len(one.members) for one in phrases},
                    "repeated_sequences": round(repeated_share, 4),
                },
            )
        ]


def frequent_phrases(answers: Sequence[str]) -> tuple[list[Phrase], float]:
    """Phrases of many answers, the most frequent first, and the share of all sequences that stand in more than one answer.

    Of sequences that overlap in the same answers the first is kept.
    """
    sequences = [_sequences(answer) for answer in answers]
    counts: Counter[tuple[str, ...]] = Counter()
    for found in sequences:
        counts.update(found)
    total = sum(counts.values())
    repeated = sum(count for count in counts.values() if count > 1) / total if total else 0.0
    often = [one for one, count in counts.items() if count >= LEAST_SHARE * len(answers)]
    phrases: list[Phrase] = []
    for words in sorted(often, key=lambda one: (-counts[one], one)):
        members = frozenset(number for number, found in enumerate(sequences) if words in found)
        if all(len(members & known.members) < 0.8 * len(members) for known in phrases):
            phrases.append(Phrase(" ".join(words), members))
        if len(phrases) == MOST_PHRASES:
            break
    return phrases, repeated


def _sequences(answer: str) -> set[tuple[str, ...]]:
    words = answer.lower().split()
    return set(zip(*(words[start:] for start in range(PHRASE_WORDS)), strict=False))


def _specimen(answers: Sequence[Taken], phrase: Phrase) -> Specimen:
    taken = answers[min(phrase.members)]
    place = " ".join(taken.answer.split()).lower().find(phrase.text)
    return Specimen(source=taken.source, excerpt=excerpt(" ".join(taken.answer.split()), max(0, place), max(0, place) + len(phrase.text)))


def repeated_phrases(context: CheckContext) -> RepeatedPhrases:
    """Word sequences that come again and again."""
    return RepeatedPhrases(context)
