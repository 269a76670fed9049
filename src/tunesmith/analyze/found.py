"""Error groups that nobody named: what is left over, clustered by what it is about.

    >>> [(group.title, len(group.members)) for group in find_groups(texts, embed, seed=0)]
    [('about: invoice, refund, card', 14), ('about: password, login', 9)]

The failures that no rule explains are clustered by prompt and reference: k-means over embeddings, or over TF-IDF vectors of their
words where there is no sentence model, with the number of clusters whose silhouette is best (Rousseeuw 1987). A way to read them, not a
truth about them; the same every time for one seed, however the records are ordered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.data.checks.topics import Embed, k_means, telling_words, word_weights

FEWEST_FAILURES = 20
"""Below, there is nothing to cluster: read them."""
FEWEST_MEMBERS = 3
MOST_GROUPS = 12
PER_GROUP = 5
"""Failures for each cluster at least, in the mean."""
MOST_CHARACTERS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundGroup:
    """A cluster of failures."""

    name: str
    """For options and files: `found:invoice-refund`."""
    title: str
    members: frozenset[str]
    """Ids of examples."""


def find_groups(texts: Mapping[str, str], embed: Embed | None, *, seed: int) -> tuple[FoundGroup, ...]:
    """Clusters of failures, the largest first; none of few.

    Args:
        texts: id of an example to what it is about.
        embed: a sentence model; None compares words.
        seed: of the clustering.
    """
    if len(texts) < FEWEST_FAILURES:
        return ()
    ids = sorted(texts)
    cut = [texts[one][:MOST_CHARACTERS] for one in ids]
    weights, names = word_weights(cut)
    assigned = _best_clustering(weights if embed is None else embed(cut), len(ids), seed)
    groups: dict[str, FoundGroup] = {}
    for which in np.unique(assigned):
        own = assigned == which
        if own.sum() >= FEWEST_MEMBERS:
            group = _group(telling_words(weights, names, own), frozenset(np.array(ids)[own].tolist()), groups)
            groups[group.name] = group
    return tuple(sorted(groups.values(), key=lambda group: (-len(group.members), group.name)))


def _best_clustering(vectors: Any, count: int, seed: int) -> Any:
    """(texts,): numbers of clusters."""
    from sklearn.metrics import silhouette_score

    candidates = [k_means(vectors, number, seed)[0] for number in range(2, min(MOST_GROUPS, count // PER_GROUP) + 1)]
    proper = [assigned for assigned in candidates if 1 < len(np.unique(assigned)) < count]
    if not proper:
        return np.zeros(count, np.int64)
    return max(proper, key=lambda assigned: float(silhouette_score(vectors, assigned)))


def _group(words: tuple[str, ...], members: frozenset[str], taken: Mapping[str, FoundGroup]) -> FoundGroup:
    words = words or ("different", "things")
    name = f"found:{'-'.join(words[:2])}"
    name = name if name not in taken else f"{name}-{len(taken) + 1}"
    return FoundGroup(name=name, title=f"about: {', '.join(words[:3])}", members=members)
