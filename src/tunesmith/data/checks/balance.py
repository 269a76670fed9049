"""Class balance: how often each class stands as the answer, where answers are classes.

Answers are taken for classes when nearly all are short and few of them differ: a set that sorts texts, or asks for a letter.
Judged answers (`label`) are counted as desirable and not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Self

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, excerpt
from tunesmith.types import Example

MOST_WORDS, MOST_CHARACTERS = 8, 80
"""Of a class' name."""
LONGEST_WITHOUT_SPACES = 16
"""Characters of a class' name in a script without spaces."""
MOST_CLASSES = 1_000
LEAST_SHORT = 0.95
"""Share of the answers that are short, from which the set may be one of classes."""
LEAST_PER_CLASS = 4
"""Examples of the average class: fewer, and the answers are just short."""
FEWEST_OF_CLASS = 5
"""Examples from which a class can be learnt and tested at all."""
UNEVEN = 10
"""Times that the most frequent class is as frequent as the rarest, from which it is said aloud."""


class ClassBalance:
    """The check."""

    def __init__(self, context: CheckContext) -> None:
        self.name = "class-balance"
        self.context = context
        self.num_seen = self.num_answers = self.num_short = 0
        self.classes: Counter[str] = Counter()
        self.first: dict[str, Specimen] = {}
        self.judged: Counter[bool] = Counter()
        self.too_many = False

    def look(self, position: int, example: Example) -> None:
        del position
        self.num_seen += 1
        if example.label is not None:
            self.judged[example.label] += 1
        if not example.messages:
            return
        self.num_answers += 1
        answer = example.messages[-1].content
        if len(answer) > MOST_CHARACTERS or self.too_many:
            return
        words = answer.split(None, MOST_WORDS)
        is_sentence = len(answer) > LONGEST_WITHOUT_SPACES and len(words) == 1 and not answer.isascii()
        if len(words) <= MOST_WORDS and not is_sentence:
            self._count(" ".join(words), example)

    def _count(self, name: str, example: Example) -> None:
        self.num_short += 1
        self.classes[name] += 1
        if self.classes[name] == 1:
            self.first[name] = Specimen(source=example.source, excerpt=f"{excerpt(example.prompt, length=110)} -> {excerpt(name)}")
            self._give_up()

    def _give_up(self) -> None:
        """With so many names, these are no classes."""
        if len(self.classes) > MOST_CLASSES:
            self.too_many = True
            self.classes.clear()
            self.first.clear()

    def merge(self, other: Self) -> None:
        self.num_seen += other.num_seen
        self.num_answers += other.num_answers
        self.num_short += other.num_short
        self.judged.update(other.judged)
        self.too_many = self.too_many or other.too_many
        if not self.too_many:
            self.classes.update(other.classes)
            self.first = {**other.first, **self.first}
        if self.too_many:
            self.classes.clear()
            self.first.clear()
        self._give_up()

    def findings(self) -> list[Finding]:
        return [*self._of_classes(), *self._of_judgements()]

    def _of_classes(self) -> list[Finding]:
        if self.too_many or len(self.classes) < 2 or self.num_short < LEAST_SHORT * self.num_answers:
            return []
        if self.num_short < LEAST_PER_CLASS * len(self.classes):
            return []
        ranked = sorted(self.classes.items(), key=lambda item: (-item[1], item[0]))
        (most, largest), (least, smallest) = ranked[0], ranked[-1]
        rare = [name for name, count in ranked if count < FEWEST_OF_CLASS]
        sentence = f"{len(ranked):,} classes: from {largest:,} of {excerpt(most)!r} down to {smallest:,} of {excerpt(least)!r}"
        if rare:
            sentence += f"; {len(rare):,} {'has' if len(rare) == 1 else 'have'} fewer than {FEWEST_OF_CLASS} examples"
        return [self._finding(sentence, ranked, self.first, uneven=largest >= UNEVEN * smallest or bool(rare))]

    def _of_judgements(self) -> list[Finding]:
        if not self.judged:
            return []
        good, bad = self.judged[True], self.judged[False]
        sentence = f"{counted(good + bad, 'judged answer')}: {good:,} desirable, {bad:,} not"
        uneven = max(good, bad) >= UNEVEN * min(good, bad)
        return [self._finding(sentence, [("desirable", good), ("undesirable", bad)], {}, uneven=uneven)]

    def _finding(self, sentence: str, ranked: list[tuple[str, int]], shown: Mapping[str, Specimen], *, uneven: bool) -> Finding:
        """Of the rarest classes, which are in want of examples; nothing is flagged, for no single example is at fault."""
        total = sum(count for _, count in ranked)
        present = [count / total for _, count in ranked if count]
        entropy = -sum(share * math.log(share) for share in present)
        return Finding(
            check=self.name,
            sentence=sentence,
            severity="warning" if uneven else "note",
            count=total,
            share=total / self.num_seen,
            specimens=tuple(shown[name] for name, _ in reversed(ranked) if name in shown)[:MOST_SPECIMENS],
            figures={
                "classes": dict(ranked),
                "largest_share": round(ranked[0][1] / total, 4),
                "effective_classes": round(math.exp(entropy), 2),  # as many even classes would be as hard to guess (Hill 1973, order 1)
            },
        )


def class_balance(context: CheckContext) -> ClassBalance:
    """How often each class stands as an answer."""
    return ClassBalance(context)
