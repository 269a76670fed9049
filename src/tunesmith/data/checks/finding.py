"""What a check is and what it finds; the small tools that checks share.

    class Shouting:
        name = "shouting"

        def __init__(self, context: CheckContext) -> None:
            self.tally = Tally()

        def look(self, position: int, example: Example) -> None:
            self.tally.see()
            if example.reference.isupper():
                self.tally.flag(position, example.source, excerpt(example.reference))

        def merge(self, other: Self) -> None:
            self.tally.merge(other.tally)

        def findings(self) -> list[Finding]: ...

A check sees every example once. Several processes each go through a slice with a check of their own, and the checks are merged in
the order of the slices: what `findings` says must not depend on where the slices were cut.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from tunesmith.types import Example

Severity = Literal["problem", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")
"""Worst first: a problem spoils the training or its evaluation, a warning may, a note is worth knowing."""

MOST_SPECIMENS = 3
EXCERPT_LENGTH = 160
"""Characters, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Specimen:
    """One example that shows what is meant."""

    source: str
    """As in `Example.source`; of two that belong together, `a.csv:3 and a.csv:9`."""
    excerpt: str
    """One line in which the fault can be seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One fault, or one thing worth knowing, of the whole data set."""

    check: str
    """The name by which `--drop` and `--fix` know it: `near-duplicates`, `mojibake`, …"""
    sentence: str
    """For people, with the numbers: `12 answers (0.9 %) end in mid-sentence`."""
    severity: Severity
    count: int
    """Examples concerned."""
    share: float
    """Of the examples looked at, from 0 to 1."""
    specimens: tuple[Specimen, ...] = ()
    flagged: tuple[int, ...] = ()
    """Positions of all concerned examples in the sequence that was checked, ascending."""
    action: str = "kept"
    """What `prepare` does about it."""
    option: str = ""
    """What changes that, as it is typed: `--drop near-duplicates`; empty where nothing does."""
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Further numbers, as JSON can hold them."""

    def to_json(self) -> dict[str, Any]:
        """For a report: everything but the positions, of which there may be a million."""
        return {
            "check": self.check,
            "sentence": self.sentence,
            "severity": self.severity,
            "count": self.count,
            "share": round(self.share, 6),
            "specimens": [{"source": one.source, "excerpt": one.excerpt} for one in self.specimens],
            "action": self.action,
            "option": self.option,
            "figures": dict(self.figures),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckContext:
    """What a check may need to know beyond the examples."""

    max_tokens: int | None = None
    """Of a model's context (or `max_length`); None where no model is named. Counted in words without `count_tokens`."""
    count_tokens: Callable[[str], int] | None = None
    """Of the model's tokenizer; None counts words. It must survive pickling where processes are not forked."""
    languages: frozenset[str] = frozenset()
    """Codes such as `en` that are meant to be there; empty: those of a tenth of the examples or more."""
    threshold: float = 0.8
    """Jaccard similarity from which two texts count as nearly the same."""
    test_positions: frozenset[int] = frozenset()
    """Positions that are held out, where that is known: overlap of the others with them is a leak."""
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    """Name to path of benchmark files whose questions must not be trained on."""
    embeddings: str | None = None
    """Sentence model that topics are found with (`tunesmith.embeddings`); None counts words."""
    drops: frozenset[str] = frozenset()
    """Names that are dropped anyway."""
    fixes: frozenset[str] = frozenset()
    """Names that are fixed anyway."""
    seed: int = 0
    """Of samples and clusterings."""

    def action(self, check: str) -> str:
        """What becomes of the examples that this check flags."""
        if check in self.drops:
            return "dropped"
        return "fixed where possible" if check in self.fixes else "kept"


class Check(Protocol):
    """Goes through examples once; may be one of several that are merged."""

    name: str

    def look(self, position: int, example: Example) -> None:
        """Take in one example; positions ascend."""

    def merge(self, other: Self) -> None:
        """Take in what another check of the same kind saw at later positions."""

    def findings(self) -> list[Finding]:
        """What was found, most often one finding or none."""


class Tally:
    """How many examples were seen, which were flagged, and the first few of those as specimens."""

    def __init__(self) -> None:
        self.num_seen = 0
        self.positions = array("q")
        self.specimens: list[Specimen] = []

    def see(self) -> None:
        """One more example was looked at."""
        self.num_seen += 1

    def flag(self, position: int, source: str, shown: str) -> None:
        """An example is concerned; `shown` becomes the excerpt of a specimen while there are few."""
        self.positions.append(position)
        if len(self.specimens) < MOST_SPECIMENS:
            self.specimens.append(Specimen(source=source, excerpt=shown))

    def merge(self, other: Self) -> None:
        """Take in a tally of later positions."""
        self.num_seen += other.num_seen
        self.positions.extend(other.positions)
        self.specimens = [*self.specimens, *other.specimens][:MOST_SPECIMENS]

    @property
    def count(self) -> int:
        return len(self.positions)

    @property
    def share(self) -> float:
        return self.count / self.num_seen if self.num_seen else 0.0

    def said(self, sentence: str) -> str:
        """`{how_many} hold{s} …` with the numbers in it: `12 examples (0.9 %) hold …`; `{has}` is `has` or `have`."""
        one = self.count == 1
        how_many = f"{counted(self.count, 'example')} ({percent(self.share)})"
        return sentence.format(how_many=how_many, s="s" if one else "", has="has" if one else "have")

    def finding(
        self, check: str, sentence: str, severity: Severity, context: CheckContext, *, figures: Mapping[str, Any], option: str = ""
    ) -> Finding:
        """About the flagged examples; what changes their fate is `--drop` and the check's name unless an option is given."""
        return Finding(
            check=check,
            sentence=sentence,
            severity=severity,
            count=self.count,
            share=self.share,
            specimens=tuple(self.specimens),
            flagged=tuple(self.positions),
            action=context.action(check),
            option=option or f"--drop {check}",
            figures=figures,
        )


def texts_of(example: Example) -> list[str]:
    """Every text of an example, in order: messages and the rejected answer, or the raw text."""
    if example.text is not None:
        return [example.text]
    texts = [message.content for message in example.messages]
    if example.rejected is not None:
        texts.append(example.rejected)
    return texts


def counted(number: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """`12 %`, `0.9 %`, `under 0.1 %`."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


_BREAKS = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")
_SPACES = re.compile(r"[ \t]{2,}")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def excerpt(text: str, start: int = 0, end: int | None = None, *, length: int = EXCERPT_LENGTH) -> str:
    """One line of `text` with what lies from `start` to `end` in it; cut places get an ellipsis.

    Line breaks are shown as ⏎, control and invisible characters by their code: `[U+200B]`.
    """
    end = start if end is None else min(end, start + length)
    before = max(0, (length - (end - start)) // 2)
    first = max(0, min(start - before, len(text) - length))
    last = min(len(text), max(first + length, end))
    piece = _BREAKS.sub(" ⏎ ", text[first:last].strip())
    piece = _UNSEEN.sub(lambda match: f"[U+{ord(match.group()):04X}]", _SPACES.sub(" ", piece))
    return f"{'…' if first > 0 else ''}{piece}{'…' if last < len(text) else ''}"


def ending(text: str) -> str:
    """An excerpt that shows how `text` ends."""
    return excerpt(text, max(0, len(text) - 1), len(text))


def source_label(source: str) -> str:
    """`faq.csv:17` and `faq.json#3` come from `faq.csv` and `faq.json`."""
    return _PLACE.sub("", source)


_PLACE = re.compile(r"[:#]\d+$")
