"""From verdicts to wins and scores with intervals and tests, and what follows in one sentence.

better: faq preferred to smollm2-135m-instruct, win rate 0.78 [0.69, 0.86], 81 wins, 18 losses, 9 ties, n = 108, p < 0.001
cannot tell with n = 20: win rate of faq against smollm2-135m-instruct 0.55 [0.35, 0.74], 7 wins, 5 losses, 8 ties
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tunesmith.config import JudgeConfig
from tunesmith.evaluate import statistics
from tunesmith.evaluate.judging.agreement import Agreement, agreement_with_people
from tunesmith.evaluate.judging.bias import LengthBias, PositionBias, length_bias, position_bias, self_consistency
from tunesmith.evaluate.judging.pairwise import PairResult
from tunesmith.evaluate.judging.pointwise import ScoreResult, scores_by_example
from tunesmith.evaluate.statistics import Interval
from tunesmith.evaluate.votes import Vote
from tunesmith.evaluate.wording import bracketed, p_text, signed

Conclusion = Literal["better", "worse", "cannot tell", "no verdicts"]
MOST_MISSING = 0.1
"""Above this share of missing verdicts the sentence says so: what a judge cannot judge need not be like the rest."""


@dataclass(frozen=True, kw_only=True)
class PairSummary:
    """Two models; wins and losses are the second one's."""

    first: str
    second: str
    num_examples: int
    wins: int
    losses: int
    ties: int
    """Inconsistent pairs among them where the settings say so."""
    inconsistent: int
    missing: int
    missing_reasons: dict[str, int]
    win_rate: float | None
    """Of the second model over the pairs that count, ties half; None: no pair counts."""
    interval: Interval | None
    p_value: float
    """Sign test of wins against losses (exact binomial), after Holm's correction over the pairs of models."""
    conclusion: Conclusion
    position: PositionBias
    length: LengthBias
    self_consistency: float | None
    """Share of equal verdicts among repeated samples; None where nothing was repeated."""
    agreement: Agreement | None
    """With people; None without votes."""

    @property
    def num_counted(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def sentence(self) -> str:
        counts = f"{self.wins} wins, {self.losses} losses, {self.ties} ties"
        if self.win_rate is None:
            return f"no verdicts: nothing can be said of {self.second} against {self.first}"
        ends = f" [{self.interval.low:.2f}, {self.interval.high:.2f}]" if self.interval else ""
        if self.conclusion == "cannot tell":
            about = f"win rate of {self.second} against {self.first} {self.win_rate:.2f}{ends}"
            return f"cannot tell with n = {self.num_counted:,}: {about}, {counts}"
        figures = f"win rate of {self.second} against {self.first} {self.win_rate:.2f}{ends}, {counts}"
        return f"{self.conclusion}: {figures}, n = {self.num_counted:,}, {p_text(self.p_value)}"


@dataclass(frozen=True, kw_only=True)
class ScoreSummary:
    """Two models' scores on the examples where both have one; the difference is second minus first."""

    first: str
    second: str
    num_examples: int
    num_scored: int
    """Examples where both have a score."""
    missing: dict[str, int]
    """By model."""
    missing_reasons: dict[str, int]
    first_mean: float | None
    second_mean: float | None
    difference: float | None
    interval: Interval | None
    """Of the difference: paired bootstrap."""
    p_value: float
    """Sign flips, after Holm's correction over the pairs of models."""
    conclusion: Conclusion

    @property
    def sentence(self) -> str:
        if self.difference is None:
            return f"no verdicts: nothing can be said of {self.second} against {self.first}"
        ends = f" {bracketed(self.interval, 2)}" if self.interval else ""
        figures = f"mean score of {self.second} {self.second_mean:.2f} against {self.first} {self.first_mean:.2f}, "
        figures += f"{signed(self.difference, 2)}{ends}"
        if self.conclusion == "cannot tell":
            return f"cannot tell with n = {self.num_scored:,}: {figures}"
        return f"{self.conclusion}: {figures}, n = {self.num_scored:,}, {p_text(self.p_value)}"


def summarise_pairs(results: Sequence[PairResult], votes: Sequence[Vote], config: JudgeConfig) -> list[PairSummary]:
    """One summary for every two models."""
    by_models: dict[tuple[str, str], list[PairResult]] = {}
    for result in results:
        by_models.setdefault((result.first, result.second), []).append(result)
    summaries = [_pair_summary(own, votes, config) for own in by_models.values()]
    adjusted = statistics.holm([summary.p_value for summary in summaries])
    return [dataclasses.replace(one, p_value=p, conclusion=_of_pair(one, p, config)) for one, p in zip(summaries, adjusted, strict=True)]


def _pair_summary(results: Sequence[PairResult], votes: Sequence[Vote], config: JudgeConfig) -> PairSummary:
    counts = Counter(result.verdict for result in results)
    ties = counts["tie"] + (counts["inconsistent"] if config.inconsistent == "tie" else 0)
    wins, losses = counts["second"], counts["first"]
    signs = np.array([1.0] * wins + [-1.0] * losses + [0.0] * ties)
    # Wins minus losses lie between -1 and 1; the win rate, ties half, is the same on the scale from 0 to 1.
    ends = statistics.binary_interval(signs, confidence=config.confidence) if len(signs) else None
    orders = [ordered for result in results if result.verdict == "missing" for ordered in (result.forward, result.backward)]
    return PairSummary(
        first=results[0].first,
        second=results[0].second,
        num_examples=len(results),
        wins=wins,
        losses=losses,
        ties=ties,
        inconsistent=counts["inconsistent"],
        missing=counts["missing"],
        missing_reasons=dict(Counter(ordered.reason for ordered in orders if ordered.winner is None).most_common()),
        win_rate=(1 + float(signs.mean())) / 2 if len(signs) else None,
        interval=Interval((1 + ends.low) / 2, (1 + ends.high) / 2) if ends else None,
        p_value=statistics.mcnemar(wins, losses),
        conclusion="cannot tell",
        position=position_bias(results, config.confidence),
        length=length_bias(results, config),
        self_consistency=self_consistency(results),
        agreement=agreement_with_people(results, votes, config),
    )


def _of_pair(summary: PairSummary, p_value: float, config: JudgeConfig) -> Conclusion:
    if summary.win_rate is None or summary.interval is None:
        return "no verdicts"
    is_sure = not summary.interval.low <= 0.5 <= summary.interval.high and p_value < 1 - config.confidence
    return ("better" if summary.win_rate > 0.5 else "worse") if is_sure else "cannot tell"


def summarise_scores(results: list[ScoreResult], pairs: Sequence[tuple[str, str]], config: JudgeConfig) -> list[ScoreSummary]:
    """One summary for every two models."""
    summaries = [_score_summary(results, first, second, config) for first, second in pairs]
    adjusted = statistics.holm([summary.p_value for summary in summaries])
    return [dataclasses.replace(one, p_value=p, conclusion=_of_scores(one, p, config)) for one, p in zip(summaries, adjusted, strict=True)]


def _score_summary(results: list[ScoreResult], first: str, second: str, config: JudgeConfig) -> ScoreSummary:
    own = [result for result in results if result.model in (first, second)]
    scores = {model: scores_by_example(own, model) for model in (first, second)}
    both = [example for example in scores[first] if example in scores[second]]
    columns = np.array([[scores[model][example] for example in both] for model in (first, second)])  # (2, n)
    differences = columns[1] - columns[0]  # (n,)
    settings = {"confidence": config.confidence, "num_resamples": config.num_resamples, "seed": config.seed}
    missing = [result for result in own if result.score is None]
    return ScoreSummary(
        first=first,
        second=second,
        num_examples=len({result.example for result in own}),
        num_scored=len(both),
        missing={model: sum(result.model == model for result in missing) for model in (first, second)},
        missing_reasons=dict(Counter(result.reason for result in missing).most_common()),
        first_mean=float(columns[0].mean()) if both else None,
        second_mean=float(columns[1].mean()) if both else None,
        difference=float(differences.mean()) if both else None,
        interval=statistics.interval(differences, np.ones(len(both)), **settings) if both else None,  # type: ignore[arg-type]
        p_value=statistics.sign_flip_test(differences, seed=config.seed) if both else 1.0,
        conclusion="cannot tell",
    )


def _of_scores(summary: ScoreSummary, p_value: float, config: JudgeConfig) -> Conclusion:
    if summary.difference is None:
        return "no verdicts"
    is_sure = summary.interval is not None and summary.interval.excludes_zero and p_value < 1 - config.confidence
    return ("better" if summary.difference > 0 else "worse") if is_sure else "cannot tell"
