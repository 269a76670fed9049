"""Embedding similarity: does a completion mean what its reference means, in whatever words?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.evaluate.scorers.scorer import Metric, Score, Scorer

METRIC = Metric(
    name="embedding_similarity",
    title="embeddings",
    higher_is_better=True,
    scale="cosine of the sentence embeddings, below 0 taken as 0: 0 to 1",
    decimals=2,
)

Embed = Callable[[Sequence[str]], Any]
"""(texts,) -> (texts, dimensions), rows of length one."""


def embedding_scorer(model: str) -> Scorer:
    """Cosine of completion and reference in the sentence model called `model`, loaded when the first text is scored.

    An empty completion means nothing, and gets 0.
    """

    def embed(texts: Sequence[str]) -> Any:
        from tunesmith.embeddings import embedder

        return embedder(model)(texts)

    return similarity_scorer(embed)


def similarity_scorer(embed: Embed) -> Scorer:
    """The same with any embedding."""
    known: dict[str, Any] = {}

    def prepare(texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, embed(new), strict=True) if new else ())

    def function(completion: str, reference: str, prompt: str) -> Score | None:
        if not reference.strip():
            return None
        if not completion.strip():
            return Score(0.0, "nothing was answered")
        prepare([completion, reference])
        return Score(min(1.0, max(0.0, float(known[completion] @ known[reference]))))

    return Scorer(metric=METRIC, function=function, prepare=prepare)
