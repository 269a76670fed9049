"""How much of the held-out examples stands in the training examples: equal, nearly equal, and by runs of words.

    >>> leakage = measure_leakage(prepared.train, prepared.test, name="test")
    >>> print(leakage.sentence())
    test against training: 0 of 140 prompts the same, 0 nearly the same; 9 share a run of 13 words, 1 most of its runs

Whoever is tested on what was trained on measures memory. A split keeps near prompts on one side, so the first two numbers are
zero but for pairs that the search missed; runs of words also find answers in common and questions inside longer ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.finding import MOST_SPECIMENS, CheckContext, Finding, Specimen, counted, excerpt, percent
from tunesmith.data.comparing.near import THRESHOLD, NearIndex
from tunesmith.data.comparing.neighbours import asked, whole
from tunesmith.data.comparing.overlap import GRAM_SIZES, GramIndex, runs_of
from tunesmith.data.comparing.shingles import Hashes, normalise, text_hashes
from tunesmith.types import Example
from tunesmith.workers import Workers

NAME = "leakage"
MOSTLY = 0.8
"""Part of a text's runs from which on it counts as known (Touvron et al. 2023, Llama 2, appendix A.6, count words so)."""
EXAMPLES_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Leakage:
    """Numbers of held-out examples, each counted once in each line."""

    name: str
    """Of what is held out: `test`, `validation`."""
    num_examples: int
    same_prompts: int
    near_prompts: int
    """Nearly the same or the same."""
    sharing: dict[int, int]
    """By length of the run in words: examples that share one with training."""
    mostly: dict[int, int]
    """By length of the run: examples of whose runs four in five are in training."""
    held: tuple[int, ...] = ()
    """Positions of the held-out examples that are the same, nearly the same, or mostly known by runs of the greater length."""
    train: tuple[int, ...] = ()
    """Positions of the training examples with the same or nearly the same prompts."""
    specimens: tuple[Specimen, ...] = field(default=())

    def sentence(self) -> str:
        """For people, with the numbers."""
        long = max(self.sharing)
        return (
            f"{self.name} against training: {self.same_prompts:,} of {counted(self.num_examples, 'prompt')} the same, "
            f"{self.near_prompts - self.same_prompts:,} nearly the same; {self.sharing[long]:,} share a run of {long} words, "
            f"{self.mostly[long]:,} most of {'its' if self.mostly[long] == 1 else 'their'} runs"
        )

    def to_json(self) -> dict[str, Any]:
        """For reports."""
        return {
            "examples": self.num_examples,
            "same_prompts": self.same_prompts,
            "near_prompts": self.near_prompts,
            "leaked": len(self.held),
            "leaked_share": round(len(self.held) / self.num_examples, 6) if self.num_examples else 0.0,
            "runs": {str(size): {"sharing_one": self.sharing[size], "sharing_most": self.mostly[size]} for size in sorted(self.sharing)},
            "specimens": [{"source": one.source, "excerpt": one.excerpt} for one in self.specimens],
        }


