"""A chunk of examples, rendered and checked: the work of the preflight that several processes share.

for checked in check_all(examples, renderer, Limits(max_length=1024, over_length="refuse")):
    ...
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple

from tunesmith.render import picture
from tunesmith.render.checks import find_fault_of_all
from tunesmith.render.rendered import TokenArrays
from tunesmith.render.renderer import Renderer
from tunesmith.render.windows import cut_into_windows
from tunesmith.types import Example, RenderedExample
from tunesmith.workers import MOST_WORKERS, Workers, available_cores

OverLength = Literal["refuse", "drop", "cut"]
Renderings = tuple[RenderedExample, ...]
"""Of one example: one; or the chosen and the rejected side of a preference pair; or the windows of a raw text."""

CHUNK = 1_000
"""Examples that are rendered together."""
FEWEST_FOR_PROCESSES = 20_000
"""Starting a process costs a second of importing, rendering this many examples some four."""


class Limits(NamedTuple):
    """What an example may not exceed."""

    max_length: int
    over_length: OverLength


class Fault(NamedTuple):
    """An example that would train the wrong thing."""

    source: str
    fault: str
    picture: str
    """Its tokens, the supervised ones marked."""


class TooLong(NamedTuple):
    """An example over the limit."""

    source: str
    number: int
    """Its place in the chunk."""
    longest: int
    """Tokens of its longest side."""
    num_tokens: int
    num_supervised: int


@dataclass(frozen=True, kw_only=True)
class CheckedChunk:
    """What became of the examples, in their order."""

    num_examples: int
    num_pairs: int
    """Of them preference pairs: all or none, else they cannot be trained on together."""
    num_kept: int
    sides: tuple[TokenArrays, ...]
    """Chosen and rejected side of preference pairs, else one; `example` counts from the chunk's start."""
    too_long: tuple[TooLong, ...]
    faults: tuple[Fault, ...]
    num_faulty: int


def numbered_from(first: int, chunk: CheckedChunk) -> tuple[TokenArrays, ...]:
    """The chunk's tokens, its examples numbered through all chunks."""
    return tuple(dataclasses.replace(side, example=side.example + first) for side in chunk.sides)


def check_all(examples: Sequence[Example], renderer: Renderer, limits: Limits, processes: int | None = None) -> Iterator[CheckedChunk]:
    """All examples, chunk by chunk in their order; many of them in several processes (None: by their number and the cores)."""
    starts = range(0, len(examples), CHUNK)
    if processes is None:
        processes = 1 if len(examples) < FEWEST_FOR_PROCESSES else min(MOST_WORKERS, available_cores())
    chunks: Iterable[Sequence[Example]] = (examples[start : start + CHUNK] for start in starts)
    if processes == 1:
        yield from (check_chunk(chunk, renderer, limits) for chunk in chunks)
        return
    with Workers(processes) as workers:
        yield from workers.map(partial(_check_shipped, pickle.dumps(renderer), limits), chunks)


def _check_shipped(renderer: bytes, limits: Limits, examples: Sequence[Example]) -> CheckedChunk:
    return check_chunk(examples, _unpacked(renderer), limits)


@lru_cache(maxsize=1)
def _unpacked(renderer: bytes) -> Renderer:
    """Once in a process: a tokenizer is some megabytes."""
    unpacked: Renderer = pickle.loads(renderer)  # noqa: S301 - written by our own parent
    return unpacked


def check_chunk(examples: Sequence[Example], renderer: Renderer, limits: Limits) -> CheckedChunk:
    """Render, cut or leave out what is too long, look for faults."""
    examples = list(examples)  # reads each from its file
    kept: list[Renderings] = []
    numbers: list[int] = []
    too_long: list[TooLong] = []
    faults: list[Fault] = []
    num_faulty = 0
    num_pairs = sum(example.kind == "pair" for example in examples)
    with renderer.remembering(examples):
        for number, example in enumerate(examples):
            renderings = render_all(example, renderer, limits.max_length)
            longest = max(len(rendered.token_ids) for rendered in renderings)
            if longest > limits.max_length:
                too_long.append(_too_long(number, longest, renderings))
                if limits.over_length != "cut":
                    continue
                renderings = tuple(renderer.fit(side.example, limits.max_length) for side in renderings)
            if found := find_fault_of_all(renderings, renderer, limits.max_length):
                num_faulty += 1
                if not faults:  # one is shown
                    faults.append(Fault(example.source, found[1], picture.plain(found[0], renderer)))
            kept.append(renderings)
            numbers.append(number)
    return CheckedChunk(
        num_examples=len(examples),
        num_pairs=num_pairs,
        num_kept=len(kept),
        sides=_arrays(kept, numbers, are_pairs=num_pairs == len(examples)),
        too_long=tuple(too_long),
        faults=tuple(faults),
        num_faulty=num_faulty,
    )


def _too_long(number: int, longest: int, renderings: Renderings) -> TooLong:
    return TooLong(
        source=renderings[0].example.source,
        number=number,
        longest=longest,
        num_tokens=sum(len(rendered.token_ids) for rendered in renderings),
        num_supervised=sum(rendered.num_supervised for rendered in renderings),
    )


def _arrays(kept: Sequence[Renderings], numbers: Sequence[int], *, are_pairs: bool) -> tuple[TokenArrays, ...]:
    if are_pairs:
        return tuple(TokenArrays.of([renderings[side] for renderings in kept], numbers) for side in (0, 1))
    flat = [(rendered, number) for renderings, number in zip(kept, numbers, strict=True) for rendered in renderings]
    return (TokenArrays.of([rendered for rendered, _ in flat], [number for _, number in flat]),)


def render_all(example: Example, renderer: Renderer, max_length: int) -> Renderings:
    """Every token sequence that an example trains on: both sides of a preference pair, all windows of a raw text."""
    rendered = renderer.render(example)
    if example.kind == "pair":
        return rendered, renderer.render(example.swapped())
    return cut_into_windows(rendered, max_length, renderer.bos_id) if example.kind == "text" else (rendered,)
