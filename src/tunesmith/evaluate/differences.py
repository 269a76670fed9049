"""Which words of a completion also stand in its reference, in order: what the side-by-side page marks.

>>> mark_shared("It is not free.", "Yes, it is free")
[Span(text='It is', shared=True), Span(text=' not ', shared=False), Span(text='free', shared=True), Span(text='.', shared=False)]
"""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

from tunesmith.evaluate.words import pieces, words


class Span(NamedTuple):
    """A stretch of the completion."""

    text: str
    shared: bool
    """Its words stand in the reference too, in the same order."""


def mark_shared(completion: str, reference: str) -> list[Span]:
    """Cut `completion` into spans shared with `reference` and not; their texts joined are the completion."""
    parts = pieces(completion)
    keys = [" ".join(words(part)) for part in parts]
    shared = iter(_matched([key for key in keys if key], words(reference)))
    flags = [next(shared) if key else None for key in keys]
    filled = [flag if flag is not None else _between(flags, i) for i, flag in enumerate(flags)]
    runs = groupby(zip(parts, filled, strict=True), key=lambda pair: pair[1])
    return [Span("".join(part for part, _ in run), flag) for flag, run in runs]


def _matched(found: list[str], expected: list[str]) -> list[bool]:
    flags = [False] * len(found)
    for block in SequenceMatcher(None, found, expected, autojunk=False).get_matching_blocks():
        flags[block.a : block.a + block.size] = [True] * block.size
    return flags


def _between(flags: list[bool | None], index: int) -> bool:
    """What stands between two shared words is shown as shared."""
    return 0 < index < len(flags) - 1 and bool(flags[index - 1]) and bool(flags[index + 1])
