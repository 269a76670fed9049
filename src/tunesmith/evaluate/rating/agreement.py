"""How far raters agree, beyond chance: Cohen's kappa for two, Krippendorff's alpha for more.

1 is full agreement, 0 what chance gives, below 0 systematic disagreement. Verdicts on pairs are nominal (a model's name, or a tie);
scores from 1 to 5 are ordered, so that 4 against 5 is a smaller disagreement than 1 against 5: kappa is then weighted quadratically
(Cohen 1968) and alpha ordinal. Kappa comes from scikit-learn, alpha from evalica. The interval is over units, by resampling them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate.rating.ratings import Rating
from tunesmith.evaluate.statistics import Floats, Indices, Interval, interval_of
from tunesmith.evaluate.votes import Vote

Scale = Literal["nominal", "ordinal"]
Table = Mapping[str, Mapping[str, float]]
"""Rater -> unit -> value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Of several raters on the units that at least two of them judged."""

    measure: str
    """`Cohen's kappa`, `quadratically weighted kappa`, `Krippendorff's alpha`."""
    raters: tuple[str, ...]
    num_units: int
    share_equal: float
    """Of pairs of judgements on one unit, how many are the same."""
    value: float | None
    """None where all judgements are the same: agreement beyond chance is then not defined."""
    interval: Interval | None


def vote_table(votes: Iterable[Vote]) -> Table:
    """People's verdicts by rater and pair of answers; the latest counts where one was asked twice."""
    numbers: dict[str, float] = {"tie": 0.0}
    table: dict[str, dict[str, float]] = {}
    for vote in votes:
        if vote.kind == "human" and vote.rater and vote.example:
            unit = " ".join([vote.example, *sorted([f"{vote.left}={vote.left_answer}", f"{vote.right}={vote.right_answer}"])])
            winner = "tie" if vote.winner == "tie" else f"model {vote.left if vote.winner == 'left' else vote.right}"
            table.setdefault(vote.rater, {})[unit] = numbers.setdefault(winner, float(len(numbers)))
    return table


def rating_table(ratings: Iterable[Rating]) -> Table:
    """Scores by rater and answer; the latest counts where one was asked twice."""
    table: dict[str, dict[str, float]] = {}
    for rating in ratings:
        table.setdefault(rating.rater, {})[f"{rating.example} {rating.model} {rating.answer}"] = float(rating.score)
    return table


def agreement(table: Table, scale: Scale, *, confidence: float, num_resamples: int, seed: int) -> Agreement | None:
    """Agreement on the units with two judgements or more; None where there is no such unit."""
    counts = Counter(unit for judged in table.values() for unit in judged)
    units = [unit for unit, count in counts.items() if count > 1]
    raters = tuple(rater for rater, judged in table.items() if any(unit in judged for unit in units))
    if not units:
        return None
    values = np.array([[table[rater].get(unit, math.nan) for unit in units] for rater in raters])  # (raters, units)
    statistic = kappa if len(raters) == 2 else _alpha

    def of_units(chosen: Indices) -> float:
        return statistic(values[:, chosen], scale)

    value = of_units(np.arange(len(units)))
    return Agreement(
        measure=_name(len(raters), scale),
        raters=raters,
        num_units=len(units),
        share_equal=_share_equal(values),
        value=None if math.isnan(value) else value,
        interval=interval_of(of_units, len(units), confidence=confidence, num_resamples=num_resamples, seed=seed),
    )


def _name(num_raters: int, scale: Scale) -> str:
    if num_raters > 2:
        return "Krippendorff's alpha"
    return "Cohen's kappa" if scale == "nominal" else "quadratically weighted kappa"


def kappa(values: Floats, scale: Scale) -> float:
    """Of two raters who both judged every unit; NaN where they know one and the same value only.  # values: (2, units)"""
    from sklearn.metrics import cohen_kappa_score

    if not values.size or (values == values.flat[0]).all():
        return math.nan
    return float(cohen_kappa_score(values[0], values[1], weights="quadratic" if scale == "ordinal" else None))


def _alpha(values: Floats, scale: Scale) -> float:
    """Of raters who may have left units out, as NaN.  # values: (raters, units)"""
    import evalica
    import pandas as pd

    given = values[~np.isnan(values)]
    if (given == given[0]).all():
        return math.nan
    return float(evalica.alpha(pd.DataFrame(values), distance=scale).alpha)


def _share_equal(values: NDArray[Any]) -> float:
    equal = total = 0
    for column in values.T:
        given: Sequence[float] = column[~np.isnan(column)].tolist()
        total += len(given) * (len(given) - 1) // 2
        equal += sum(count * (count - 1) // 2 for count in Counter(given).values())
    return equal / total