def measure_leakage(
    train: Sequence[Example],
    held: Sequence[Example],
    *,
    name: str = "test",
    threshold: float = THRESHOLD,
    are_apart: bool = False,
    workers: Workers | None = None,
) -> Leakage:
    """One pass over `train`, which may be large and read lazily; what is held out is indexed in memory.

    Args:
        train: what is trained on.
        held: what is not.
        name: of that.
        threshold: Jaccard similarity from which prompts are nearly the same.
        are_apart: it is known that no prompt of one is near to any of the other, so that is not looked for.
        workers: share the work.
    """
    with Workers(1) if workers is None else nullcontext(workers) as sharing:
        found = sharing.map(_traces, chain(_pieces(held), _pieces(train)))
        own = list(islice(found, -(-len(held) // EXAMPLES_AT_ONCE)))
        prompts = np.concatenate([np.zeros(0, np.uint64), *(one.prompts for one in own)])
        names = tuple(one.source for one in held)
        indexes = {size: _index(size, names, [one.runs[number] for one in own]) for number, size in enumerate(_SIZES)}
        seen = {size: np.zeros(len(index.grams), bool) for size, index in indexes.items()}
        equal = np.zeros(len(held), bool)
        for traces in found:
            equal |= np.isin(prompts, traces.prompts)
            for number, size in enumerate(_SIZES):
                seen[size][indexes[size].met(traces.runs[number][0])] = True
    equal &= prompts != text_hashes([""])[0]
    near = _Near(np.zeros(len(held), bool), [], []) if are_apart else _near(train, held, threshold)
    shares = {size: index.known(seen[size]) for size, index in indexes.items()}
    leaked = equal | near.held | (shares[max(shares)] >= MOSTLY)
    return Leakage(
        name=name,
        num_examples=len(held),
        same_prompts=int(equal.sum()),
        near_prompts=int((equal | near.held).sum()),
        sharing={size: int((shares[size] > 0).sum()) for size in GRAM_SIZES},
        mostly={size: int((shares[size] >= MOSTLY).sum()) for size in GRAM_SIZES},
        held=tuple(np.flatnonzero(leaked).tolist()),
        train=tuple(near.train),
        specimens=tuple(near.specimens),
    )


_SIZES = sorted(GRAM_SIZES)


class _Traces(NamedTuple):
    """What of some examples is looked for in others."""

    prompts: Hashes
    """(examples,)"""
    runs: list[tuple[Hashes, NDArray[np.int64]]]
    """By length, as `overlap.grams`."""


def _traces(examples: Sequence[Example]) -> _Traces:
    read = list(examples)
    parts = [runs_of([whole(one) for one in read[start : start + _BATCH]], _SIZES) for start in range(0, len(read), _BATCH)]
    runs = [(np.concatenate([part[0] for part in one]), np.concatenate([part[1] for part in one])) for one in zip(*parts, strict=True)]
    return _Traces(text_hashes([normalise(asked(one)) for one in read]), runs)


_BATCH = 128
"""Texts whose arrays fit a processor's cache together, mostly."""


def _index(size: int, names: tuple[str, ...], runs: Sequence[tuple[Hashes, NDArray[np.int64]]]) -> GramIndex:
    hashes = np.concatenate([np.zeros(0, np.uint64), *(one[0] for one in runs)])
    counts = np.concatenate([np.zeros(0, np.int64), *(one[1] for one in runs)])
    return GramIndex.of_runs(size, names, hashes, np.repeat(np.arange(len(names)), counts))


class _Near(NamedTuple):
    """Near prompts on both sides."""

    held: NDArray[np.bool_]
    """(held-out examples,)"""
    train: list[int]
    specimens: list[Specimen]


def _near(train: Sequence[Example], held: Sequence[Example], threshold: float) -> _Near:
    near = np.zeros(len(held), bool)
    leaking: list[int] = []
    specimens: list[Specimen] = []
    start = 0
    with NearIndex(threshold=threshold) as index:
        index.add(map(asked, held))
        for piece in _pieces(train):
            batch = list(piece)
            found = index.matches(map(asked, batch))
            near[[match.position for match in found]] = True
            leaking += sorted({start + match.query for match in found})
            if len(specimens) < MOST_SPECIMENS:
                specimens += [_specimen(held[match.position], batch[match.query]) for match in found[:MOST_SPECIMENS]]
            start += len(batch)
    return _Near(near, leaking, specimens[:MOST_SPECIMENS])


def _specimen(held: Example, trained: Example) -> Specimen:
    shown = f"{excerpt(asked(held), length=70)} ≈ {excerpt(asked(trained), length=70)}"
    return Specimen(source=f"{held.source} and {trained.source}", excerpt=shown)


def _pieces(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """Slices, which may be read elsewhere."""
    return (examples[start : start + EXAMPLES_AT_ONCE] for start in range(0, len(examples), EXAMPLES_AT_ONCE))


def find(examples: Sequence[Example], context: CheckContext) -> list[Finding]:
    """One finding if some of `context.test_positions` leak into the others; flagged are the others, the training examples."""
    held = sorted(position for position in context.test_positions if position < len(examples))
    if not held or len(held) == len(examples):
        return []
    others = _others(len(examples), held)
    leakage = measure_leakage(Chosen(examples, others), Chosen(examples, held), threshold=context.threshold)
    if not leakage.held:
        return []
    share = len(leakage.held) / len(held)
    return [
        Finding(
            check=NAME,
            sentence=f"{counted(len(leakage.held), 'test example')} ({percent(share)}) can be known from training: {leakage.sentence()}",
            severity="problem",
            count=len(leakage.held),
            share=share,
            specimens=leakage.specimens,
            flagged=tuple(others[place] for place in leakage.train),
            action=context.action(NAME),
            option=f"--drop {NAME}",
            figures=leakage.to_json(),
        )
    ]


class Chosen(Sequence[Example]):
    """Some examples of others, read when they are asked for."""

    def __init__(self, examples: Sequence[Example], places: Sequence[int]) -> None:
        self._examples, self._places = examples, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Chosen: ...

    def __getitem__(self, index: int | slice) -> Example | Chosen:
        if isinstance(index, slice):
            return Chosen(self._examples, self._places[index])
        return self._examples[self._places[index]]


def _others(count: int, held: Sequence[int]) -> list[int]:
    free: NDArray[np.bool_] = np.ones(count, bool)
    free[list(held)] = False
    return [int(place) for place in np.flatnonzero(free)]
