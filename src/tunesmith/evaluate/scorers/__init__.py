"""How good a completion is, one number a scorer; pure functions, English and Unicode text alike.

    >>> scorers = resolve_scorers(None, examples)         # chosen by the shape of the references
    >>> [scorer.name for scorer in scorers]
    ['rouge_l', 'token_f1', 'chrf']
    >>> score_answer("Paris, France", "Paris", scorers)
    {'rouge_l': 0.6666666666666666, 'token_f1': 0.6666666666666666, 'chrf': 66.64...}

A new scorer is one function and one entry in `catalogue.py`; statistics, report and pages follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunesmith.evaluate.scorers.catalogue import (
    BALANCED_ACCURACY,
    DESCRIPTIONS,
    LOSS,
    MACRO_F1,
    METRICS,
    SCORERS,
    WEIGHTED,
    metric_of,
    resolve_scorers,
)
from tunesmith.evaluate.scorers.overlap import RougeTokenizer, chrf, exact_match, rouge_l, rouge_tokenizer, token_f1
from tunesmith.evaluate.scorers.scorer import Metric, Score, Scorer

__all__ = [
    "BALANCED_ACCURACY",
    "DESCRIPTIONS",
    "LOSS",
    "MACRO_F1",
    "METRICS",
    "SCORERS",
    "WEIGHTED",
    "Metric",
    "RougeTokenizer",
    "Score",
    "Scorer",
    "chrf",
    "exact_match",
    "metric_of",
    "resolve_scorers",
    "rouge_l",
    "rouge_tokenizer",
    "score_answer",
    "token_f1",
    "weighted_score",
]


def score_answer(completion: str, reference: str, scorers: Sequence[Scorer], prompt: str = "") -> dict[str, float]:
    """Every scorer's number by name; those that do not apply are missing."""
    found = {scorer.name: scorer.function(completion, reference, prompt) for scorer in scorers}
    return {name: score.value for name, score in found.items() if score is not None}


def weighted_score(scores: Mapping[str, float], weights: Mapping[str, float]) -> Score | None:
    """The weighted mean of the scores that have a weight, each divided by its metric's best; None where none of them applies.

    A scorer that does not apply to the example is left out of the mean; it does not count as zero.
    """
    used = {name: weight for name, weight in weights.items() if name in scores}
    total = sum(used.values())
    if not total:
        return None
    parts = {name: scores[name] / metric_of(name).top for name in used}
    value = sum(used[name] * part for name, part in parts.items()) / total
    return Score(value, " + ".join(f"{used[name] / total:.2f} x {name} {part:.2f}" for name, part in parts.items()))
