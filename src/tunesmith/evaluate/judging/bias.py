"""What a judge goes by beside the answers: their order, their length, chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from tunesmith.config import JudgeConfig
from tunesmith.evaluate.judging.pairwise import PairResult
from tunesmith.evaluate.ranking.win_rates import controlled_rate
from tunesmith.evaluate.statistics import Interval, mcnemar


@dataclass(frozen=True, kw_only=True)
class Share:
    """So many of so many, with the exact binomial interval (Clopper and Pearson 1934)."""

    count: int
    total: int
    interval: Interval | None
    """None where there is nothing to take a share of."""

    @property
    def value(self) -> float | None:
        return self.count / self.total if self.total else None


@dataclass(frozen=True, kw_only=True)
class PositionBias:
    """Zheng et al. 2023, section 3.3."""

    inconsistent: Share
    """Of the pairs with both orders: those whose orders disagree."""
    prefers_first: Share
    """Of the verdicts for one of the answers: those for the answer shown first; without bias about half."""
    flips_to_first: int
    """Pairs where both orders chose the answer shown first."""
    flips_to_second: int
    p_value: float
    """Exact sign test of the two."""


@dataclass(frozen=True, kw_only=True)
class LengthBias:
    """Whether longer answers win."""

    longer_wins: Share
    """Of the pairs with a winner and answers of different lengths."""
    win_rate_at_equal_length: float | None
    """Of the second model; None where too few pairs count, or one model's answers are nearly always the longer ones."""
    interval: Interval | None


def share_of(count: int, total: int, confidence: float) -> Share:
    """With its interval."""
    from scipy.stats import binomtest

    if not total:
        return Share(count=count, total=total, interval=None)
    ends = binomtest(count, total).proportion_ci(confidence)
    return Share(count=count, total=total, interval=Interval(float(ends.low), float(ends.high)))


def position_bias(results: Sequence[PairResult], confidence: float) -> PositionBias:
    """Of the pairs whose two orders both have a verdict."""
    whole = [result for result in results if result.verdict != "missing"]
    for_first = sum((result.forward.winner == "first") + (result.backward.winner == "second") for result in whole)
    for_second = sum((result.forward.winner == "second") + (result.backward.winner == "first") for result in whole)
    flips = [result.forward.winner for result in whole if result.is_flipped]
    return PositionBias(
        inconsistent=share_of(sum(result.verdict == "inconsistent" for result in whole), len(whole), confidence),
        prefers_first=share_of(for_first, for_first + for_second, confidence),
        flips_to_first=flips.count("first"),
        flips_to_second=flips.count("second"),
        p_value=mcnemar(flips.count("first"), flips.count("second")),
    )


def length_bias(results: Sequence[PairResult], config: JudgeConfig) -> LengthBias:
    """Of the pairs that count: decided ones and ties."""
    decided = [result for result in results if result.verdict in ("first", "second") and result.first_words != result.second_words]
    longer = sum((result.second_words > result.first_words) == (result.verdict == "second") for result in decided)
    controlled = _at_equal_length(results, config)
    return LengthBias(
        longer_wins=share_of(longer, len(decided), config.confidence),
        win_rate_at_equal_length=controlled[0] if controlled else None,
        interval=controlled[1] if controlled else None,
    )


def _at_equal_length(results: Sequence[PairResult], config: JudgeConfig) -> tuple[float, Interval] | None:
    """By the fit of `tunesmith rank`; None where lengths say too little to tell."""
    counted = [result for result in results if result.verdict in ("first", "second", "tie")]
    shares = np.array([{"first": 0.0, "tie": 0.5, "second": 1.0}[result.verdict] for result in counted])  # (n,)
    words = np.array([(result.second_words, result.first_words) for result in counted], dtype=np.float64).reshape(-1, 2)  # (n, 2)
    return controlled_rate(
        shares,
        words,
        [result.example for result in counted],
        confidence=config.confidence,
        num_resamples=config.num_resamples,
        seed=config.seed,
    )


def self_consistency(results: Sequence[PairResult]) -> float | None:
    """Mean agreement of the repeated samples of one question; None where nothing was repeated."""
    agreements = [ordered.agreement for result in results for ordered in (result.forward, result.backward)]
    known = [agreement for agreement in agreements if agreement is not None]
    return fmean(known) if known else None
