"""Votes to a ranking: one table for each group of models that were compared with each other.

>>> ranking = rank_votes(read_votes([Path("votes.jsonl")]), RankConfig())
>>> [(one.model, round(one.rating)) for one in ranking.groups[0]]
[('faq', 1071), ('smollm2-135m-instruct', 929)]
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tunesmith.config import RankConfig
from tunesmith.evaluate.ranking import ratings
from tunesmith.evaluate.ranking.tally import Tally, count_votes
from tunesmith.evaluate.ranking.win_rates import Duel, duel
from tunesmith.evaluate.statistics import SMALLEST_BOOTSTRAP, Floats, Interval
from tunesmith.evaluate.votes import Vote, latest_votes
from tunesmith.evaluate.wording import counted

_MANY_EXAMPLES = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One model's place within its group."""

    model: str
    wins: int
    ties: int
    losses: int
    win_rate: float
    """Against whomever it met; a tie counts half."""
    rating: float
    """Bradley-Terry on Elo's scale; 1000 is the mean of the group."""
    interval: Interval | None
    """Of the rating; None below `SMALLEST_BOOTSTRAP` examples."""
    strength: float
    """Bradley-Terry, sum 1 over the group."""
    elo: float
    """In the order of the votes."""
    elo_range: Interval
    """In most other orders of the same votes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lead:
    """A model and the next one in the table."""

    ahead: str
    behind: str
    difference: float
    """Of their ratings."""
    interval: Interval | None

    @property
    def is_sure(self) -> bool:
        return self.interval is not None and self.interval.low > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """All that is said of the votes."""

    num_votes: int
    num_ties: int
    num_examples: int
    """Examples known by their id."""
    num_raters: int
    kinds: Mapping[str, int]
    """Votes of people, judges, metrics."""
    confidence: float
    groups: tuple[tuple[Standing, ...], ...]
    """Best first; models of different groups were never compared, not even over others."""
    leads: tuple[Lead, ...]
    duels: tuple[Duel, ...]
    """Of every two models that met, the better placed first."""
    notes: tuple[str, ...]
    """What to know before believing the table."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def models(self) -> tuple[str, ...]:
        """Best first, group by group."""
        return tuple(standing.model for group in self.groups for standing in group)


def rank_votes(votes: Sequence[Vote], config: RankConfig, *, notes: Sequence[str] = ()) -> Ranking:
    """Rank the models that the votes are on.

    Args:
        votes: in the order in which they were given; a person's earlier ones on the same two answers are left out (`latest_votes`).
        config: confidence, resamples, seed.
        notes: what else is to be known of the votes; said first.

    Raises:
        DataError: there are no votes.
    """
    given, votes = len(votes), latest_votes(votes)
    whole = count_votes(votes)
    groups, leads, all_notes = [], [], [*notes, *_replaced_notes(given - len(votes)), *_notes(votes, whole)]
    for members in whole.groups():
        names = {whole.models[i] for i in members}
        tally = count_votes([vote for vote in votes if vote.left in names])
        if len(tally.groups(lossless_too=True)) > 1:
            all_notes.append(_unbounded_note(tally))
        standings, between = _rank_group(tally, config)
        groups.append(standings)
        leads += between
    places = {standing.model: place for place, standing in enumerate(s for group in groups for s in group)}
    return Ranking(
        num_votes=len(votes),
        num_ties=sum(vote.winner == "tie" for vote in votes),
        num_examples=len({vote.example for vote in votes} - {""}),
        num_raters=len({(vote.kind, vote.rater) for vote in votes if vote.rater}),
        kinds=dict(Counter(vote.kind for vote in votes)),
        confidence=config.confidence,
        groups=tuple(groups),
        leads=tuple(leads),
        duels=tuple(_duels(votes, places, config)),
        notes=tuple(all_notes),
    )


