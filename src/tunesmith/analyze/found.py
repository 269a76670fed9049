"""Error groups that nobody named: what is left over, clustered by what it is about.

    >>> [(group.title, len(group.members)) for group in find_groups(texts, embed)]
    [('about: invoice, refund, card', 14), ('about: password, login', 9)]

The failures that no rule explains are clustered by prompt and reference, over embeddings, or over the main directions of TF-IDF vectors of
their words where there is no sentence model: k-means from the middles of Ward's clusters (Ward 1963), which leaves nothing to chance, with
the number of clusters whose silhouette is best (Rousseeuw 1987). A way to read them, not a truth about them. A group that has mostly the
members of one of the analysis before keeps its name; `bench/found_groups.py` measures how much changes when a few failures go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.checks.topics import Embed, telling_words, word_weights
from tunesmith.files import write_json

FILE = "found.json"
SCHEMA_VERSION = 1
FEWEST_FAILURES = 20
"""Below, there is nothing to cluster: read them."""
FEWEST_MEMBERS = 3
MOST_GROUPS = 12
PER_GROUP = 5
"""Failures for each cluster at least, in the mean."""
MOST_CHARACTERS = 1_000
DIRECTIONS = 50
"""Of the words' vectors that are looked at: rare words alone make no cluster."""
MOST_STARTING = 2_000
"""Texts from which the middles are first told; Ward's method compares each with each."""
SAME = 0.5
"""Jaccard similarity of the members from which a group is one of the analysis before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundGroup:
    """A cluster of failures."""

    name: str
    """For options and files: `found:invoice`."""
    title: str
    members: frozenset[str]
    """Ids of examples."""

    def to_json(self) -> dict[str, Any]:
        """A plain document."""
        return {"name": self.name, "title": self.title, "members": sorted(self.members)}


def write_groups(directory: Path, groups: Sequence[FoundGroup]) -> None:
    """For the next analysis; new answers leave this file where it is."""
    write_json(directory / FILE, {"schema_version": SCHEMA_VERSION, "groups": [group.to_json() for group in groups]})


def read_groups(directory: Path) -> tuple[FoundGroup, ...]:
    """The groups found by the analysis before; none where there was none."""
    file = directory / FILE
    found = json.loads(file.read_text(encoding="utf-8"))["groups"] if file.is_file() else []
    return tuple(FoundGroup(name=one["name"], title=one["title"], members=frozenset(one["members"])) for one in found)


def find_groups(texts: Mapping[str, str], embed: Embed | None, *, earlier: Sequence[FoundGroup] = ()) -> tuple[FoundGroup, ...]:
    """Clusters of failures, the largest first; none of few.

    Args:
        texts: id of an example to what it is about.
        embed: a sentence model; None compares words.
        earlier: groups of the analysis before, whose names are kept.
    """
    if len(texts) < FEWEST_FAILURES:
        return ()
    ids = sorted(texts)
    cut = [texts[one][:MOST_CHARACTERS] for one in ids]
    weights, names = word_weights(cut)
    assigned = clusters(main_directions(weights) if embed is None else embed(cut))
    found = [(telling_words(weights, names, own), frozenset(np.array(ids)[own].tolist())) for own in _large(assigned)]
    return _named(sorted(found, key=lambda one: (-len(one[1]), min(one[1]))), _kept([members for _, members in found], earlier))


def _large(assigned: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
    """Masks of the clusters that are no handful."""
    masks = [assigned == which for which in np.unique(assigned)]
    return [own for own in masks if own.sum() >= FEWEST_MEMBERS]


def main_directions(weights: Any) -> NDArray[np.float64]:
    """(texts, words) -> (texts, directions): latent semantic analysis (Deerwester et al. 1990), rows of length one."""
    from scipy.sparse.linalg import svds

    rank = min(DIRECTIONS, min(weights.shape) - 1)
    if rank < 1:
        return np.asarray(weights.todense() if hasattr(weights, "todense") else weights, np.float64)
    left, strengths, _ = svds(weights.astype(np.float64), k=rank, v0=np.ones(min(weights.shape)))
    scaled = left * strengths
    return np.asarray(scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12))


def clusters(vectors: NDArray[Any]) -> NDArray[np.int64]:
    """(texts, dimensions) -> (texts,): numbers of clusters, the same every time."""
    from scipy.cluster.hierarchy import fcluster, ward
    from sklearn.metrics import silhouette_score

    start = vectors[:MOST_STARTING]
    tree = ward(start)
    numbers = range(2, min(MOST_GROUPS, len(vectors) // PER_GROUP) + 1)
    candidates = [_refined(vectors, start, fcluster(tree, number, "maxclust")) for number in numbers]
    proper = [assigned for assigned in candidates if 1 < len(np.unique(assigned)) < len(vectors)]
    if not proper:
        return np.zeros(len(vectors), np.int64)
    return max(proper, key=lambda assigned: float(silhouette_score(vectors, assigned)))


def _refined(vectors: NDArray[Any], start: NDArray[Any], assigned: NDArray[Any]) -> NDArray[np.int64]:
    """K-means from the middles of clusters."""
    from sklearn.cluster import KMeans

    middles = np.array([start[assigned == which].mean(axis=0) for which in np.unique(assigned)])
    middles = np.unique(middles.round(6), axis=0)  # equal texts have been told apart by their last bits
    return np.asarray(KMeans(len(middles), init=middles, n_init=1).fit_predict(vectors), np.int64)


def _kept(members: Sequence[frozenset[str]], earlier: Sequence[FoundGroup]) -> dict[frozenset[str], FoundGroup]:
    """Clusters that are an earlier group, each at most once, the most similar first."""
    pairs = [(len(own & one.members) / len(own | one.members), one, own) for own in members for one in earlier]
    kept: dict[frozenset[str], FoundGroup] = {}
    for similarity, one, own in sorted(pairs, key=lambda pair: (-pair[0], pair[1].name)):
        if similarity >= SAME and own not in kept and one not in kept.values():
            kept[own] = one
    return kept


def _named(found: Sequence[tuple[tuple[str, ...], frozenset[str]]], kept: Mapping[frozenset[str], FoundGroup]) -> tuple[FoundGroup, ...]:
    """Earlier names where there are, else of the first telling words that nobody has."""
    groups: list[FoundGroup] = []
    taken = {one.name for one in kept.values()}
    for words, members in found:
        if earlier := kept.get(members):
            groups.append(FoundGroup(name=earlier.name, title=earlier.title, members=members))
            continue
        name = _new_name(words or ("different", "things"), taken)
        taken.add(name)
        groups.append(FoundGroup(name=name, title=f"about: {', '.join(words[:3]) or 'different things'}", members=members))
    return tuple(groups)


def _new_name(words: Sequence[str], taken: set[str]) -> str:
    """The most telling word, for it changes least, and as many more as it takes; then with a number."""
    names = [f"found:{'-'.join(words[:count])}" for count in range(1, len(words) + 1)]
    names += [f"{names[0]}-{number}" for number in range(2, MOST_GROUPS + 2)]
    return next(name for name in names if name not in taken)
