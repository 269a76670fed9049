"""From records to scores: of one model on one benchmark, with an interval where the score is a mean over documents.

Of a group of tasks every document counts the same, as in the harness' `weight_by_size`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunesmith.config import BenchmarkConfig
from tunesmith.errors import DataError
from tunesmith.evaluate import statistics
from tunesmith.evaluate.benchmarks.catalog import Benchmark
from tunesmith.evaluate.benchmarks.records import DocumentRecord, TaskResult
from tunesmith.evaluate.statistics import Floats, Interval

Place = tuple[str, int]
"""A document: task and position."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One metric of one model on one benchmark."""

    metric: str
    """Such as `acc_norm`; with the filter, `exact_match,strict`, where the task has several."""
    value: float
    interval: Interval | None
    """None where the metric is not a mean over documents."""
    num_documents: int
    higher_is_better: bool

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Score:
        return cls(**{**values, "interval": Interval(*values["interval"]) if values["interval"] else None})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that one model made of one benchmark."""

    benchmark: Benchmark
    results: tuple[TaskResult, ...]

    @property
    def records(self) -> dict[Place, DocumentRecord]:
        """By document, in the tasks' order."""
        return {(record.task, record.document): record for result in self.results for record in result.records}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metric and filter, the deciding one first."""
        names = [name for name in self.results[0].scores if all(name in result.scores for result in self.results)]
        return tuple(sorted(names, key=lambda name: name.split(",")[0] != self.benchmark.metric))

    def higher_is_better(self, metric: str) -> bool:
        """Whether more of it is better; the harness' tasks say so."""
        return self.results[0].higher_is_better.get(metric.partition(",")[0], True)

    def values(self, metric: str) -> dict[Place, float] | None:
        """The metric of every document; None where the score is not the mean of these."""
        found: dict[Place, float] = {}
        for result in self.results:
            values = [record.values.get(metric) for record in result.records]
            known = [value for value in values if value is not None]
            if len(known) < len(values) or not math.isclose(math.fsum(known) / len(known), result.scores[metric], abs_tol=1e-9):
                return None
            found |= {(record.task, record.document): value for record, value in zip(result.records, known, strict=True)}
        return found

    def score(self, metric: str, config: BenchmarkConfig, *, without: Collection[Place] = ()) -> Score | None:
        """The metric over all documents, or over those that are not in `without`; None where nothing is left or it is no mean."""
        values = self.values(metric)
        higher = self.higher_is_better(metric)
        if values is not None:
            kept = np.array([value for place, value in values.items() if place not in without])
            if not len(kept):
                return None
            found = interval(kept, config)
            return Score(metric=shown(metric), value=float(kept.mean()), interval=found, num_documents=len(kept), higher_is_better=higher)
        if without:
            return None
        sizes = [len(result.records) for result in self.results]
        value = math.fsum(result.scores[metric] * size for result, size in zip(self.results, sizes, strict=True)) / sum(sizes)
        return Score(metric=shown(metric), value=value, interval=None, num_documents=sum(sizes), higher_is_better=higher)


def shown(metric: str) -> str:
    """`acc,none` is `acc`."""
    return metric.removesuffix(",none")


def is_binary(values: Floats) -> bool:
    """Right or wrong, nothing between."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def interval(values: Floats, config: BenchmarkConfig) -> Interval | None:
    """Of a mean: Wilson's for a share (Wilson 1927), else by resampling; None for a single document that is neither right nor wrong."""
    if not is_binary(values):
        ones = np.ones(len(values))
        return statistics.interval(values, ones, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed)
    from scipy.stats import binomtest

    found = binomtest(int(values.sum()), len(values)).proportion_ci(config.confidence, method="wilson")
    return Interval(float(found.low), float(found.high))


def require_same_documents(outcomes: Mapping[str, Outcome]) -> None:
    """All models answered the same documents, by the harness' hash of each.

    Raises:
        DataError: they did not; their scores cannot be compared.
    """
    (first, one), *others = outcomes.items()
    expected = {place: record.hash for place, record in one.records.items()}
    for label, other in others:
        found = {place: record.hash for place, record in other.records.items()}
        if found != expected:
            differing = [place for place in sorted(expected.keys() | found.keys()) if expected.get(place) != found.get(place)]
            task, position = differing[0]
            raise DataError(
                f"{task}#{position}",
                f"{first} and {label} did not answer the same document ({len(differing):,} differ)",
                expected="the same documents for all models",
                remedy="delete the benchmark's folder and run it again",
            )


def paired(one: Outcome, other: Outcome, metric: str) -> tuple[Floats, Floats] | None:
    """A metric of the same documents, in the same order; None where it is not a mean over documents.  # each (n,)"""
    values, others = one.values(metric), other.values(metric)
    if values is None or others is None:
        return None
    return _column(values, list(values)), _column(others, list(values))


def _column(values: Mapping[Place, float], places: Sequence[Place]) -> Floats:
    return np.array([values[place] for place in places])
