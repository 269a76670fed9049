"""What a set is about: clusters with a few telling words, their sizes, and examples of each.

    >>> for topic in find_topics(examples, CheckContext()): print(topic.words, topic.size)
    ('card', 'payment', 'declined', 'cash') 812

Without a model, texts are TF-IDF vectors of their words; with `--embeddings MODEL` they are vectors of a sentence model, which also
brings together what is said in other words. Clusters are k-means' either way: a way to look at the data, not a truth about it, so a
rough number of clusters is chosen from the number of examples. Of large sets a sample is clustered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.finding import CheckContext, Finding, Specimen, excerpt, percent
from tunesmith.data.checks.sampling import Sample, Taken
from tunesmith.data.comparing.stop_words import STOP_WORDS
from tunesmith.types import Example

NAME = "topics"
SAMPLE_SIZE = 20_000
FEWEST_EXAMPLES = 30
MOST_TOPICS = 16
NUM_WORDS = 4
SHOWN_EXAMPLES = 3
MOST_CHARACTERS = 1_000
WORD = r"(?u)\b[^\W\d_]{3,}\b"

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""(texts,) -> (texts, dimensions)."""


class Topic(NamedTuple):
    """One cluster."""

    words: tuple[str, ...]
    """Those that are much more frequent in it than elsewhere."""
    size: int
    examples: tuple[Specimen, ...]
    """The ones nearest to its middle."""


def find(examples: Sequence[Example], context: CheckContext, embed: Embed | None = None) -> list[Finding]:
    """One finding with all topics in its figures, the largest first; none for few examples.

    Args:
        examples: gone through once.
        context: names the sentence model, if one is wanted; its seed is the clustering's.
        embed: instead of that model.

    Raises:
        AssetError: the sentence model cannot be had.
    """
    if embed is None and context.embeddings is not None:
        from tunesmith.embeddings import embedder

        embed = embedder(context.embeddings)
    topics = find_topics(examples, context, embed)
    if not topics:
        return []
    total = sum(topic.size for topic in topics)
    said = "; ".join(f"{', '.join(topic.words)} ({percent(topic.size / total)})" for topic in topics[:3])
    of = f" of a sample of {total:,}" if len(examples) > total else ""
    return [
        Finding(
            check=NAME,
            sentence=f"{len(topics)} topics{of}, the largest: {said}",
            severity="note",
            count=0,
            share=0.0,
            figures={
                "examples": total,
                "by": "words" if embed is None else "embeddings",
                "topics": [
                    {
                        "words": list(topic.words),
                        "count": topic.size,
                        "share": round(topic.size / total, 6),
                        "examples": [{"source": one.source, "excerpt": one.excerpt} for one in topic.examples],
                    }
                    for topic in topics
                ],
            },
        )
    ]


def find_topics(examples: Iterable[Example], context: CheckContext, embed: Embed | None = None) -> list[Topic]:
    """The largest first; the same however the examples are ordered."""
    sample = Sample(SAMPLE_SIZE, most_characters=MOST_CHARACTERS)
    for position, example in enumerate(examples):
        sample.offer(position, example)
    taken = sorted(sample.taken(), key=lambda one: (-one.order, one.source))
    if len(taken) < FEWEST_EXAMPLES:
        return []
    texts = [f"{one.prompt} {one.answer}" for one in taken]
    weights, names = word_weights(texts)
    vectors = weights if embed is None else embed(texts)
    number = min(MOST_TOPICS, max(2, round((len(taken) / 10) ** 0.5)))
    assigned, distances = k_means(vectors, number, context.seed)
    topics = [_topic(taken, weights, names, assigned, distances, which) for which in np.unique(assigned)]
    return sorted(topics, key=lambda topic: (-topic.size, topic.words))


def word_weights(texts: Sequence[str]) -> tuple[Any, NDArray[Any]]:
    """TF-IDF (texts, words), sparse with rows of length one, and the words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    fewest = 2 if len(texts) < 1000 else 5
    vectorizer = TfidfVectorizer(
        token_pattern=WORD, stop_words=sorted(STOP_WORDS), max_df=0.7, min_df=fewest, max_features=20_000, sublinear_tf=True
    )
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError:  # no word is in two texts: say so with vectors that are all alike
        return np.zeros((len(texts), 1), np.float32), np.array([""])
    return weights.astype(np.float32), vectorizer.get_feature_names_out()


def k_means(vectors: Any, number: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The cluster of each row and how far it is from its middle."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(number, random_state=seed, n_init=3, batch_size=2048)
    assigned = model.fit_predict(vectors)
    return np.asarray(assigned, np.int64), np.asarray(model.transform(vectors)[np.arange(len(assigned)), assigned], np.float64)


def _topic(
    taken: Sequence[Taken],
    weights: Any,
    names: NDArray[Any],
    assigned: NDArray[np.int64],
    distances: NDArray[np.float64],
    which: int,
) -> Topic:
    own = assigned == which
    words = telling_words(weights, names, own)
    members = np.flatnonzero(own)
    nearest = members[np.argsort(distances[members], kind="stable")[:SHOWN_EXAMPLES]]
    examples = tuple(Specimen(source=taken[place].source, excerpt=excerpt(taken[place].prompt or taken[place].answer)) for place in nearest)
    return Topic(words=words or ("different things",), size=int(own.sum()), examples=examples)


def telling_words(weights: Any, names: NDArray[Any], own: NDArray[np.bool_]) -> tuple[str, ...]:
    """Words that weigh more in the texts of a cluster, marked in `own`, than in all; the most telling first."""
    inside = np.asarray(weights[own].mean(axis=0)).ravel()
    telling = inside - np.asarray(weights.mean(axis=0)).ravel()
    return tuple(str(names[place]) for place in np.argsort(-telling, kind="stable")[:NUM_WORDS] if telling[place] > 0)
