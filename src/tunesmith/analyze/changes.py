"""What changed from one model's answer to the other's: which failures went, which came, and whether right became wrong.

>>> change_of("7c1f", {"too_long": "…"}, {"misspelt": "…"}, was_right=True, is_right=False).sentence
'was right, now wrong: too long is gone, misspelt is new'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunesmith.analyze.catalogue import ERROR_GROUPS
from tunesmith.evaluate.flips import FlipKind

TITLES: Mapping[str, str] = {group.name: group.title for group in ERROR_GROUPS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Of one example, from the first model to the second."""

    id: str
    kind: FlipKind
    gone: tuple[str, ...]
    """Error groups that the first answer is in and the second is not."""
    new: tuple[str, ...]
    """The other way round."""
    sentence: str
    """For people."""


def change_of(
    name: str, first: Mapping[str, str], second: Mapping[str, str], *, was_right: bool, is_right: bool, titles: Mapping[str, str] = TITLES
) -> Change:
    """Compare the failures of two answers to one prompt."""
    gone = tuple(group for group in first if group not in second)
    new = tuple(group for group in second if group not in first)
    kinds: dict[tuple[bool, bool], FlipKind] = {
        (False, True): "newly_right",
        (True, False): "newly_wrong",
        (True, True): "both_right",
        (False, False): "both_wrong",
    }
    head = {
        "newly_right": "was wrong, now right",
        "newly_wrong": "was right, now wrong",
        "both_right": "right both times",
        "both_wrong": "wrong both times",
    }
    kind = kinds[was_right, is_right]
    parts = [_listed(gone, titles, "gone")] if gone else []
    parts += [_listed(new, titles, "new")] if new else []
    return Change(id=name, kind=kind, gone=gone, new=new, sentence=f"{head[kind]}: {', '.join(parts) or 'the same failures'}")


def _listed(groups: tuple[str, ...], titles: Mapping[str, str], what: str) -> str:
    named = " and ".join(titles.get(group, group) for group in groups)
    return f"{named} {'is' if len(groups) == 1 else 'are'} {what}"
