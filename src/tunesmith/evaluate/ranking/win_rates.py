"""Two models face to face: how often one wins, and how often it would if both answers were equally long.

Raters and judges favour long answers. The length-controlled win rate follows AlpacaEval 2 (Dubois et al. 2024, "Length-Controlled
AlpacaEval", arXiv:2404.04475): a logistic regression of the verdicts on

    log odds(first wins) = preference + bias * tanh((first's words - second's words) / their standard deviation)

and then the win rate at a difference of zero, 1 / (1 + exp(-preference)). Different from there: no term for how hard a prompt is,
since here a pair of models meets once or a few times on each; words instead of characters; a tie counts as half a win and half a
loss; one more tie, spread evenly over the votes, keeps the answer finite where one side always won. Where one model's answers are
nearly always the longer ones, what would be at equal length is a guess beyond the data, and none is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.evaluate.statistics import SMALLEST_BOOTSTRAP, Floats, Interval, contributions, estimate
from tunesmith.evaluate.votes import Vote

FEWEST_LENGTHS = 20
"""Votes with both lengths, below which no length-controlled rate is computed."""
FEWEST_EACH_WAY = 5
"""Votes in which the first model's answer is the longer one, and as many in which the second's is."""
_STEPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Duel:
    """Two models' votes, seen from the first."""

    first: str
    second: str
    wins: int
    ties: int
    losses: int
    win_rate: float
    """A tie counts half."""
    interval: Interval
    """Of the win rate."""
    num_lengths: int
    """Votes that know the length of both answers."""
    mean_words: tuple[float, float] | None
    """Of the first's and the second's answers in those votes; None without any."""
    controlled_win_rate: float | None
    """At equal length; None where `controlled_rate` makes no guess."""
    controlled_interval: Interval | None


def duel(first: str, second: str, votes: Sequence[Vote], *, confidence: float, num_resamples: int, seed: int) -> Duel:
    """Count the votes on these two models; there is at least one."""
    turned = [_share_of(first, vote) for vote in votes]
    shares = np.array(turned)
    known = [vote for vote in votes if vote.left_words is not None and vote.right_words is not None]
    words = np.array([_words(first, vote) for vote in known], dtype=np.float64).reshape(-1, 2)
    of_known = np.array([_share_of(first, vote) for vote in known])
    controlled = controlled_rate(of_known, words, _clusters(known), confidence=confidence, num_resamples=num_resamples, seed=seed)
    return Duel(
        first=first,
        second=second,
        wins=int((shares == 1).sum()),
        ties=int((shares == 0.5).sum()),
        losses=int((shares == 0).sum()),
        win_rate=float(shares.mean()),
        interval=rate_interval(shares, _clusters(votes), confidence=confidence),
        num_lengths=len(known),
        mean_words=(float(words[:, 0].mean()), float(words[:, 1].mean())) if known else None,
        controlled_win_rate=controlled[0] if controlled else None,
        controlled_interval=controlled[1] if controlled else None,
    )


def _share_of(model: str, vote: Vote) -> float:
    return vote.left_share if vote.left == model else 1 - vote.left_share


def _words(model: str, vote: Vote) -> tuple[int | None, int | None]:
    words = vote.left_words, vote.right_words
    return words if vote.left == model else (words[1], words[0])


def _clusters(votes: Sequence[Vote]) -> list[str]:
    return [f"example {vote.example}" if vote.example else f"vote {i}" for i, vote in enumerate(votes)]


