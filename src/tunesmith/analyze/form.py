"""Error groups about how an answer ends and how long it is.

An answer that a limit stopped is in one of two groups, which want opposite remedies. *Cut*: it was on its way, and more room would have let
it arrive. *No end-of-turn*: its text is complete, goes round in circles, or is far past the reference's length, so more room gives
more of the same; what is missing is that the model ends its turn.
"""

from __future__ import annotations

import re

from tunesmith.analyze.declining import redirects_wrongly
from tunesmith.analyze.groups import GroupContext
from tunesmith.analyze.repetition import circles
from tunesmith.data.checks.truncated import cut_off
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.words import num_words
from tunesmith.types import Example

ENDED = frozenset({"end_of_turn", "stop_string"})
_SENTENCE_END = re.compile(r"[.!?…。！？।؟][\"'”’»)\]*_`]*$")


def empty(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """No visible character."""
    return None if answer.completion.strip() else "nothing was answered"


def cut(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Stopped by a limit on the way."""
    if answer.finish_reason in ENDED or _past_its_end(asked, answer, context):
        return None
    return f"stopped by {_limit(answer)} after {answer.num_tokens} tokens, in mid-answer"


def no_end(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Stopped by a limit where the model should have ended its turn."""
    if answer.finish_reason in ENDED or not (why := _past_its_end(asked, answer, context)):
        return None
    return f"{why}, yet it went on until {_limit(answer)} stopped it after {answer.num_tokens} tokens"


def _past_its_end(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Why more room would not have helped."""
    if circles(answer.completion, context.config):
        return "it goes round in circles"
    found, expected, ratio = num_words(answer.completion), num_words(asked.reference), context.config.length_ratio
    if found > ratio * max(expected, 1):
        return f"it has {found} words where the reference has {expected}"
    if found * ratio >= expected and _SENTENCE_END.search(answer.completion.rstrip()):
        return "its last sentence is complete"
    return None


def _limit(answer: ModelAnswer) -> str:
    return "max_new_tokens" if answer.finish_reason == "max_new_tokens" else "the model's context"


def too_long(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """More than `length_ratio` times the reference's words."""
    found, expected, limit = num_words(answer.completion), num_words(asked.reference), context.config.length_ratio
    if not expected or found <= limit * expected or redirects_wrongly(asked, answer, context):
        return None
    return f"{found} words where the reference has {expected}, {found / expected:.1f} times as many (limit {limit:g})"


def too_short(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Fewer words than the reference's divided by `length_ratio`; empty and cut answers have groups of their own."""
    if answer.finish_reason not in ENDED:
        return None
    found, expected, limit = num_words(answer.completion), num_words(asked.reference), context.config.length_ratio
    if not found or found * limit >= expected or redirects_wrongly(asked, answer, context):
        return None
    return f"{found} words where the reference has {expected} (limit {expected / limit:.0f})"


def empty_in_training(example: Example, context: GroupContext) -> str | None:
    """A training answer without a visible character."""
    return None if example.reference.strip() else "the answer is empty"


def cut_in_training(example: Example, context: GroupContext) -> str | None:
    """A training answer that shows a sure sign of having been cut off."""
    found = cut_off(example.reference)
    return f"the answer breaks off {found.sign}" if found and found.sign else None
