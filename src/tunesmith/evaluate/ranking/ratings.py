"""Elo and Bradley-Terry by the library evalica, and how certain they are.

Elo (init 1000, K 4, a tie counts half) follows the votes in their order; the last ones count more, and another order gives other
numbers. Bradley-Terry takes all votes at once and is what models are ranked by. A strength of Bradley-Terry is put on Elo's scale:
1000 + 400 * log10(strength), with 1000 for the geometric mean of the strengths; 400 more are ten to one.

Strengths are the maximum likelihood's, without a prior, wherever it has a maximum: where no part of the models won all votes against
the rest (Ford 1957). Where one did, one tie for each model is added. Intervals are around the rating, with the standard error of the
bootstrap, whose every resample is rated by that same rule (the plug-in principle: Efron and Tibshirani 1993, An Introduction to the
Bootstrap, chapters 4 and 6): the tie is added in those resamples alone in which some models won everything.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tunesmith.evaluate.ranking.tally import Tally
from tunesmith.evaluate.statistics import Floats, Indices, Interval

ELO_START = 1000.0
ELO_K = 4.0
NUM_ORDERS = 100
"""Random orders of the votes in which Elo is computed again."""
_MOST_ITERATIONS = 10_000
_TOLERANCE = 1e-8


class Fit(NamedTuple):
    """Bradley-Terry on a tally.  # each (models,)"""

    strengths: Floats
    """Sum 1, as in evalica's reference values."""
    ratings: Floats
    """On Elo's scale."""


def elo(tally: Tally) -> Floats:
    """Elo of each model, the votes in their order.  # (models,)"""
    return _elo(tally, np.arange(len(tally.left)))


def elo_range(tally: Tally, *, confidence: float, seed: int) -> tuple[Floats, Floats]:
    """What Elo is between in most other orders of the same votes.  # each (models,)"""
    generator = np.random.default_rng(seed)
    drawn = np.array([_elo(tally, generator.permutation(len(tally.left))) for _ in range(NUM_ORDERS)])
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def _elo(tally: Tally, order: Indices) -> Floats:
    import evalica

    found = evalica.elo(
        tally.left[order].tolist(),
        tally.right[order].tolist(),
        [evalica.Winner(int(outcome)) for outcome in tally.outcome[order]],
        index=_index(tally),
        initial=ELO_START,
        k=ELO_K,
    )
    return np.asarray(found.scores.loc[range(len(tally.models))], dtype=np.float64)


def _index(tally: Tally) -> Any:
    import pandas as pd

    return pd.Index(range(len(tally.models)))


def bradley_terry(tally: Tally) -> Fit:
    """Strengths of all models of a connected tally; a tie is half a win for each.

    Where the likelihood has no maximum (see `Tally.groups`) what `_with_prior` says is added.
    """
    return _rated(tally.wins + tally.ties / 2, tally.met)


def _rated(shares: Floats, met: Floats) -> Fit:
    """The rule for votes and resamples alike.  # each (models, models)"""
    return _fit(shares if _has_maximum(shares) else _with_prior(shares, met))


def _has_maximum(shares: Floats) -> bool:
    """Every model is reached from every other over wins and ties (Ford 1957)."""
    from scipy.sparse.csgraph import connected_components

    num_parts, _ = connected_components(shares > 0, directed=True, connection="strong")
    return bool(num_parts == 1)


def _with_prior(shares: Floats, met: Floats) -> Floats:
    """One tie more for each model, spread over the models it was compared with, so that a model that always won stays finite."""
    is_met = met > 0
    degree = np.maximum(is_met.sum(axis=1), 1)
    weight = np.where(is_met, (1 / degree[:, None] + 1 / degree[None, :]) / 2, 0)
    return np.asarray(shares + weight / 2)


def _fit(shares: Floats) -> Fit:
    """`shares[i, j]`: how often i beat j, ties counted half.  # (models, models)"""
    import evalica

    left, right = (places.tolist() for places in np.nonzero(shares))
    found = evalica.bradley_terry(
        left,
        right,
        [evalica.Winner.X] * len(left),
        index=_range_index(len(shares)),
        weights=shares[left, right].tolist(),
        tolerance=_TOLERANCE,
        limit=_MOST_ITERATIONS,
    )
    strengths = np.asarray(found.scores.loc[range(len(shares))], dtype=np.float64)
    logarithms = np.log10(strengths)
    return Fit(strengths / strengths.sum(), ELO_START + 400 * (logarithms - logarithms.mean()))


def _range_index(count: int) -> Any:
    import pandas as pd

    return pd.RangeIndex(count)


def resampled_ratings(tally: Tally, *, num_resamples: int, seed: int) -> Floats:
    """Ratings, as `bradley_terry` makes them, of samples of examples drawn with replacement.  # (num_resamples, models)"""
    cells = _cells(tally)
    generator = np.random.default_rng(seed)
    count = tally.num_clusters
    ratings = []
    for _ in range(num_resamples):
        drawn = np.bincount(generator.integers(count, size=count), minlength=count)  # how often each cluster
        ratings.append(_rated(_resampled_shares(cells, drawn, len(tally.models)), tally.met).ratings)
    return np.array(ratings)


class _Cells(NamedTuple):
    """Each vote as two entries of the matrix of shares.  # each (2 n,)"""

    place: Indices
    share: Floats
    cluster: Indices


def _cells(tally: Tally) -> _Cells:
    size = len(tally.models)
    share = np.array([0.5, 1.0, 0.0])[tally.outcome]
    place = np.concatenate([tally.left * size + tally.right, tally.right * size + tally.left])
    return _Cells(place, np.concatenate([share, 1 - share]), np.concatenate([tally.cluster, tally.cluster]))


def _resampled_shares(cells: _Cells, drawn: Indices, size: int) -> Floats:
    weights = cells.share * drawn[cells.cluster]
    return np.bincount(cells.place, weights=weights, minlength=size * size).astype(np.float64).reshape(size, size)


def interval_around(centre: float, resampled: Floats, count: int, confidence: float) -> Interval:
    """Student's interval with the standard error of the bootstrap, widened by sqrt(n / (n - 1)) as it is too small by that.

    Ratings are logarithms, whose bootstrap is near enough to normal; its percentiles covered less in trial simulations.
    """
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, count - 1)) * float(resampled.std(ddof=1)) * math.sqrt(count / (count - 1))
    return Interval(centre - half, centre + half)