def rate_interval(shares: Floats, clusters: Sequence[str], *, confidence: float) -> Interval:
    """Interval of a win rate, examples being the units.

    `statistics.binary_interval` for examples with several votes: one example won and one lost are added, then Wald's interval
    with the linearised standard error of a ratio. With one vote an example and no ties it is Agresti and Coull's. With several,
    sums are no longer of fixed size, and Student's quantile takes the place of the normal one.
    """
    from scipy.stats import norm, t

    _, place = np.unique(np.array(clusters), return_inverse=True)
    gains = np.concatenate([np.bincount(place, weights=2 * shares - 1), [1.0, -1.0]])  # of each example, wins - losses
    counts = np.concatenate([np.bincount(place).astype(np.float64), [1.0, 1.0]])
    centre = estimate(gains, counts)
    deviation = float(contributions(gains, counts).std())
    is_simple = bool((counts == 1).all())
    quantile = norm.ppf((1 + confidence) / 2) if is_simple else t.ppf((1 + confidence) / 2, len(gains) - 1)
    half = float(quantile) * deviation / math.sqrt(len(gains))
    return Interval(max(0.0, (1 + centre - half) / 2), min(1.0, (1 + centre + half) / 2))


def controlled_rate(
    shares: Floats, words: Floats, clusters: Sequence[str], *, confidence: float, num_resamples: int, seed: int
) -> tuple[float, Interval] | None:
    """Win rate at equal length, and its interval by resampling examples, on the scale of log odds.

    Args:
        shares: 1 won, 0.5 tie, 0 lost.  # (n,)
        words: of the first's and of the second's answer.  # (n, 2)
        clusters: equal for votes on one example.
        confidence: of the interval.
        num_resamples: of the examples.
        seed: of the resamples.

    Returns:
        None with fewer than `FEWEST_LENGTHS` votes, with fewer than `FEWEST_EACH_WAY` in which one side's answer is the longer one,
        or on fewer than `SMALLEST_BOOTSTRAP` examples.
    """
    from scipy.special import expit
    from scipy.stats import t

    longer = int((words[:, 0] > words[:, 1]).sum()), int((words[:, 0] < words[:, 1]).sum())
    if len(shares) < FEWEST_LENGTHS or min(longer) < FEWEST_EACH_WAY or len(set(clusters)) < SMALLEST_BOOTSTRAP:
        return None
    difference = words[:, 0] - words[:, 1]
    feature = np.tanh(difference / float(difference.std()))  # some are longer, others shorter: never 0
    _, place = np.unique(np.array(clusters), return_inverse=True)
    count = int(place.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=num_resamples)
    weights = np.vstack([np.ones(len(shares)), drawn[:, place]])  # the first row: as it is
    one_tie = np.full_like(weights, 1 / len(shares))
    preference = fit_preference(np.tile(feature, 2), np.concatenate([shares, np.full(len(shares), 0.5)]), np.hstack([weights, one_tie]))
    deviation = float(preference[1:].std(ddof=1)) * math.sqrt(count / (count - 1))
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * deviation
    rate, low, high = (float(expit(value)) for value in (preference[0], preference[0] - half, preference[0] + half))
    return rate, Interval(low, high)


def fit_preference(feature: Floats, results: Floats, weights: Floats) -> Floats:
    """Intercepts of logistic regressions with one feature, by Newton's method, one regression a row of weights.  # (rows,)

    A slope that separates wins from losses completely has no maximum; a normal prior on the slope alone (standard deviation
    10 on the scale of log odds) keeps it finite and changes no other fit by a visible amount.
    """
    intercept, slope = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-(intercept[:, None] + slope[:, None] * feature)))  # (rows, n)
        gradient = weights * (results - chance)
        curvature = weights * chance * (1 - chance)
        g0, g1 = gradient.sum(axis=1), (gradient * feature).sum(axis=1) - slope / 100
        h00, h01 = curvature.sum(axis=1), (curvature * feature).sum(axis=1)
        h11 = (curvature * feature**2).sum(axis=1) + 1 / 100
        determinant = h00 * h11 - h01**2
        step0, step1 = (h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant
        size = np.maximum(1.0, np.maximum(np.abs(step0), np.abs(step1)))  # Newton may leap too far at the start
        intercept, slope = intercept + step0 / size, slope + step1 / size
        if max(np.abs(step0).max(), np.abs(step1).max()) < 1e-9:
            break
    return intercept
