"""Boilerplate: answers that open with the same words.

A model learns an opening that a tenth of its answers share before anything else, and begins all answers so.
"""

from __future__ import annotations

from typing import Self

from tunesmith.data.checks.counting import Repeats
from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, counted, percent
from tunesmith.types import Example

OPENING_WORDS = 4
LEAST_SHARE = 0.05
"""Of the answers, from which a shared opening is said."""
MUCH = 0.1
"""From which it is a warning."""
FEWEST = 10
"""Different answers with one opening, at least: the same answer many times is a stock answer, which another check reports."""
LONGER_BY = 3
"""Words that an answer has beyond its opening."""


class SameOpening:
    """The check of openings."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "same-opening"
        self.context = context
        self.num_seen = self.num_answers = 0
        self.repeats = Repeats()

    def look(self, position: int, example: Example) -> None:
        self.num_seen += 1
        if not example.messages:
            return
        answer = example.messages[-1].content
        words = answer[:200].lower().split(None, OPENING_WORDS + LONGER_BY)
        if len(words) > OPENING_WORDS + LONGER_BY:
            self.num_answers += 1
            self.repeats.add(position, " ".join(words[:OPENING_WORDS]), example.source, answer, whole=answer)

    def merge(self, other: Self) -> None:
        self.num_seen += other.num_seen
        self.num_answers += other.num_answers
        self.repeats.merge(other.repeats)

    def findings(self) -> list[Finding]:
        fewest = max(FEWEST, LEAST_SHARE * self.num_answers)
        often = [one for one in self.repeats.at_least(fewest) if one.num_wholes >= FEWEST]
        if not often:
            return []
        flagged = sorted({int(position) for one in often for position in one.positions})
        listed = ", ".join(f"{len(one.positions):,} with “{one.text} …”" for one in often[:3])
        worst = len(often[0].positions) / self.num_answers
        share = len(flagged) / self.num_seen
        return [
            Finding(
                check=self.name,
                sentence=f"{counted(len(flagged), 'answer')} ({percent(share)}) open with words that many others open with: {listed}",
                severity="warning" if worst >= MUCH else "note",
                count=len(flagged),
                share=share,
                specimens=tuple(one.specimens[0] for one in often)[:MOST_SPECIMENS] if len(often) > 1 else often[0].specimens,
                flagged=tuple(flagged),
                action=self.context.action(self.name),
                option=f"--drop {self.name}",
                figures={"openings": {one.text: len(one.positions) for one in often[:20]}, "answers": self.num_answers},
            )
        ]


def same_opening(context: CheckContext) -> SameOpening:
    """Answers that open alike."""
    return SameOpening(context)
