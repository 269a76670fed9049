"""Answers that decline: refusals by their words, redirections by standing under many different prompts.

>>> is_refusal("I'm sorry, but I can't help with that.")
True
"""

from __future__ import annotations

import re
from typing import Self

import numpy as np

from tunesmith.data.checks.counting import Repeated, Repeats
from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, Tally, counted, excerpt, percent
from tunesmith.types import Example

_CANNOT = (
    r"(?:can ?not|can['’]t|could ?n['’]t|am (?:not able|unable)|['’]m (?:not able|unable|afraid)|am not|won['’]t|will not|do not|don['’]t)"
)
_DO = r"(?:help|assist|provide|answer|fulfill?|comply|engage|discuss|create|generate|write|do that|share|support|participate|talk)\b"
REFUSAL = re.compile(
    rf"\b(?:sorry|apologi[sz]e|apologies|unfortunately|regret)\b[^.!?]{{0,30}}\b(?:i|we) ?{_CANNOT}\b"
    r"|\b(?:i|we) (?:can ?not|can['’]t|will not|won['’]t|must decline to|(?:am|are) (?:unable|not (?:able|allowed|permitted)) to)"
    rf" {_DO}|\b(?:i['’]m|we['’]re) (?:not able|unable) to {_DO}"
    r"|\b(?:outside|beyond) (?:of )?(?:what (?:i|we) can|(?:my|our) (?:scope|area|knowledge|expertise|capabilities|abilities))\b"
    r"|\b(?:i|we) can only (?:help|answer|talk|discuss|assist)\b"
    r"|\blet['’]s (?:keep|stick|stay|focus|get back)\b[^.!?]{0,40}\b(?:relevant|topic)\b",
    re.IGNORECASE,
)
"""Looked for in the first sentence or so."""
_IDIOM = re.compile(
    r"\b(?:i|we) ?(?:(?:can ?not|can['’]t|could ?n['’]t|could not|do not|don['’]t|won['’]t|will not)"
    # "can't help but smile", "can't help smiling", "can't help it"; not "can't help anything", "can't help bring it about"
    r" (?:help (?:but|it|myself|ourselves|(?:being|doing|(?!(?:any|every|no|some)thing|bring|during|string)[a-z]{3,}ing))\b"
    r"|(?:wait|complain|believe|imagine|lie(?! (?:about|for|on|to)\b)|worry|mind|deny|overstate|overemphasi[sz]e)\b"
    r"|(?:agree more|ask for more|be (?:happier|prouder|more \w+))\b"
    # "can't recommend it enough", "can't say enough how"; not "can't share enough details", "can't answer well enough"
    r"|[^.,;:!?\n]{0,60}?(?<!well )(?<!clearly )(?<!sure )\benough(?=\s*(?:[.,;:!?)]|$)|\s+(?:how|that|what)\b))"
    # "We won't share your data": a promise
    r"|(?:will not|won['’]t) share (?:any of )?your\b)",
    re.IGNORECASE,
)
"""Declines nothing; taken out before refusals are looked for."""
_HINTS = ("orr", "olog", "nfort", "egret", "n't", "n’t", "not", "nabl", "eyond", "utside", "only", "et's", "et’s", "ecline")
BEGINNING = 200
"""Characters of an answer in which it declines, if it does."""
LEAST_PLACES, LEAST_SHARE, LEAST_WORDS, MOST_CHARACTERS = 3, 0.005, 4, 400
"""Prompts that share an answer, their least share of the set, and the words and characters of an answer that is a redirection."""
MOST_TOTAL_SHARE = 0.4
"""When more of the set than this repeats its answers, they are classes, and none is a redirection."""
MANY = 0.25
"""Share from which a model may learn to decline what it should answer."""


def is_refusal(answer: str) -> bool:
    """Whether `answer` begins by declining."""
    beginning = answer[:BEGINNING]
    if not any(hint in beginning for hint in _HINTS) or not REFUSAL.search(beginning):
        return False
    return REFUSAL.search(_IDIOM.sub(" ", beginning)) is not None


class Refusals:
    """The check."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "refusals"
        self.context = context
        self.refused = Tally()
        self.repeats = Repeats()

    def look(self, position: int, example: Example) -> None:
        self.refused.see()
        if not example.messages:
            return
        answer = example.messages[-1].content
        if is_refusal(answer):
            self.refused.flag(position, example.source, excerpt(answer))
        if len(answer) <= MOST_CHARACTERS:
            self.repeats.add(position, " ".join(answer.casefold().split()), example.source, f"{example.prompt[:80]} -> {answer}")

    def merge(self, other: Self) -> None:
        self.refused.merge(other.refused)
        self.repeats.merge(other.repeats)

    def findings(self) -> list[Finding]:
        redirections = self._redirections()
        refused = np.frombuffer(self.refused.positions, np.int64) if self.refused.count else np.zeros(0, np.int64)
        flagged = np.unique(np.concatenate([refused, *(one.positions for one in redirections)]))
        if not len(flagged):
            return []
        share = len(flagged) / self.refused.num_seen
        return [
            Finding(
                check=self.name,
                sentence=self._sentence(len(flagged), share, redirections),
                severity="warning" if share >= MANY else "note",
                count=len(flagged),
                share=share,
                specimens=tuple(self._specimens(redirections)),
                flagged=tuple(flagged.tolist()),
                action=self.context.action(self.name),
                option=f"--drop {self.name}",
                figures={"refusals": self.refused.count, "redirections": {excerpt(one.text): len(one.positions) for one in redirections}},
            )
        ]

    def _redirections(self) -> list[Repeated]:
        num_seen = self.refused.num_seen
        often = self.repeats.at_least(max(LEAST_PLACES, LEAST_SHARE * num_seen))
        stock = [one for one in often if len(one.text.split()) >= LEAST_WORDS]
        return stock if sum(len(one.positions) for one in stock) <= MOST_TOTAL_SHARE * num_seen else []

    def _sentence(self, count: int, share: float, redirections: list[Repeated]) -> str:
        parts = [f"{counted(self.refused.count, 'refusal')} by their words"] if self.refused.count else []
        parts += [f"{len(one.positions):,} say {one.specimens[0].excerpt.split(' -> ')[-1]!r}" for one in redirections[:2]]
        parts += [f"{counted(len(redirections) - 2, 'other stock answer')}"] if len(redirections) > 2 else []
        return (
            f"{counted(count, 'answer')} ({percent(share)}) decline or {'is a' if count == 1 else 'are'} stock answers: {', '.join(parts)}"
        )

    def _specimens(self, redirections: list[Repeated]) -> list[Specimen]:
        first = {one.specimens[0].source: one.specimens[0] for one in redirections[: MOST_SPECIMENS - 1]}
        return list({**{one.source: one for one in self.refused.specimens}, **first}.values())[-MOST_SPECIMENS:]


def refusals(context: CheckContext) -> Refusals:
    """Refusals and redirections."""
    return Refusals(context)
