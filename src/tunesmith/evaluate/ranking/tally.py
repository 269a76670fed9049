"""Votes as arrays: who met whom, how often, and which models can be ranked against each other at all.

>>> tally = count_votes([Vote(left="a", right="b", winner="left"), Vote(left="a", right="b", winner="tie")])
>>> tally.models, tally.wins, tally.ties
(('a', 'b'), [[0, 1], [0, 0]], [[0, 1], [1, 0]])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.errors import DataError
from tunesmith.evaluate.statistics import Floats, Indices
from tunesmith.evaluate.votes import Vote

OUTCOMES = ("tie", "left", "right")
"""By number: evalica's `Winner`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """Votes in the order in which they were given, (n,) each, and sums over them."""

    models: tuple[str, ...]
    """In the order of their first appearance, all left sides first: evalica's."""
    left: Indices
    right: Indices
    outcome: NDArray[np.int64]
    """Position in `OUTCOMES`."""
    cluster: Indices
    """Votes on one example have one number; a vote without an example has one of its own."""
    wins: Floats
    """How often the model of the row beat that of the column.  # (models, models)"""
    ties: Floats
    """Symmetric."""

    @property
    def num_clusters(self) -> int:
        return int(self.cluster.max()) + 1

    @property
    def met(self) -> Floats:
        """How often two models were compared.  # (models, models)"""
        return np.asarray(self.wins + self.wins.T + self.ties)

    def groups(self, *, lossless_too: bool = False) -> list[list[int]]:
        """Models connected by comparisons, the largest group first.

        Args:
            lossless_too: only those connected by wins or ties in both directions. Where that splits a group, one part never lost
                to the other, and Bradley-Terry's likelihood has no maximum (Ford 1957).
        """
        from scipy.sparse.csgraph import connected_components

        beaten = (self.wins + self.ties) > 0
        _, label = connected_components(beaten, directed=True, connection="strong" if lossless_too else "weak")
        parts = [[int(i) for i in np.flatnonzero(label == one)] for one in dict.fromkeys(label.tolist())]
        return sorted(parts, key=len, reverse=True)


def count_votes(votes: Sequence[Vote]) -> Tally:
    """Bring votes into arrays.

    Raises:
        DataError: there are no votes.
    """
    if not votes:
        remedy = "vote with `tunesmith rate`, or name other files or another --kind"
        raise DataError("rank", "there are no votes", expected="at least one", remedy=remedy)
    models = tuple(dict.fromkeys([*(vote.left for vote in votes), *(vote.right for vote in votes)]))
    number = {model: position for position, model in enumerate(models)}
    left = np.array([number[vote.left] for vote in votes])
    right = np.array([number[vote.right] for vote in votes])
    outcome = np.array([OUTCOMES.index(vote.winner) for vote in votes])
    wins, ties = np.zeros((len(models),) * 2), np.zeros((len(models),) * 2)
    np.add.at(wins, (left[outcome == 1], right[outcome == 1]), 1)
    np.add.at(wins, (right[outcome == 2], left[outcome == 2]), 1)
    np.add.at(ties, (left[outcome == 0], right[outcome == 0]), 1)
    return Tally(models=models, left=left, right=right, outcome=outcome, cluster=_clusters(votes), wins=wins, ties=ties + ties.T)


def _clusters(votes: Sequence[Vote]) -> Indices:
    keys = [("example", vote.example) if vote.example else ("vote", str(i)) for i, vote in enumerate(votes)]
    number = {key: position for position, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys])
