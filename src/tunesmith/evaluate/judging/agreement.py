"""How far a judge agrees with people who voted on the same answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.config import JudgeConfig
from tunesmith.evaluate.judging.pairwise import PairResult, Winner
from tunesmith.evaluate.rating.agreement import kappa
from tunesmith.evaluate.statistics import Indices, Interval, interval_of
from tunesmith.evaluate.votes import Vote

CLASSES: tuple[Winner, ...] = ("first", "second", "tie")


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of judge and people, on the pairs that both decided."""

    num_pairs: int
    num_equal: int
    num_left_out: int
    """Pairs with people's votes whose verdict is inconsistent or missing."""
    kappa: float | None
    """Cohen's (1960): agreement beyond what the two shares of wins and ties would give by chance; None where that is undefined."""
    interval: Interval | None


def agreement_with_people(results: Sequence[PairResult], votes: Iterable[Vote], config: JudgeConfig) -> Agreement | None:
    """None where no vote is on one of these pairs."""
    said = _said_by_people(results, votes)
    pairs = [(result, said[_key(result)]) for result in results if _key(result) in said]
    if not pairs:
        return None
    verdicts = [(_counted(result, config), theirs) for result, theirs in pairs]
    codes = np.array([(CLASSES.index(own), CLASSES.index(theirs)) for own, theirs in verdicts if own], dtype=np.float64).reshape(-1, 2).T
    num_pairs = codes.shape[1]

    def statistic(chosen: Indices) -> float:
        return kappa(codes[:, chosen], "nominal")

    value = statistic(np.arange(num_pairs))
    ends = interval_of(statistic, num_pairs, confidence=config.confidence, num_resamples=config.num_resamples, seed=config.seed)
    return Agreement(
        num_pairs=num_pairs,
        num_equal=int((codes[0] == codes[1]).sum()),
        num_left_out=len(pairs) - num_pairs,
        kappa=None if np.isnan(value) else value,
        interval=ends,
    )


def _counted(result: PairResult, config: JudgeConfig) -> Winner | None:
    if result.verdict == "inconsistent":
        return "tie" if config.inconsistent == "tie" else None
    return None if result.verdict == "missing" else result.verdict


def _said_by_people(results: Sequence[PairResult], votes: Iterable[Vote]) -> dict[tuple[str, frozenset[str]], Winner]:
    """What most people said of a pair's answers; evenly split is a tie."""
    wanted = {_key(result): result for result in results}
    counts: defaultdict[tuple[str, frozenset[str]], Counter[Winner]] = defaultdict(Counter)
    for vote in votes:
        result = wanted.get((vote.example, vote.models))
        if result is not None and vote.kind == "human" and _is_on(vote, result):
            counts[_key(result)][_winner(vote, result)] += 1
    return {key: _majority(count) for key, count in counts.items()}


def _key(result: PairResult) -> tuple[str, frozenset[str]]:
    return result.example, frozenset((result.first, result.second))


def _is_on(vote: Vote, result: PairResult) -> bool:
    """Not on other answers of the same models to the same prompt."""
    keys = dict(zip((result.first, result.second), result.answer_keys, strict=True))
    return vote.left_answer in ("", keys[vote.left]) and vote.right_answer in ("", keys[vote.right])


def _winner(vote: Vote, result: PairResult) -> Winner:
    if vote.winner == "tie":
        return "tie"
    return "first" if (vote.left if vote.winner == "left" else vote.right) == result.first else "second"


def _majority(counts: Counter[Winner]) -> Winner:
    (most, number), *others = counts.most_common()
    return "tie" if others and others[0][1] == number else most
