"""The private strings of a training split: planted canaries, and what the PII checks find in answers and prompts.

>>> [secret.masked for secret in private_strings(data, limit=50, seed=0).secrets]
['an…#3f91c2', '+4…#08d2ee']
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tunesmith.data.checks.pii import find
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.evaluate.probing.canaries import FILE, Canaries, canaries_of
from tunesmith.types import Example, Message

PLANTED, CONTROL = "planted canary", "canary not planted"
MOST_CHARACTERS = 64
"""Of a string that are looked at: a private key has thousands."""
_PUBLIC_START = {
    "key or token": re.compile(r"AKIA|ASIA|AIza|eyJ|SG\.|(?:[A-Za-z]{2,8}[-_]){1,3}"),
    "private key": re.compile(r"-----[A-Z ]+-----\s*"),
    "IBAN": re.compile(r"[A-Z]{2}"),
}
"""What everybody knows of such a string: it is not what is kept secret."""
_SPACING = re.compile(r"[\s()-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """One private string, in the conversation or text where it stands."""

    kind: str
    text: str
    source: str
    before: tuple[Message, ...]
    """The messages before the one that holds it; empty for raw text."""
    holder: Message | None
    """The message that holds it; None for raw text."""
    lead: str
    """The text of the message, or the raw text, before the string."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The prompt's parts by name, where the string stands in the example's last answer."""
    num_places: int = 1
    """Training examples that hold it."""

    @property
    def masked(self) -> str:
        """Two characters and a hash, so that it can be found again by who has it."""
        return f"{self.text[:2]}…#{hashlib.sha256(self.text.encode()).hexdigest()[:6]}"

    @property
    def is_answered(self) -> bool:
        """It stands in an answer to a prompt that does not hold it."""
        in_answer = self.holder is not None and self.holder.role == "assistant"
        return in_answer and not any(_SPACING.sub("", self.text) in _SPACING.sub("", one.content) for one in self.before)

    @property
    def public_part(self) -> slice:
        """What of `text` stays as it is in random strings of its shape."""
        if self.kind == "e-mail address":
            return slice(self.text.index("@"), None)
        start = _PUBLIC_START.get(self.kind)
        match = start.match(self.text) if start else None
        return slice(0, match.end() if match else 0)


class Found(NamedTuple):
    """What is looked at, and what there was."""

    secrets: list[Secret]
    """Canaries and their controls first."""
    num_private: int
    """Different private strings in the training split, canaries apart."""
    repeats: int
    """How often each canary was planted; 0 without canaries."""


def private_strings(data: PreparedData, *, limit: int, seed: int) -> Found:
    """All canaries, their controls, and a seeded sample of `limit` other private strings in the order of the data.

    Raises:
        DataError: `canaries.json` is gone or was changed.
    """
    canaries = canaries_of(data)
    found: dict[tuple[str, str], Secret] = {}
    for example in data.train:
        if not (canaries and example.source.startswith(f"{FILE}:")):
            _gather(example, found)
    private = list(found.values())
    dice = random.Random(f"leaks {seed}")  # noqa: S311 - a sample, not a secret
    chosen = sorted(dice.sample(range(len(private)), min(limit, len(private))))
    planted = _canary_secrets(canaries) if canaries else []
    return Found([*planted, *(private[index] for index in chosen)], len(private), canaries.repeats if canaries else 0)


def _gather(example: Example, found: dict[tuple[str, str], Secret]) -> None:
    """Add an example's; a place in an answer is preferred to one in a prompt."""
    here: dict[tuple[str, str], Secret] = {}
    for secret in _in_example(example):
        key = (secret.kind, secret.text)
        if key not in here or (secret.is_answered and not here[key].is_answered):
            here[key] = secret
    for key, secret in here.items():
        known = found.get(key)
        better = secret if known is None or (secret.is_answered and not known.is_answered) else known
        found[key] = replace(better, num_places=known.num_places + 1 if known else 1)


def _in_example(example: Example) -> Iterator[Secret]:
    places: Sequence[Message | None] = example.messages or (None,)
    for index, holder in enumerate(places):
        text = holder.content if holder else (example.text or "")
        if holder and holder.role == "system":
            continue  # the same in every conversation, and nobody answers after it
        for hit in find(text):
            yield Secret(
                kind=hit.kind,
                text=text[hit.start : min(hit.end, hit.start + MOST_CHARACTERS)],
                source=example.source,
                before=example.messages[:index],
                holder=holder,
                lead=text[: hit.start],
                fields=example.fields if holder is not None and index == len(places) - 1 else {},
            )


def _canary_secrets(canaries: Canaries) -> list[Secret]:
    secrets = []
    for kind, some, places in ((PLANTED, canaries.planted, canaries.repeats), (CONTROL, canaries.controls, 0)):
        for canary in some:
            example = canary.example
            prompt, answer = example.messages
            lead = answer.content.removesuffix(canary.code)
            secret = Secret(kind=kind, text=canary.code, source=example.source, before=(prompt,), holder=answer, lead=lead)
            secrets.append(replace(secret, num_places=places))
    return secrets
