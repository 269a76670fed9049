"""Error groups about declining: redirections learnt from the training data, refusals known by their phrases.

A refusal where a redirection is expected is no missed one: the model declined, in other words.
"""

from __future__ import annotations

from tunesmith.analyze.groups import GroupContext
from tunesmith.data.checks.refusals import is_refusal
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers.redirections import nearest_redirection
from tunesmith.types import Example


def missed_redirection(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """The reference redirects politely; the completion does not decline."""
    expected = nearest_redirection(asked.reference, context.redirections)
    if not expected or declines(answer.completion, context):
        return None
    return f"answers where it should redirect: {expected.text!r}"


def needless_redirection(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """The completion redirects; the reference does not decline."""
    found = nearest_redirection(answer.completion, context.redirections)
    if not found or declines(asked.reference, context):
        return None
    return f"redirects where it should answer: {found.text!r}"


def missed_refusal(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """The reference refuses, in words that are no stock sentence of the data; the completion does not decline."""
    if not is_refusal(asked.reference) or nearest_redirection(asked.reference, context.redirections):
        return None
    return None if declines(answer.completion, context) else "answers where the reference refuses"


def needless_refusal(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """The completion refuses by its words; the reference does not decline."""
    if not is_refusal(answer.completion) or declines(asked.reference, context):
        return None
    if nearest_redirection(answer.completion, context.redirections):
        return None  # a needless redirection
    first = answer.completion.strip().splitlines()[0]
    return f"declines where it should answer: {first[:100]!r}"


def declines(text: str, context: GroupContext) -> bool:
    """Whether `text` is a redirection or a refusal."""
    return nearest_redirection(text, context.redirections) is not None or is_refusal(text)


def redirects_wrongly(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> bool:
    """Only one of completion and reference declines; comparing their lengths would say nothing more."""
    return declines(answer.completion, context) != declines(asked.reference, context)


def refusal_in_training(example: Example, context: GroupContext) -> str | None:
    """A training answer that refuses, and is no redirection of the data."""
    if nearest_redirection(example.reference, context.redirections):
        return None
    return "the answer refuses" if is_refusal(example.reference) else None
