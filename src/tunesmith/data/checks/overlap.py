"""Examples that hold questions of benchmarks: a model trained on them scores by memory (`data/comparing/overlap.py`,
`data/reading/benchmarks.py`).

An example is flagged when it shares a run of 13 words with a question, or when its prompt is the question but for case, spacing and
punctuation, which finds the short ones too. What most of a question's runs of 8 words say of it is in the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, excerpt, percent
from tunesmith.data.checks.leakage import EXAMPLES_AT_ONCE, MOSTLY
from tunesmith.data.comparing.neighbours import asked, whole
from tunesmith.data.comparing.overlap import GRAM_SIZES, GramIndex
from tunesmith.data.comparing.shingles import Hashes, normalise, text_hashes
from tunesmith.data.reading.benchmarks import questions
from tunesmith.types import Example

NAME = "benchmark-overlap"


class Suites(NamedTuple):
    """All questions of all suites, one suite after another."""

    places: list[str]
    texts: list[str]
    suites: list[str]
    """Of each question, the suite's name."""
    hashes: Hashes
    """(questions,): of what each says; that of nothing where a question is empty."""

    @classmethod
    def of(cls, context: CheckContext) -> Suites:
        found = [(name, place, text) for name, path in context.benchmarks.items() for place, text in questions(path)]
        hashes = text_hashes([normalise(text) for _, _, text in found])
        return cls([place for _, place, _ in found], [text for *_, text in found], [name for name, *_ in found], hashes)


class _Met(NamedTuple):
    """What the examples hold of the questions."""

    flagged: dict[int, int]
    """Position of an example to the number of a question in it."""
    seen: dict[int, NDArray[np.bool_]]
    """By size, as in `Scan.seen`."""
    equal: NDArray[np.bool_]
    """(questions,): some prompt is the question."""


def find(examples: Sequence[Example], context: CheckContext) -> list[Finding]:
    """One finding for all suites of `context.benchmarks`, or none.

    Raises:
        DataError: a suite cannot be read.
    """
    if not context.benchmarks or not examples:
        return []
    suites = Suites.of(context)
    indexes = {size: GramIndex.of(zip(suites.places, suites.texts, strict=True), size) for size in GRAM_SIZES}
    met = _go_through(examples, suites, indexes)
    if not met.flagged:
        return []
    figures = _figures(suites, indexes, met)
    share = len(met.flagged) / len(examples)
    worst = sorted(((one["known"], name) for name, one in figures.items() if one["known"]), reverse=True)
    known = ", ".join(f"{number:,} of {figures[name]['questions']:,} of {name}" for number, name in worst)
    sentence = f"{counted(len(met.flagged), 'example')} ({percent(share)}) hold{'s' if len(met.flagged) == 1 else ''} benchmark questions"
    return [
        Finding(
            check=NAME,
            sentence=f"{sentence}: {known}",
            severity="problem",
            count=len(met.flagged),
            share=share,
            specimens=tuple(_specimen(examples[place], suites, which) for place, which in islice(met.flagged.items(), MOST_SPECIMENS)),
            flagged=tuple(sorted(met.flagged)),
            action=context.action(NAME),
            option=f"--drop {NAME}",
            figures=figures,
        )
    ]


def _go_through(examples: Sequence[Example], suites: Suites, indexes: dict[int, GramIndex]) -> _Met:
    flagged: dict[int, int] = {}
    seen = {size: np.zeros(len(index.grams), bool) for size, index in indexes.items()}
    equal = np.zeros(len(suites.texts), bool)
    by_hash = np.argsort(suites.hashes, kind="stable")
    empty = text_hashes([""])[0]
    remaining, start = iter(examples), 0
    while batch := list(islice(remaining, EXAMPLES_AT_ONCE)):
        texts = [whole(one) for one in batch]
        for size, index in indexes.items():
            scan = index.scan(texts)
            seen[size] |= scan.seen
            if size == max(indexes):
                flagged.update((start + text, item) for text, item in zip(scan.texts.tolist(), scan.items.tolist(), strict=True))
        prompts = text_hashes([normalise(asked(one)) for one in batch])
        equal |= np.isin(suites.hashes, prompts) & (suites.hashes != empty)
        for place in np.flatnonzero(np.isin(prompts, suites.hashes) & (prompts != empty)).tolist():
            which = by_hash[np.searchsorted(suites.hashes, prompts[place], sorter=by_hash)]
            flagged[start + place] = int(which)
        start += len(batch)
    return _Met(flagged, seen, equal)


def _figures(suites: Suites, indexes: dict[int, GramIndex], met: _Met) -> dict[str, Any]:
    shares = {size: index.known(met.seen[size]) for size, index in indexes.items()}
    whose = np.array(suites.suites)
    figures = {}
    for name in dict.fromkeys(suites.suites):
        own = whose == name
        figures[name] = {
            "questions": int(own.sum()),
            "known": int(((shares[max(shares)] > 0) | met.equal)[own].sum()),
            "equal": int(met.equal[own].sum()),
            "runs": {
                str(size): {"sharing_one": int((share[own] > 0).sum()), "sharing_most": int((share[own] >= MOSTLY).sum())}
                for size, share in shares.items()
            },
        }
    return figures


def _specimen(example: Example, suites: Suites, which: int) -> Specimen:
    shown = f"{excerpt(suites.texts[which], length=70)} in {excerpt(whole(example), length=70)}"
    return Specimen(source=f"{example.source} and {suites.suites[which]}/{suites.places[which]}", excerpt=shown)
