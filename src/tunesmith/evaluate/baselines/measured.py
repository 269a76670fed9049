"""What came of one way: scores with intervals, time, tokens, memory, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from tunesmith.config import BaselineConfig, EvaluateConfig
from tunesmith.evaluate import statistics
from tunesmith.evaluate.baselines.costs import Cost, endpoint_cost, local_cost
from tunesmith.evaluate.baselines.ways import Answerer, Way
from tunesmith.evaluate.records import ModelAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over the held-out examples."""

    value: float
    low: float | None
    """Ends of its confidence interval; None for a single example."""
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What answering took."""

    latencies: tuple[float, ...]
    """Seconds of single requests, one after another."""
    seconds_a_request: float | None
    """With all requests at once; None for an endpoint, whose capacity is not ours to know."""
    prompt_tokens: float
    """Mean of a request."""
    new_tokens: float
    peak_memory_bytes: int | None
    """None for an endpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A way and its answers, by the example's id; an endpoint's failures are missing."""

    way: Way
    answers: Mapping[str, ModelAnswer]
    taken: Taken


@dataclass(frozen=True, kw_only=True, slots=True)
class WayResult:
    """One row of the table."""

    name: str
    answerer: Answerer
    words: str
    num_answers: int
    num_missing: int
    scores: Mapping[str, Estimate]
    """By metric."""
    latency_seconds: float
    """Median of single requests."""
    seconds_a_request: float | None
    prompt_tokens: float
    new_tokens: float
    peak_memory_bytes: int | None
    data_leaves: bool
    """Questions, and what is shown before them, are sent to another machine."""
    cost: Cost | None
    """None where no price was given."""


def summarise(answered: Answered, num_examples: int, config: BaselineConfig, *, leaves: bool) -> WayResult:
    """Means with intervals, and costs by the prices in the settings."""
    taken, way = answered.taken, answered.way
    names = list(dict.fromkeys(name for answer in answered.answers.values() for name in answer.scores))
    return WayResult(
        name=way.name,
        answerer=way.answerer,
        words=way.words,
        num_answers=len(answered.answers),
        num_missing=num_examples - len(answered.answers),
        scores={
            name: _estimate([a.scores[name] for a in answered.answers.values() if name in a.scores], config.evaluation) for name in names
        },
        latency_seconds=median(taken.latencies),
        seconds_a_request=taken.seconds_a_request,
        prompt_tokens=taken.prompt_tokens,
        new_tokens=taken.new_tokens,
        peak_memory_bytes=taken.peak_memory_bytes,
        data_leaves=leaves,
        cost=_cost(taken, way, config),
    )


def _estimate(values: Sequence[float], config: EvaluateConfig) -> Estimate:
    column = np.array(values, dtype=np.float64)
    interval = statistics.interval(
        column, np.ones(len(column)), confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed
    )
    return Estimate(value=fmean(values), low=interval.low if interval else None, high=interval.high if interval else None)


def _cost(taken: Taken, way: Way, config: BaselineConfig) -> Cost | None:
    if way.answerer != "endpoint":
        return None if config.machine_hourly is None else local_cost(config.machine_hourly, taken.seconds_a_request or 0.0)
    if not (config.chat.price_prompt or config.chat.price_completion):
        return None
    tokens = {"prompt_tokens": taken.prompt_tokens, "new_tokens": taken.new_tokens}
    return endpoint_cost(config.chat.price_prompt, config.chat.price_completion, **tokens)
