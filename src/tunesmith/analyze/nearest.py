"""The training examples nearest to failed prompts, by embeddings or by words.

    space = Space.open("all-minilm-l6-v2")
    nearest = space.nearest(["How do I get my money back?"], train_examples, count=3)
    nearest[0][0]        # Near(position=41, similarity=0.83)

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
from tunesmith.data.comparing.neighbours import asked, examples_at
from tunesmith.errors import AssetError
from tunesmith.types import Example

WORDS = "words"
WORDS_FACTOR = 0.5
"""Of the similarity that counts as near: shared words are fewer than shared meanings."""
MOST_COMPARED = 20_000
"""Training examples; of more, evenly spaced ones are compared."""
MOST_CHARACTERS = 2_000
AT_ONCE = 256
"""Prompts compared with all training examples in one product."""


class Near(NamedTuple):
    """A training example, and how near its prompt is."""

    position: int
    similarity: float
    """Cosine, 0 to 1 for words."""


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

    def nearest(self, prompts: Sequence[str], examples: Sequence[Example], *, count: int) -> list[tuple[Near, ...]]:
        """For each prompt the nearest training examples, nearest first; equal ones in their order."""
        if not prompts or not examples:
            return [() for _ in prompts]
        positions = np.unique(np.linspace(0, len(examples) - 1, min(len(examples), MOST_COMPARED)).astype(np.int64))
        texts = [asked(example)[:MOST_CHARACTERS] for example in examples_at(examples, positions)]
        known, wanted = self._vectors(texts, [prompt[:MOST_CHARACTERS] for prompt in prompts])
        found: list[tuple[Near, ...]] = []
        for start in range(0, len(prompts), AT_ONCE):
            similarities = wanted[start : start + AT_ONCE] @ known.T  # (prompts, examples)
            dense = similarities.toarray() if hasattr(similarities, "toarray") else similarities
            found += [_best(row, positions, count) for row in np.asarray(dense)]
        return found

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


def _best(similarities: NDArray[Any], positions: NDArray[np.int64], count: int) -> tuple[Near, ...]:
    order = np.argsort(-similarities, kind="stable")[:count]
    return tuple(Near(int(positions[place]), float(similarities[place])) for place in order)


@lru_cache(maxsize=4096)
def _vector(embed: Embed, text: str) -> NDArray[np.float32]:
    vector: NDArray[np.float32] = embed([text[:MOST_CHARACTERS]])[0]
    return vector
