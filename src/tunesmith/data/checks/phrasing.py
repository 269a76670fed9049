"""Phrases that chat assistants write and people hardly do: how often, and in which of the sources.

    >>> machine_made("as an ai language model, i cannot have opinions.").group()
    'as an ai language model'

Some phrases give an answer away alone; of others, which people use too, two different ones in one answer do. Answers written by people
beside generated ones show in the shares by source.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Self

from tunesmith.data.checks.finding import CheckContext, Finding, Severity, Tally, excerpt, percent, source_label
from tunesmith.types import Example

_KIND = r"(?:ai|artificial intelligence|(?:large )?language model|chatbot|virtual assistant)\b"
SURE = re.compile(
    rf"\bas an? (?:large |helpful |responsible )*{_KIND}(?: (?:language model|model|assistant|chatbot))?"
    rf"|\bi(?:['’]m| am) (?:just|only|merely) an? (?:{_KIND}|machine\b|computer program\b)"
    r"|\bmy (?:knowledge|training data) (?:cutoff|cut-off|only (?:goes|extends))\b"
    r"|\bas of my (?:last|latest|most recent) (?:knowledge |training )?(?:update|cutoff)\b"
    r"|\bi (?:do not|don['’]t) have (?:personal (?:opinions|beliefs|feelings|experiences|preferences|emotions)\b"
    r"|real-time (?:access|information|data)\b)"
    r"|\bregenerate response\b"
)
LIKELY = re.compile(
    r"\b(?:i hope this helps|feel free to (?:ask|reach out)|let me know if you (?:have|need)|is there anything else i can"
    r"|(?:happy|glad) to help"
    r"|it(?:['’]s| is) (?:important|worth|essential|crucial|also worth) (?:to )?(?:note|remember|mention|noting|mentioning|remembering)"
    r"|in (?:conclusion|summary),|delve[sd]? into|delving into|rich tapestry|a testament to|navigat(?:e|ing) the (?:complexities|landscape)"
    r"|ever-evolving|in today['’]s (?:fast-paced|digital|rapidly)|great question|i['’]d be happy to|(?:certainly|absolutely)!"
    r"|unlock the (?:full )?(?:power|potential)|embark on an?|game-changer)"
)
"""Both are looked for in lower case."""
_ROLE_HINTS, _KIND_HINTS = (
    ("as a", "just a", "only a", "merely a"),
    (" ai", "artificial intelligence", "language model", "chatbot", "virtual assistant", "machine", "computer program"),
)
"""Both stand where somebody says what it is."""
_SURE_HINTS = (
    "cutoff",
    "cut-off",
    "my knowledge o",
    "my training",
    "as of my",
    "have personal",
    "have real-t",
    "regenerate r",
)
_LIKELY_HINTS = (
    *("i hope t", "feel free", "me know if", "anything else i", "y to help", "d to help", "to note", "noting", "to remember", "to mention"),
    *(
        "mentioning",
        "in conclusion,",
        "in summary,",
        "delv",
        "rich tap",
        "a testament",
        "navigat",
        "ever-ev",
        "in today",
        "great q",
        "be happy",
    ),
    *("tainly!", "olutely!", "unlock the", "embark on", "game-changer"),
)
"""Something of each phrase, for looking quickly."""
LEAST_TO_WARN = 0.02
"""Share of the examples."""


def machine_made(answer: str) -> re.Match[str] | None:
    """Where `answer`, in lower case, speaks like a chat assistant."""
    if _may_be_sure(answer) and (sure := SURE.search(answer)):
        return sure
    if not any(hint in answer for hint in _LIKELY_HINTS):
        return None
    first: re.Match[str] | None = None
    for match in LIKELY.finditer(answer):
        if first is None:
            first = match
        elif match.group() != first.group():
            return first
    return None


def _may_be_sure(answer: str) -> bool:
    """Whether a phrase of SURE may be there, which is quick to tell."""
    if any(hint in answer for hint in _ROLE_HINTS) and any(hint in answer for hint in _KIND_HINTS):
        return True
    return any(hint in answer for hint in _SURE_HINTS)


class MachinePhrasing:
    """The check."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "machine-phrasing"
        self.context = context
        self.tally = Tally()
        self.phrases: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.flagged_sources: Counter[str] = Counter()

    def look(self, position: int, example: Example) -> None:
        self.tally.see()
        source = source_label(example.source)
        self.sources[source] += 1
        answer = example.reference
        match = machine_made(answer.lower()) if example.messages else None
        if match:
            self.phrases[" ".join(match.group().split())] += 1
            self.flagged_sources[source] += 1
            self.tally.flag(position, example.source, excerpt(answer, *match.span()))

    def merge(self, other: Self) -> None:
        self.tally.merge(other.tally)
        self.phrases.update(other.phrases)
        self.sources.update(other.sources)
        self.flagged_sources.update(other.flagged_sources)

    def findings(self) -> list[Finding]:
        if not self.tally.count:
            return []
        sentence = self.tally.said("{how_many} speak{s} like a chat assistant")
        most = sorted(self.phrases.items(), key=lambda item: (-item[1], item[0]))[:10]
        sentence += f", most often “{most[0][0]}”"
        shares = {source: self.flagged_sources[source] / count for source, count in sorted(self.sources.items())}
        if len(shares) > 1:
            worst = max(shares, key=lambda source: shares[source])
            sentence += f"; {percent(shares[worst])} of {worst}"
        figures = {"phrases": dict(most), "share_by_source": {source: round(share, 6) for source, share in shares.items()}}
        severity: Severity = "warning" if self.tally.share >= LEAST_TO_WARN else "note"
        return [self.tally.finding(self.name, sentence, severity, self.context, figures=figures)]


def machine_phrasing(context: CheckContext) -> MachinePhrasing:
    """Phrases of chat assistants."""
    return MachinePhrasing(context)
