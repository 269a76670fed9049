"""Vulgar words, as the check of training data knows them: blocked with a stock answer, or masked.

>>> without("oh shit, again", vulgar_spans("oh shit, again"))
'oh ***, again'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from tunesmith.config import Settings
from tunesmith.data.checks.profanity import load
from tunesmith.serve.guarding import AnswerVerdict, Firing, PromptVerdict
from tunesmith.serve.guardrails.counts import counted_kinds
from tunesmith.types import Message

NAME = "profanity"
MASK = "***"
_WORD = re.compile(r"\w+")

What = Literal["off", "mask", "block"]


class ProfanitySettings(Settings):
    """Whole words of better-profanity's list with a vulgar stem; English."""

    prompts: What = "block"
    """What to do about them in the user's last message; masking looks at the whole conversation but for the system's message."""
    answers: What = "block"
    """In answers."""
    answer: str = "Sorry, I cannot answer that."
    """What is said in place of a blocked prompt's or answer's."""


def vulgar_spans(text: str) -> list[tuple[int, int]]:
    """Where they stand, in order, none overlapping another."""
    vulgar = load()
    lowered = "".join(low if len(low := one.lower()) == 1 else one for one in text)  # as long as the text
    spans = [match.span() for match in vulgar.phrases.finditer(lowered)]
    spans += [match.span() for match in _WORD.finditer(lowered) if match.group() in vulgar.words]
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not found or start >= found[-1][1]:
            found.append((start, end))
    return found


def without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """The text with a mask in place of each."""
    pieces, done = [], 0
    for start, end in spans:
        pieces += [text[done:start], MASK]
        done = end
    return "".join(pieces) + text[done:]


class ProfanityRule:
    """See the module."""

    name = NAME

    def __init__(self, settings: ProfanitySettings) -> None:
        self._settings = settings
        self.checks_prompts, self.checks_answers = settings.prompts != "off", settings.answers != "off"

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        """Block by the last message, or mask all but the system's."""
        if self._settings.prompts == "block":
            count = len(vulgar_spans(messages[-1].content))
            answer = self._settings.answer if count else None
            return PromptVerdict(messages=tuple(messages), answer=answer, fired=_fired("prompt", "block", count))
        found = [[] if one.role == "system" else vulgar_spans(one.content) for one in messages]
        changed = tuple(Message(role=one.role, content=without(one.content, spans)) for one, spans in zip(messages, found, strict=True))
        return PromptVerdict(messages=changed, fired=_fired("prompt", "mask", sum(map(len, found))))

    def check_answer(self, text: str, messages: Sequence[Message]) -> AnswerVerdict:
        """Replace it whole, or mask it."""
        del messages
        spans = vulgar_spans(text)
        if not spans:
            return AnswerVerdict(text=text)
        if self._settings.answers == "block":
            return AnswerVerdict(text=self._settings.answer, finish="content_filter", fired=_fired("answer", "block", len(spans)))
        return AnswerVerdict(text=without(text, spans), fired=_fired("answer", "mask", len(spans)))


def _fired(side: Literal["prompt", "answer"], action: Literal["block", "mask"], count: int) -> tuple[Firing, ...]:
    return (Firing(rule=NAME, side=side, action=action, detail=counted_kinds({"vulgar word": count})),) if count else ()
