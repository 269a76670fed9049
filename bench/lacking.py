"""Whether held-out prompts on topics that were taken out of the training data are called lacking, and others are not.

    python bench/lacking.py banking77_test.csv [--absent 6] [--times 5] [--embeddings all-minilm-l6-v2]

The file names a class for each text. A fifth of it is held out; of the rest, some classes are taken out. Prints, over all times, the share
called lacking among held-out prompts of those classes, and among the others; then the same with the fixed similarity that is the fallback.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from error_groups import read
from tunesmith.analyze.evidence import NEAR_SIMILARITY
from tunesmith.analyze.nearest import Space
from tunesmith.types import Example


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--examples", type=int, default=1500)
    parser.add_argument("--absent", type=int, default=6)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--embeddings", default="all-minilm-l6-v2")
    arguments = parser.parse_args()
    examples, space = read(arguments.file), Space.open(arguments.embeddings)
    found = [shares(*draw, space) for draw in draws(examples, arguments)]
    print(f"{arguments.file.name}, by {'words' if space.embed is None else 'embeddings'}")
    for title, sides in zip(("read off the data", "fixed"), zip(*found, strict=True), strict=True):
        gone, others = (fmean(column) for column in zip(*sides, strict=True))
        print(f"{title}: {gone:.2f} of the prompts on absent topics are lacking, {others:.2f} of the others")


def draws(examples: Sequence[Example], arguments: argparse.Namespace) -> Iterator[tuple[list[Example], list[Example], set[str]]]:
    """(train, held out, absent classes), seeded."""
    for seed in range(arguments.times):
        chance = random.Random(seed)
        chosen = chance.sample(examples, min(arguments.examples, len(examples)))
        absent = set(chance.sample(sorted({one.reference for one in examples}), arguments.absent))
        part = len(chosen) // 5
        yield [one for one in chosen[part:] if one.reference not in absent], chosen[:part], absent


def shares(train: Sequence[Example], held_out: Sequence[Example], absent: set[str], space: Space) -> list[tuple[float, float]]:
    """The share called lacking on absent topics and on others: by what is read off the data, and by the fixed similarity."""
    near, usual = space.compare([one.prompt for one in held_out], train, count=1)
    assert usual is not None, "too few training examples"
    is_absent = [one.reference in absent for one in held_out]
    similarities = [found[0].similarity for found in near]
    return [
        (share_below(limit, similarities, is_absent, wanted=True), share_below(limit, similarities, is_absent, wanted=False))
        for limit in (usual.least, NEAR_SIMILARITY * space.factor)
    ]


def share_below(limit: float, similarities: Sequence[float], is_absent: Sequence[bool], *, wanted: bool) -> float:
    return fmean(similarity < limit for similarity, one in zip(similarities, is_absent, strict=True) if one is wanted)


if __name__ == "__main__":
    main()
