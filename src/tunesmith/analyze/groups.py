"""Error groups: each a small question about one answer, answered with an explanation or None.

    >>> too_long(asked, answer, context)
    '211 words where the reference has 24, 8.8 times as many (limit 2)'

An answer may be in several groups. One that equals its reference is in none but, perhaps, `cut`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.analyze.content import content_words
from tunesmith.analyze.redirections import Redirection, nearest_redirection
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.words import normalise, num_words, words

LEAST_CONTENT_WORDS = 3
"""Off-topic is judged from this many content words on; fewer share none with a prompt by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupContext:
    """What the groups know beside the answer."""

    config: AnalyzeConfig
    redirections: tuple[Redirection, ...]
    spelling: Spelling
    right_rule: RightRule


Question = Callable[[EvaluationRecord, ModelAnswer, GroupContext], str | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorGroup:
    """Failures sharing a cause."""

    name: str
    title: str
    explain: Question
    """(record, one of its answers, context) -> why the answer is in the group, or None."""
    remedy: str
    """What to change in the data or the settings."""


def empty(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """No visible character."""
    return None if answer.completion.strip() else "nothing was answered"


def cut(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Ended by a limit instead of by the model."""
    if answer.finish_reason in {"end_of_turn", "stop_string"}:
        return None
    limit = "max_new_tokens" if answer.finish_reason == "max_new_tokens" else "the model's context"
    return f"stopped by {limit} after {answer.num_tokens} tokens, not by the model"


def too_long(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """More than `length_ratio` times the reference's words."""
    found, expected, limit = num_words(answer.completion), num_words(asked.reference), context.config.length_ratio
    if not expected or found <= limit * expected or _redirects_wrongly(asked, answer, context):
        return None
    return f"{found} words where the reference has {expected}, {found / expected:.1f} times as many (limit {limit:g})"


def too_short(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Fewer words than the reference's divided by `length_ratio`; empty answers have their own group."""
    found, expected, limit = num_words(answer.completion), num_words(asked.reference), context.config.length_ratio
    if not found or found * limit >= expected or _redirects_wrongly(asked, answer, context):
        return None
    return f"{found} words where the reference has {expected} (limit {expected / limit:.0f})"


def repetitive(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Goes round in circles, and the reference does not."""
    found, expected = words(answer.completion), words(asked.reference)
    loop = find_loop(found)
    if loop and not find_loop(expected):
        return f"says {' '.join(loop)!r} again and again"
    share = repeated_share(found)
    if share <= max(context.config.repeated_share, repeated_share(expected)):
        return None
    return f"{share:.0%} of its 4-grams were there before (limit {context.config.repeated_share:.0%})"


def copies_prompt(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Mostly made of the prompt, where the reference is not."""
    limit = context.config.copied_share
    share = copied_share(answer.completion, asked.prompt)
    if share < limit or copied_share(asked.reference, asked.prompt) >= limit:  # extracting from the prompt is the task
        return None
    return f"{share:.0%} of its 4-grams stand in the prompt (limit {limit:.0%})"


def misspelt(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """English words nearly surely misspelt; prompt and reference are always right."""
    known = " ".join([asked.prompt, asked.reference, *(message.content for message in asked.messages)])
    found = context.spelling.misspelt(answer.completion, known=known)
    return ", ".join(f"{word!r} for {meant!r}" for word, meant in found) or None


def off_topic(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """About something else: no content word in common with prompt or reference."""
    found = content_words(answer.completion)
    topic = content_words(asked.prompt) | content_words(asked.reference)
    if len(found) < LEAST_CONTENT_WORDS or not topic or found & topic:
        return None
    if nearest_redirection(answer.completion, context.redirections):
        return None  # a needless redirection
    return f"none of its {len(found)} content words stands in the prompt or the reference"


def missed_redirection(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """The reference declines politely; the completion does not."""
    expected = nearest_redirection(asked.reference, context.redirections)
    if not expected or nearest_redirection(answer.completion, context.redirections):
        return None
    return f"answers where it should redirect: {expected.text!r}"


def needless_redirection(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """The completion declines politely; the reference does not."""
    found = nearest_redirection(answer.completion, context.redirections)
    if not found or nearest_redirection(asked.reference, context.redirections):
        return None
    return f"redirects where it should answer: {found.text!r}"


def _redirects_wrongly(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> bool:
    """One of completion and reference is a redirection; comparing their lengths would say nothing more."""
    return bool(missed_redirection(asked, answer, context) or needless_redirection(asked, answer, context))


def unlike_reference(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Wrong for a reason that no other group names; asked last, of answers in no other group."""
    if context.right_rule.is_right(answer):
        return None
    score = answer.scores[context.right_rule.metric]
    return f"{context.right_rule.metric} {score:.2f}, and no other group says why (right: {context.right_rule.words})"


def repeated_share(found: list[str]) -> float:
    """Share of the 4-grams that are repeats of earlier ones; 0 below two 4-grams."""
    grams = _four_grams(found)
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def find_loop(found: list[str]) -> list[str] | None:
    """The shortest block of up to 12 words that stands three times in a row (one or two words: five times)."""
    for size in range(1, 13):
        times = 5 if size < 3 else 3
        run = 0
        for index in range(size, len(found)):
            run = run + 1 if found[index] == found[index - size] else 0
            if run >= size * (times - 1):
                return found[index + 1 - size : index + 1]
    return None


def copied_share(completion: str, prompt: str) -> float:
    """Share of the completion's 4-grams that stand in the prompt; shorter ones copy only as a whole."""
    grams = _four_grams(words(completion))
    if not grams:
        return float(bool(normalise(completion)) and normalise(completion) == normalise(prompt))
    asked = set(_four_grams(words(prompt)))
    return sum(gram in asked for gram in grams) / len(grams)


def _four_grams(found: list[str]) -> list[tuple[str, ...]]:
    return [tuple(found[i : i + 4]) for i in range(len(found) - 3)]
