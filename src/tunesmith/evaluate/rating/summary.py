"""What people said so far: for scores, means and paired differences; for votes, each pair's win rate; and how far raters agree."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tunesmith.config import RankConfig
from tunesmith.evaluate import statistics
from tunesmith.evaluate.ranking.lines import duel_sentence
from tunesmith.evaluate.ranking.rank import rank_votes
from tunesmith.evaluate.ranking.win_rates import Duel
from tunesmith.evaluate.rating.agreement import Agreement, agreement, rating_table, vote_table
from tunesmith.evaluate.rating.ratings import Rating
from tunesmith.evaluate.statistics import Floats, Interval
from tunesmith.evaluate.votes import Vote, latest_votes
from tunesmith.evaluate.wording import bracketed, counted, p_text, signed


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelScore:
    """Mean score of a model's answers; several raters of one answer are averaged first."""

    model: str
    num_examples: int
    mean: float
    interval: Interval | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreDifference:
    """Two models' scores on the same examples."""

    first: str
    second: str
    num_examples: int
    difference: float
    """Mean of second - first."""
    interval: Interval | None
    p_value: float
    """Wilcoxon signed-rank: scores are ordered, and their steps need not be equal."""
    p_adjusted: float
    """After Holm's correction over the pairs of models."""
    rank_biserial: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RatingSummary:
    """Everything that can be said; the parts without judgements are empty."""

    num_votes: int
    duels: tuple[Duel, ...]
    vote_agreement: Agreement | None
    num_ratings: int
    scores: tuple[ModelScore, ...]
    differences: tuple[ScoreDifference, ...]
    rating_agreement: Agreement | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def summarise(votes: Sequence[Vote], ratings: Sequence[Rating], config: RankConfig) -> RatingSummary:
    """Sum up people's votes and scores; votes of judges and metrics are not counted, nor what a rater took back by voting again."""
    human = latest_votes(vote for vote in votes if vote.kind == "human")
    keywords = {"confidence": config.confidence, "num_resamples": config.num_resamples, "seed": config.seed}
    by_model = _mean_scores(ratings)
    return RatingSummary(
        num_votes=len(human),
        duels=rank_votes(human, config).duels if human else (),
        vote_agreement=agreement(vote_table(human), "nominal", **keywords),  # type: ignore[arg-type]
        num_ratings=len(ratings),
        scores=tuple(_model_score(model, np.array(list(scores.values())), config) for model, scores in by_model.items()),
        differences=_differences(by_model, config),
        rating_agreement=agreement(rating_table(ratings), "ordinal", **keywords),  # type: ignore[arg-type]
    )


def _mean_scores(ratings: Sequence[Rating]) -> dict[str, dict[str, float]]:
    """Model -> example -> mean over raters; each rater's latest score of an answer counts."""
    latest = {(one.rater, one.model, one.example, one.answer): one for one in ratings}
    given: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for one in latest.values():
        given[one.model][one.example].append(one.score)
    return {model: {example: float(np.mean(scores)) for example, scores in by.items()} for model, by in given.items()}


def _interval(values: Floats, config: RankConfig) -> Interval | None:
    return statistics.interval(
        values, np.ones(len(values)), confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed
    )


def _model_score(model: str, values: Floats, config: RankConfig) -> ModelScore:
    return ModelScore(model=model, num_examples=len(values), mean=float(values.mean()), interval=_interval(values, config))


def _differences(by_model: Mapping[str, Mapping[str, float]], config: RankConfig) -> tuple[ScoreDifference, ...]:
    found = [_difference(first, second, by_model, config) for first, second in combinations(by_model, 2)]
    known = [one for one in found if one]
    adjusted = statistics.holm([one.p_value for one in known])
    return tuple(dataclasses.replace(one, p_adjusted=p) for one, p in zip(known, adjusted, strict=True))


def _difference(first: str, second: str, by_model: Mapping[str, Mapping[str, float]], config: RankConfig) -> ScoreDifference | None:
    """None where no example was scored for both."""
    shared = by_model[first].keys() & by_model[second].keys()
    if not shared:
        return None
    values = np.array([by_model[second][example] - by_model[first][example] for example in sorted(shared)])
    return ScoreDifference(
        first=first,
        second=second,
        num_examples=len(values),
        difference=float(values.mean()),
        interval=_interval(values, config),
        p_value=statistics.wilcoxon_test(values),
        p_adjusted=1.0,
        rank_biserial=statistics.rank_biserial(values),
    )


def summary_lines(summary: RatingSummary) -> Iterator[str]:
    """A sentence for each finding."""
    for duel in summary.duels:
        yield duel_sentence(duel)
    if summary.vote_agreement:
        yield _agreement_sentence(summary.vote_agreement, "verdicts")
    for score in summary.scores:
        interval = f" [{score.interval.low:.2f}, {score.interval.high:.2f}]" if score.interval else ""
        yield f"{score.model}: mean score {score.mean:.2f}{interval} of {counted(score.num_examples, 'answer')}"
    for one in summary.differences:
        interval = f" {bracketed(one.interval, 2)}" if one.interval else ""
        effect = f", rank-biserial {signed(one.rank_biserial, 2)}" if one.rank_biserial is not None else ""
        yield (
            f"{one.second} minus {one.first}: {signed(one.difference, 2)}{interval}, n = {one.num_examples:,}, "
            f"Wilcoxon {p_text(one.p_adjusted)}{effect}"
        )
    if summary.rating_agreement:
        yield _agreement_sentence(summary.rating_agreement, "scores")


def _agreement_sentence(one: Agreement, noun: str) -> str:
    judged = f"{len(one.raters)} raters on {counted(one.num_units, 'answer' if noun == 'scores' else 'pair')} judged by two or more"
    if one.value is None:
        return f"agreement of {judged}: all {noun} are the same, so agreement beyond chance is not defined"
    interval = f" {bracketed(one.interval, 2)}" if one.interval else " (too few for an interval)"
    return f"agreement of {judged}: {one.measure} {signed(one.value, 2)}{interval}; {100 * one.share_equal:.0f} % of {noun} are the same"
