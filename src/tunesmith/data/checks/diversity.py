"""How varied prompts and answers are: distinct-1, 2 and 3, which are different runs of n words over all runs (Li et al., NAACL 2016).

The figure falls as texts are added, so it is taken of one size: the sample's first SAMPLE_WORDS words, and may be compared between sets
that have so many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from tunesmith.data.checks.finding import CheckContext, Finding
from tunesmith.data.checks.sampling import Sample
from tunesmith.data.comparing.overlap import grams
from tunesmith.types import Example

NAME = "diversity"
SAMPLE_SIZE = 5_000
SAMPLE_WORDS = 50_000
SIZES = (1, 2, 3)


def distinct(texts: Iterable[str], most_words: int = SAMPLE_WORDS) -> tuple[dict[int, float], int]:
    """By size, different runs over all runs; and how many words were looked at. Runs do not go from one text to the next."""
    import numpy as np

    chosen, words = [], 0
    for text in texts:
        chosen.append(text)
        words += len(text.split())
        if words >= most_words:
            break
    shares = {}
    for size in SIZES:
        hashes, _ = grams(chosen, size)
        shares[size] = len(np.unique(hashes)) / len(hashes) if len(hashes) else 0.0
    return shares, words


class Diversity:
    """The check."""

    def __init__(self, context: CheckContext) -> None:
        self.name = NAME
        self.context = context
        self.sample = Sample(SAMPLE_SIZE, most_characters=2_000)

    def look(self, position: int, example: Example) -> None:
        self.sample.offer(position, example)

    def merge(self, other: Self) -> None:
        self.sample.merge(other.sample)

    def findings(self) -> list[Finding]:
        taken = sorted(self.sample.taken(), key=lambda one: -one.order)  # by id: the same words however the rows are ordered
        parts = {"prompts": [one.prompt for one in taken if one.prompt], "answers": [one.answer for one in taken]}
        figures, said = {}, []
        for part, texts in parts.items():
            shares, words = distinct(texts)
            if words:
                figures[part] = {"words": words, **{f"distinct_{size}": round(share, 4) for size, share in shares.items()}}
                said.append(f"{part} {shares[1]:.2f}, {shares[2]:.2f}, {shares[3]:.2f} ({words:,} words)")
        if not said:
            return []
        sentence = f"different words, pairs and triples of words over all of them: {'; '.join(said)}"
        return [Finding(check=NAME, sentence=sentence, severity="note", count=0, share=0.0, figures=figures)]


def diversity(context: CheckContext) -> Diversity:
    """A new check."""
    return Diversity(context)
