"""Personal data and secrets, masked before the model sees them or before anybody reads its answer.

>>> masked("Write to ann@firm.org.", kinds=None)
Masked(text='Write to [EMAIL].', counts={'e-mail address': 1})
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import field_validator

from tunesmith.config import Settings
from tunesmith.data.checks.pii import LABELS, find
from tunesmith.serve.guarding import AnswerVerdict, Firing, PromptVerdict
from tunesmith.serve.guardrails.counts import counted_kinds
from tunesmith.types import Message

NAME = "pii"


class PiiSettings(Settings):
    """Personal data by formats that can be verified; names of people are not among them."""

    on: Literal["prompts", "answers", "both"] = "both"
    """Where it is masked. In prompts: in what users and earlier answers say, not in the system's message."""
    kinds: tuple[str, ...] | None = None
    """Which kinds; None: all."""

    @field_validator("kinds")
    @classmethod
    def _are_known(cls, kinds: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if unknown := [kind for kind in kinds or () if kind not in LABELS]:
            raise ValueError(f"kinds among {', '.join(LABELS)}, not {unknown[0]!r}")
        return kinds


class Masked(NamedTuple):
    """A text without what was masked, and how much of which kind that was."""

    text: str
    counts: Mapping[str, int]


def masked(text: str, kinds: Collection[str] | None) -> Masked:
    """Replace every place by the label of its kind; a text without any is returned as it is."""
    hits = [hit for hit in find(text) if kinds is None or hit.kind in kinds]
    if not hits:
        return Masked(text, {})
    pieces, done = [], 0
    for hit in hits:
        pieces += [text[done : hit.start], LABELS[hit.kind]]
        done = hit.end
    return Masked("".join(pieces) + text[done:], Counter(hit.kind for hit in hits))


class PiiRule:
    """See the module."""

    name = NAME

    def __init__(self, settings: PiiSettings) -> None:
        self._kinds = None if settings.kinds is None else frozenset(settings.kinds)
        self.checks_prompts, self.checks_answers = settings.on != "answers", settings.on != "prompts"

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        """Mask every message but the system's."""
        changed: list[Message] = []
        counts: Counter[str] = Counter()
        for message in messages:
            if message.role == "system":
                changed.append(message)
                continue
            found = masked(message.content, self._kinds)
            counts.update(found.counts)
            changed.append(Message(role=message.role, content=found.text))
        fired = (Firing(rule=NAME, side="prompt", action="mask", detail=counted_kinds(counts)),) if counts else ()
        return PromptVerdict(messages=tuple(changed), fired=fired)

    def check_answer(self, text: str, messages: Sequence[Message]) -> AnswerVerdict:
        """Mask it."""
        del messages
        found = masked(text, self._kinds)
        fired = (Firing(rule=NAME, side="answer", action="mask", detail=counted_kinds(found.counts)),) if found.counts else ()
        return AnswerVerdict(text=found.text, fired=fired)
