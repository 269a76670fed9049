"""Error groups about what an answer is about: another subject, and everything that is wrong for no other reason."""

from __future__ import annotations

from tunesmith.analyze.content import content_words
from tunesmith.analyze.declining import declines
from tunesmith.analyze.groups import GroupContext
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import metric_of

LEAST_CONTENT_WORDS = 3
"""Off-topic is judged from this many content words on; fewer share none with a prompt by chance."""
FAR = 0.2
"""Cosine of the embeddings with both prompt and reference below which an answer that shares a word or two is about something else."""
FEW_SHARED = 0.2
"""Of the content words, of such an answer."""


def off_topic(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """About something else: no content word in common with prompt or reference, or few and far by its embedding."""
    found = content_words(answer.completion)
    topic = content_words(asked.prompt) | content_words(asked.reference)
    if len(found) < LEAST_CONTENT_WORDS or not topic or declines(answer.completion, context) != declines(asked.reference, context):
        return None
    shared = len(found & topic)
    if not shared:
        return f"none of its {len(found)} content words stands in the prompt or the reference"
    if shared > FEW_SHARED * len(found):
        return None
    near = [context.similarity(answer.completion, asked.prompt), context.similarity(answer.completion, asked.reference)]
    nearest = max((one for one in near if one is not None), default=1.0)
    if nearest >= FAR:
        return None
    return f"{shared} of its {len(found)} content words stand in prompt or reference; similarity {nearest:.2f} (limit {FAR:g})"


def unlike_reference(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Wrong for a reason that no other group names; asked last, of answers in no other group. To decline in other words is right."""
    if context.right_rule.is_right(answer) or (declines(answer.completion, context) and declines(asked.reference, context)):
        return None
    rule = context.right_rule
    return f"{metric_of(rule.metric).title} {answer.scores[rule.metric]:.2f}, and no other group says why (right: {rule.words})"