def _rank_group(tally: Tally, config: RankConfig) -> tuple[tuple[Standing, ...], list[Lead]]:
    fit = ratings.bradley_terry(tally)
    elo, (elo_low, elo_high) = ratings.elo(tally), ratings.elo_range(tally, confidence=config.confidence, seed=config.seed)
    resampled = None
    if tally.num_clusters >= SMALLEST_BOOTSTRAP:
        resampled = ratings.resampled_ratings(tally, num_resamples=config.num_resamples, seed=config.seed)
    order = [int(i) for i in np.argsort(-fit.ratings, kind="stable")]

    def interval(i: int) -> Interval | None:
        return _interval(fit.ratings[i], resampled[:, i], tally, config) if resampled is not None else None

    standings = tuple(
        Standing(
            model=tally.models[i],
            **_counts(tally, i),
            rating=float(fit.ratings[i]),
            interval=interval(i),
            strength=float(fit.strengths[i]),
            elo=float(elo[i]),
            elo_range=Interval(float(elo_low[i]), float(elo_high[i])),
        )
        for i in order
    )
    return standings, [_lead(tally, fit.ratings, resampled, ends, config) for ends in pairwise(order)]


def _counts(tally: Tally, i: int) -> dict[str, Any]:
    wins, ties, losses = (int(counts.sum()) for counts in (tally.wins[i], tally.ties[i], tally.wins[:, i]))
    return {"wins": wins, "ties": ties, "losses": losses, "win_rate": (wins + ties / 2) / (wins + ties + losses)}


def _interval(centre: float, resampled: Floats, tally: Tally, config: RankConfig) -> Interval:
    return ratings.interval_around(float(centre), resampled, tally.num_clusters, config.confidence)


def _lead(tally: Tally, rated: Floats, resampled: Floats | None, ends: tuple[int, int], config: RankConfig) -> Lead:
    first, second = ends
    difference = float(rated[first] - rated[second])
    interval = None
    if resampled is not None:
        interval = _interval(difference, resampled[:, first] - resampled[:, second], tally, config)
    return Lead(ahead=tally.models[first], behind=tally.models[second], difference=difference, interval=interval)


def _duels(votes: Sequence[Vote], places: Mapping[str, int], config: RankConfig) -> Iterator[Duel]:
    met: dict[tuple[str, str], list[Vote]] = defaultdict(list)
    for vote in votes:
        first, second = sorted((vote.left, vote.right), key=lambda model: places[model])
        met[first, second].append(vote)
    for first, second in sorted(met, key=lambda pair: (places[pair[0]], places[pair[1]])):
        keywords = {"confidence": config.confidence, "num_resamples": config.num_resamples, "seed": config.seed}
        yield duel(first, second, met[first, second], **keywords)  # type: ignore[arg-type]


def _replaced_notes(number: int) -> Iterator[str]:
    if number:
        yield f"{counted(number, 'vote')} left out: the same person voted again on the same two answers, and the latest vote counts"


def _notes(votes: Sequence[Vote], tally: Tally) -> Iterator[str]:
    groups = tally.groups()
    if len(groups) > 1:
        named = "; ".join(", ".join(tally.models[i] for i in group) for group in groups)
        yield f"{len(groups)} groups of models were never compared with each other and have tables of their own: {named}"
    unknown = sum(not vote.example for vote in votes)
    if unknown:
        yield f"{unknown:,} of {len(votes):,} votes do not say which example they are on; each counts as an example of its own"
    if tally.num_clusters < _MANY_EXAMPLES:
        yield f"votes on {tally.num_clusters} examples only: the intervals are wide, and rough"
    kinds = Counter(vote.kind for vote in votes)
    if len(kinds) > 1:
        mixed = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
        yield f"votes of several kinds are ranked together ({mixed}); --kind takes one alone"
    raters = {(vote.kind, vote.rater) for vote in votes if vote.rater}
    if len(raters) > 1:
        yield f"votes of {len(raters)} raters are pooled; the intervals speak of other examples, not of other raters"


def _unbounded_note(tally: Tally) -> str:
    """Who never lost to whom; the likelihood of Bradley-Terry then grows for ever with the distance."""
    parts = tally.groups(lossless_too=True)
    named = " | ".join(", ".join(tally.models[i] for i in part) for part in parts)
    return (
        "between some models all votes went one way, so Bradley-Terry alone would put them infinitely far apart; one tie was added for "
        f"each model, spread over those it met ({named})"
    )
