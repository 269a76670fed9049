"""Which labels are taken for which.

>>> print("\\n".join(confusion_lines(confusion)))
tuned says       1     2  none
1 no            41     9     0
2 yes            3    47     0
most frequent mistakes of the tuned model:
  no -> yes: 9 (base 22)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

NONE_OF_THEM = "none of them"
"""An answer that is no label of the references, or names several."""
FEW = 5
"""Examples of a label, below which its own F1 is mostly chance."""
MOST_COLUMNS = 10
"""Labels of a table for the terminal."""
MOST_LINES = 8
"""Mistakes listed in the terminal."""


class LabelFigures(NamedTuple):
    """One reference label."""

    label: str
    num_examples: int
    base: float
    """F1."""
    tuned: float


class Mistake(NamedTuple):
    """One label said instead of another."""

    reference: str
    said: str
    num_base: int
    num_tuned: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """How often each reference label was answered with each label, by both models."""

    labels: tuple[str, ...]
    """Of the references, as most often written, in the order of the alphabet."""
    base: tuple[tuple[int, ...], ...]
    """Rows are reference labels, columns what was answered; one column more for answers that are none of these.  # (L, L + 1)"""
    tuned: tuple[tuple[int, ...], ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Confusion:
        base, tuned = (tuple(tuple(row) for row in values[name]) for name in ("base", "tuned"))
        return cls(labels=tuple(values["labels"]), base=base, tuned=tuned)

    def per_label(self) -> list[LabelFigures]:
        """Every label's F1 with both models, those with most examples first."""
        rows = [
            LabelFigures(
                label=label,
                num_examples=sum(self.tuned[place]),
                base=_label_f1(self.base, place),
                tuned=_label_f1(self.tuned, place),
            )
            for place, label in enumerate(self.labels)
        ]
        return sorted(rows, key=lambda row: (-row.num_examples, row.label))

    def mistakes(self) -> list[Mistake]:
        """What the tuned model says instead of what, the most frequent first."""
        said = (*self.labels, NONE_OF_THEM)
        found = [
            Mistake(reference=label, said=said[column], num_base=self.base[place][column], num_tuned=count)
            for place, label in enumerate(self.labels)
            for column, count in enumerate(self.tuned[place])
            if count and column != place
        ]
        return sorted(found, key=lambda mistake: (-mistake.num_tuned, mistake.reference, mistake.said))


def _label_f1(table: Sequence[Sequence[int]], place: int) -> float:
    right, there, said = table[place][place], sum(table[place]), sum(row[place] for row in table)
    return 2 * right / (there + said)


def confusion_lines(confusion: Confusion) -> list[str]:
    """For the terminal: the table where it is small, the most frequent mistakes of the tuned model, and a word on rare labels."""
    mistakes = confusion.mistakes()
    shown = [f"  {mistake.reference} -> {mistake.said}: {mistake.num_tuned} (base {mistake.num_base})" for mistake in mistakes[:MOST_LINES]]
    more = [f"  and {len(mistakes) - MOST_LINES:,} others, see the report"] if len(mistakes) > MOST_LINES else []
    table = _table_lines(confusion) if len(confusion.labels) <= MOST_COLUMNS else []
    return [
        *table,
        "most frequent mistakes of the tuned model:" if mistakes else "the tuned model makes no mistake",
        *shown,
        *more,
        *rare_labels(confusion),
    ]


def rare_labels(confusion: Confusion) -> list[str]:
    """Where labels are too rare for the figures that give every label the same say."""
    rare = sum(sum(row) < FEW for row in confusion.base)
    if not rare:
        return []
    found = f"{rare:,} of {len(confusion.labels):,} labels {'has' if rare == 1 else 'have'} fewer than {FEW} examples"
    return [
        f"{found}: of {'it' if rare == 1 else 'them'} macro-F1 and balanced accuracy know little, and their intervals may be too narrow"
    ]


def _table_lines(confusion: Confusion) -> list[str]:
    """Rows are reference labels, columns what the tuned model said, by number."""
    width = max(len("tuned says"), *(len(label) + 4 for label in confusion.labels))
    columns = "".join(f"{number:>6}" for number in range(1, len(confusion.labels) + 1)) + f"{'none':>6}"
    rows = [
        f"{f'{number} {label}':{width}}" + "".join(f"{count:>6}" for count in confusion.tuned[number - 1])
        for number, label in enumerate(confusion.labels, 1)
    ]
    return [f"{'tuned says':{width}}{columns}", *rows]
