"""A score for every answer by itself, on the rubric's scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from statistics import fmean, pstdev
from typing import Any

from tunesmith.evaluate.judging.asking import Answer, Asker, Question
from tunesmith.evaluate.judging.contests import Contest, Item
from tunesmith.evaluate.judging.prompts import PROMPT_VERSION, score_prompt
from tunesmith.evaluate.judging.rubric import Rubric
from tunesmith.evaluate.judging.verdicts import read_score
from tunesmith.evaluate.words import num_words


@dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """One model's answer to one example."""

    example: str
    model: str
    score: float | None
    """The mean of repeated samples; None: missing."""
    reason: str
    """In the judge's words, or why there is no score."""
    deviation: float | None
    """Of repeated samples; None for a single one."""
    words: int
    """Of the answer."""

    def to_json(self) -> dict[str, Any]:
        names = ("example", "model", "score", "reason", "deviation")
        return {name: getattr(self, name) for name in names}


def judge_scores(contest: Contest, rubric: Rubric, asker: Asker) -> list[ScoreResult]:
    """Every model's answer to every example, example by example.

    Raises:
        AssetError: see `Asker.ask`.
    """
    of = [(item, model) for item in contest.items for model in contest.models]
    shows_reference = not asker.config.hide_reference
    questions = [_question(item, model, rubric, shows_reference=shows_reference) for item, model in of]
    answers = asker.ask(questions)
    return [_result(item, model, answer) for (item, model), answer in zip(of, answers, strict=True)]


def _question(item: Item, model: str, rubric: Rubric, *, shows_reference: bool) -> Question[float]:
    reference = item.reference if shows_reference else None
    messages, code = score_prompt(item.conversation, item.answers[model], rubric=rubric, reference=reference)
    key = f"pointwise v{PROMPT_VERSION} {item.id} {model}"
    return Question(key=key, messages=messages, read=partial(read_score, code=code, rubric=rubric))


def _result(item: Item, model: str, answer: Answer[float]) -> ScoreResult:
    values = [verdict.value for verdict in answer.verdicts]
    return ScoreResult(
        example=item.id,
        model=model,
        score=fmean(values) if values else None,
        reason=answer.why_missing or answer.verdicts[0].reason,
        deviation=pstdev(values) if len(values) > 1 else None,
        words=num_words(item.answers[model]),
    )


def scores_by_example(results: list[ScoreResult], model: str) -> dict[str, float]:
    """Of one model, without what is missing."""
    return dict(_scores(results, model))


def _scores(results: list[ScoreResult], model: str) -> Iterator[tuple[str, float]]:
    return ((result.example, result.score) for result in results if result.model == model and result.score is not None)
