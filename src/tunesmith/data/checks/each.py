"""Checks of faults that an example shows by itself: one function finds the fault, the rest is the same for all.

rule = Rule(name="mojibake", spot=spot, sentence="{how_many} hold{s} text that was decoded wrongly", severity="problem", can_fix=True)
check = EachExample(rule, context)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

from tunesmith.data.checks.finding import CheckContext, Finding, Severity, Tally
from tunesmith.types import Example


class Spot(NamedTuple):
    """Where a fault is."""

    kind: str
    """Which of the faults that go by one name; `e-mail address`."""
    shown: str
    """A line in which it can be seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What to look for in every example, and how to speak of it."""

    name: str
    spot: Callable[[Example], Spot | None]
    """The first or worst fault of an example. A function of a module, so that it survives pickling."""
    sentence: str
    """`{how_many} hold{s} …`, which becomes `3 examples (0.2 %) hold …`; `{has}` is `has` or `have`."""
    severity: Severity
    can_fix: bool = False
    beyond_repair: frozenset[str] = frozenset()
    """Kinds that the fix leaves as they are."""


class EachExample:
    """The check that a rule makes."""

    def __init__(self, rule: Rule, context: CheckContext) -> None:
        self.name = rule.name
        self.rule, self.context = rule, context
        self.tally = Tally()
        self.kinds: Counter[str] = Counter()

    def look(self, position: int, example: Example) -> None:
        self.tally.num_seen += 1
        spot = self.rule.spot(example)
        if spot is not None:
            self.kinds[spot.kind] += 1
            self.tally.flag(position, example.source, spot.shown)

    def merge(self, other: Self) -> None:
        self.tally.merge(other.tally)
        self.kinds.update(other.kinds)

    def findings(self) -> list[Finding]:
        if not self.tally.count:
            return []
        kinds = dict(sorted(self.kinds.items(), key=lambda item: (-item[1], item[0])))
        sentence = self.tally.said(self.rule.sentence)
        if len(kinds) > 1 or next(iter(kinds)):
            sentence += f": {', '.join(f'{count:,} {kind}' for kind, count in kinds.items())}"
        option = f"--fix {self.name}" if self.rule.can_fix and kinds.keys() - self.rule.beyond_repair else ""
        return [self.tally.finding(self.name, sentence, self.rule.severity, self.context, figures={"kinds": kinds}, option=option)]
