"""Examples that must stay together -> clusters: equal prompts, one group, nearly the same words; and whatever these chain up.

>>> unite([prompts, groups, near])
array([0, 1, 0, 3])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.converting.facts import first_of_each

NO_LABEL = 0


def unite(labelings: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """(n,) numbers, equal for items that share a label in any of the labelings, directly or by way of others.

    Each labeling is (n,); 0 is no label.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(labelings[0])
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    for labels in labelings:
        labelled = np.flatnonzero(labels != NO_LABEL)
        rows.append(labelled)
        columns.append(labelled[first_of_each(labels[labelled])])
    edges = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)
