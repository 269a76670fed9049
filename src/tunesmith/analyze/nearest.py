"""The training examples nearest to failed prompts, by embeddings or by words.

    space = Space.open("all-minilm-l6-v2")
    compared = space.compare(["How do I get my money back?"], train_examples, count=3)
    compared.nearest[0][0]        # Near(position=41, similarity=0.83)
    compared.usual.least          # 0.58: of the training prompts themselves, one in ten is further from its nearest neighbour

What is near depends on the data: prompts about one product are all alike, those of a general assistant are not. So it is read off the
training prompts, each compared with those that may be on the other side of a split, as a held-out prompt is.

Where the sentence model cannot be had, words are compared (cosine of TF-IDF vectors), which finds the same words but not the same
meaning; `Space.note` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.topics import Embed
from tunesmith.data.comparing.nearest import nearest_rows
from tunesmith.data.comparing.neighbours import asked, examples_at
from tunesmith.data.comparing.usual import Usual, to_others
from tunesmith.errors import AssetError
from tunesmith.types import Example

WORDS = "words"
WORDS_FACTOR = 0.5
"""Of the similarity that counts as near: shared words are fewer than shared meanings."""
MOST_COMPARED = 20_000
"""Training examples; of more, evenly spaced ones are compared."""
MOST_CHARACTERS = 2_000


class Near(NamedTuple):
    """A training example, and how near its prompt is."""

    position: int
    similarity: float
    """Cosine, 0 to 1 for words."""


class Compared(NamedTuple):
    """Prompts and training examples."""

    nearest: list[tuple[Near, ...]]
    """For each prompt the nearest training examples, nearest first; equal ones in their order."""
    usual: Usual | None
    """None where there are too few training examples."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Where texts are near each other."""

    embed: Embed | None
    """None: by their words."""
    note: str | None = None
    """What a person should know of it."""

    @classmethod
    def open(cls, model: str) -> Space:
        """The sentence model, or words where that is asked for or the model cannot be had."""
        if model == WORDS:
            return cls(embed=None)
        from tunesmith.embeddings import embedder

        try:
            return cls(embed=embedder(model))
        except AssetError as error:
            return cls(embed=None, note=f"nearest examples: compared by words, the sentence model cannot be had ({error.found})")

    @property
    def factor(self) -> float:
        """By which a threshold meant for embeddings is multiplied."""
        return WORDS_FACTOR if self.embed is None else 1.0

    def similarity(self, one: str, other: str) -> float | None:
        """Cosine of two texts' embeddings; None without a sentence model."""
        if self.embed is None:
            return None
        return float(np.dot(_vector(self.embed, one), _vector(self.embed, other)))

    def compare(self, prompts: Sequence[str], examples: Sequence[Example], *, count: int) -> Compared:
        """Find the nearest `count` training examples of each prompt, and how near training examples are among themselves."""
        if not prompts or not len(examples):
            return Compared([() for _ in prompts], None)
        positions = np.unique(np.linspace(0, len(examples) - 1, min(len(examples), MOST_COMPARED)).astype(np.int64))
        chosen = list(examples_at(examples, positions))
        texts = [asked(example)[:MOST_CHARACTERS] for example in chosen]
        known, wanted = self._vectors(texts, [prompt[:MOST_CHARACTERS] for prompt in prompts])
        found = nearest_rows(wanted, known, count)
        near = [
            tuple(Near(int(positions[place]), float(similarity)) for place, similarity in zip(*row, strict=True))
            for row in zip(found.places, found.similarities, strict=True)
        ]
        return Compared(near, Usual.of(to_others(known, chosen)))

    def _vectors(self, known: list[str], wanted: list[str]) -> tuple[Any, Any]:
        if self.embed is not None:
            return self.embed(known), self.embed(wanted)
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True)  # noqa: S106 - a pattern of words
        try:
            vectorizer.fit([*known, *wanted])
        except ValueError:  # no text has a word
            return np.zeros((len(known), 1)), np.zeros((len(wanted), 1))
        return vectorizer.transform(known), vectorizer.transform(wanted)


@lru_cache(maxsize=4096)
def _vector(embed: Embed, text: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = embed([text[:MOST_CHARACTERS]])[0]
    return vector
