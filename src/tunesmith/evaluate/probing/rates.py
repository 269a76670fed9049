"""Shares of prompts with exact intervals, of two models on the same prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.evaluate.statistics import Interval, binary_interval, mcnemar


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """So many of so many."""

    count: int
    total: int
    interval: Interval | None
    """Of the share, exact (Clopper and Pearson 1934); None where there is nothing to take a share of."""

    @property
    def share(self) -> str:
        """`8 % [2, 20]`."""
        if self.interval is None:
            return "–"
        low, high = (100 * end for end in self.interval)
        return f"{100 * self.count / self.total:.0f} % [{low:.0f}, {high:.0f}]"

    @property
    def words(self) -> str:
        """`3 of 40 (8 % [2, 20])`."""
        return f"{self.count:,} of {self.total:,} ({self.share})" if self.total else "none asked"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedRates:
    """How often something happened with each model on the same prompts."""

    base: Rate
    tuned: Rate
    num_gone: int
    """Prompts where it happened with the base and no longer with the tuned model."""
    num_new: int
    """The other way round."""
    difference: Interval | None
    """Of the two shares, tuned minus base (Bonett and Price 2012)."""
    p_value: float
    """Exact McNemar test."""


def rate_of(flags: Sequence[bool], confidence: float) -> Rate:
    """The share of True."""
    from scipy.stats import binomtest

    if not flags:
        return Rate(count=0, total=0, interval=None)
    ends = binomtest(sum(flags), len(flags)).proportion_ci(confidence, method="exact")
    return Rate(count=sum(flags), total=len(flags), interval=Interval(float(ends.low), float(ends.high)))


def paired_rates(base: Sequence[bool], tuned: Sequence[bool], confidence: float) -> PairedRates:
    """Two models' flags, prompt by prompt."""
    num_gone = sum(before and not after for before, after in zip(base, tuned, strict=True))
    num_new = sum(after and not before for before, after in zip(base, tuned, strict=True))
    differences = np.array(tuned, dtype=float) - np.array(base, dtype=float)
    return PairedRates(
        base=rate_of(base, confidence),
        tuned=rate_of(tuned, confidence),
        num_gone=num_gone,
        num_new=num_new,
        difference=binary_interval(differences, confidence=confidence) if len(differences) else None,
        p_value=mcnemar(num_new, num_gone),
    )
