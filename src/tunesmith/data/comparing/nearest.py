"""The rows of one matrix nearest to those of another, by cosine.

>>> nearest_rows(embed(["How do I pay?"]), embed(texts), 3).places
array([[17,  4, 90]])
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 256
"""Rows compared with all others in one product."""


class Nearest(NamedTuple):
    """For each row wanted, those nearest to it, nearest first; equally near ones in their order."""

    places: NDArray[np.int64]
    """(wanted, count), of the known rows."""
    similarities: NDArray[Any]
    """(wanted, count), cosines."""


def nearest_rows(wanted: Any, known: Any, count: int) -> Nearest:
    """The nearest `count` of the known rows, or all where there are fewer.

    Args:
        wanted: (wanted, dimensions), dense or sparse, rows of length one.
        known: (known, dimensions), likewise.
        count: for each row wanted.
    """
    count = min(count, known.shape[0])
    places, similarities = np.zeros((wanted.shape[0], count), np.int64), np.zeros((wanted.shape[0], count), np.float64)
    for start in range(0, wanted.shape[0], AT_ONCE):
        found = product(wanted[start : start + AT_ONCE], known)
        best = np.argsort(-found, axis=1, kind="stable")[:, :count]
        places[start : start + AT_ONCE] = best
        similarities[start : start + AT_ONCE] = np.take_along_axis(found, best, axis=1)
    return Nearest(places, similarities)


def product(wanted: Any, known: Any) -> NDArray[Any]:
    """(wanted, known): cosines, dense."""
    found = wanted @ known.T
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found)
