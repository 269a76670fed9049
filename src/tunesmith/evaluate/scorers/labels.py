"""Classification and routing: which of the data set's labels a completion says.

>>> score = label_accuracy(["card arrival", "top up", "top up failed"])
>>> score("The category is: Top up failed.", "top up failed", "Why did my payment not work?")
Score(value=1.0, explanation="the only label named is 'top up failed'", label='top up failed')
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from tunesmith.evaluate.scorers.scorer import Score, ScoringFunction
from tunesmith.evaluate.words import space_out

_MINUS = re.compile(r"(?<![^\s(])[-\u2212](?=\d)")


class Reading(NamedTuple):
    """What a completion was read as."""

    label: str | None
    """As `label_key` writes it; None: no label, or several."""
    why: str


def label_accuracy(references: Sequence[str]) -> ScoringFunction:
    """The scoring function of a data set whose distinct references are its labels: 1 if the completion says the right one.

    Read as a label are: the whole completion, else its first line, else the only label named anywhere in it.
    """
    labels = frozenset(map(label_key, references))

    def function(completion: str, reference: str, prompt: str) -> Score:
        expected = label_key(reference)
        reading = read_label(completion, labels | {expected})
        return Score(float(reading.label == expected), reading.why, reading.label)

    return function


def label_key(text: str) -> str:
    """A label however it is written: `Card_arrival.` and `card arrival` are one, `C` and `C++`, `1` and `-1` are not.

    Unlike `normalise` it keeps articles: `A` is a letter to choose.
    """
    composed = _MINUS.sub("\u2212", unicodedata.normalize("NFC", text).casefold())
    kept = (character if unicodedata.category(character)[0] in "LNM" or character in "+#\u2212" else " " for character in composed)
    return " ".join(space_out("".join(kept)).split()) or composed.strip()


def read_label(completion: str, labels: frozenset[str]) -> Reading:
    """Which of `labels`, as `label_key` writes them, the completion says; of `top up` and `top up failed` the longest."""
    whole = label_key(completion)
    if whole in labels:
        return Reading(whole, "")
    lines = completion.strip().splitlines()
    first = label_key(lines[0]) if lines else ""
    if first in labels:
        return Reading(first, f"its first line is {first!r}")
    named = _named(whole, labels)
    if len(named) == 1:
        return Reading(named[0], f"the only label named is {named[0]!r}")
    if not named:
        return Reading(None, "names none of the labels")
    shown = ", ".join(map(repr, named[:3]))
    return Reading(None, f"names {len(named)} labels: {shown}{' …' if len(named) > 3 else ''}")


def _named(text: str, labels: frozenset[str]) -> list[str]:
    """Labels that stand in `text` as whole words where no longer label does, in the order of the alphabet."""
    rest, named = f" {text} ", []
    for label in sorted(labels, key=lambda one: (-len(one), one)):
        if label and f" {label} " in rest:
            named.append(label)
            rest = rest.replace(f" {label} ", " \n ")
    return sorted(named)
