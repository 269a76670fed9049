"""How near a prompt is to what was trained on, prompt after prompt, while a server runs.

>>> trained = Trained.learn(data.train, model="words")
>>> trained.nearest(["Do you ship abroad?"])
[Nearness(answered=0.71, redirected=0.12)]

Training prompts that are redirected are kept apart: to be near one of them is to be off the subject. Cosines are of a sentence model's
embeddings, or of words (TF-IDF), where a word that no training prompt has counts like one that a single prompt has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tunesmith.data.comparing.nearest import product
from tunesmith.data.comparing.neighbours import asked, examples_at
from tunesmith.data.comparing.usual import FEWEST_USUAL, to_others
from tunesmith.embeddings import embedder
from tunesmith.errors import AssetError
from tunesmith.evaluate.probing.recognise import Recogniser
from tunesmith.types import Example

WORDS, AUTO = "words", "auto"
MOST_COMPARED = 20_000
"""Training examples; of more, evenly spaced ones are compared."""
MOST_CHARACTERS = 2_000
"""Of a text at once; of a longer prompt this much of its beginning and of its end are looked at."""


class Nearness(NamedTuple):
    """Cosines to the nearest training prompt of either kind."""

    answered: float
    redirected: float
    """-1 where none is redirected."""


class Vectors:
    """Texts -> rows of length one."""

    def __init__(self, texts: Sequence[str], model: str) -> None:
        """Learn the words of `texts`, or load the sentence model.

        Raises:
            AssetError: a model is named and cannot be had.
        """
        self.note: str | None = None
        self._embed: Any = None
        self.known: Any
        if model != WORDS:
            try:
                self._embed = embedder() if model == AUTO else embedder(model)
            except AssetError as error:
                if model != AUTO:
                    raise
                self.note = f"prompts are compared by words, the sentence model cannot be had ({error.found})"
        self.by = WORDS if self._embed is None else "embeddings"
        if self._embed is None:
            self._learn_words(texts)
        self.known = self(texts)

    def _learn_words(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True, norm=None)  # noqa: S106 - a pattern of words
        self._vectorizer.fit([*texts, "a"])  # at least one word
        self._analyse = self._vectorizer.build_analyzer()
        self._weight_of_unknown = float(np.log((1 + len(texts)) / 2) + 1)

    def __call__(self, texts: Sequence[str]) -> Any:
        """(texts,) -> (texts, dimensions)."""
        cut = [text[:MOST_CHARACTERS] for text in texts]
        if self._embed is not None:
            return self._embed(cut)
        from scipy.sparse import diags

        rows = self._vectorizer.transform(cut)
        squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel() + [self._unknown(text) for text in cut]
        return diags(1 / np.sqrt(np.maximum(squares, 1e-12))) @ rows

    def _unknown(self, text: str) -> float:
        """Squares of the weights of words that are not among those learnt."""
        known = self._vectorizer.vocabulary_
        counts = Counter(word for word in self._analyse(text) if word not in known)
        return sum((self._weight_of_unknown * (1 + float(np.log(count)))) ** 2 for count in counts.values())


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The training prompts, and how near they are to each other."""

    vectors: Vectors
    is_redirected: Any
    """(known,), bool."""
    others: Any
    """(at most a sample of those answered,), cosines to the nearest other answered prompt that is no near duplicate."""

    @classmethod
    def learn(cls, train: Sequence[Example], *, model: str = AUTO) -> Trained:
        """From the training examples.

        Raises:
            AssetError: the sentence model is named and cannot be had.
        """
        positions = np.unique(np.linspace(0, len(train) - 1, min(len(train), MOST_COMPARED)).astype(np.int64))
        examples = [example for example in examples_at(train, positions) if example.messages]
        recogniser = Recogniser.learn(examples, None)
        redirected = np.array([recogniser.reason(example.reference) is not None for example in examples], dtype=bool)
        vectors = Vectors([asked_by_user(example) for example in examples], model)
        kept = np.flatnonzero(~redirected)
        others = to_others(vectors.known[kept], [examples[place] for place in kept]) if len(kept) > 1 else np.zeros(0)
        return cls(vectors=vectors, is_redirected=redirected, others=others)

    def nearest(self, prompts: Sequence[str]) -> list[Nearness]:
        """For each prompt; of a long one as its beginning or its end is, whichever is further from what is answered."""
        if not len(self.is_redirected):
            return [Nearness(-1.0, -1.0) for _ in prompts]
        ends = [prompt[-MOST_CHARACTERS:] for prompt in prompts]
        both = [[Nearness(*self._nearest_of(row)) for row in product(self.vectors(texts), self.vectors.known)] for texts in (prompts, ends)]
        return [min(pair) for pair in zip(*both, strict=True)]

    def _nearest_of(self, similarities: Any) -> tuple[float, float]:
        answered, redirected = similarities[~self.is_redirected], similarities[self.is_redirected]
        return float(answered.max(initial=-1.0)), float(redirected.max(initial=-1.0))

    def threshold(self, share: float) -> float | None:
        """Below which this share of the training prompts' own nearest neighbours lie; None of few."""
        return float(np.quantile(self.others, share)) if len(self.others) >= FEWEST_USUAL else None


def asked_by_user(example: Example) -> str:
    """The last thing the user said."""
    return example.prompt or asked(example)
