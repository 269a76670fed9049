"""Error groups of answers that are somebody else's words: the prompt's, or those of a training answer to another question."""

from __future__ import annotations

from tunesmith.analyze.content import four_grams, shortened
from tunesmith.analyze.groups import GroupContext
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import token_f1
from tunesmith.evaluate.scorers.redirections import nearest_redirection
from tunesmith.evaluate.words import normalise, words
from tunesmith.types import Example

SAME_PROMPT = 0.8
"""Token F1 from which two prompts ask the same; the answer is then recalled rightly."""


def copies_prompt(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Mostly made of the prompt, where the reference is not."""
    limit = context.config.copied_share
    share = copied_share(answer.completion, asked.prompt)
    if share < limit or copied_share(asked.reference, asked.prompt) >= limit:  # extracting from the prompt is the task
        return None
    return f"{share:.0%} of its 4-grams stand in the prompt (limit {limit:.0%})"


def memorised(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> str | None:
    """Nearly equal to a training answer that belongs to another prompt, and unlike the reference."""
    recalled = context.knowledge.recalled.get(answer.completion)
    if recalled is None or nearest_redirection(answer.completion, context.redirections):
        return None
    if token_f1(recalled.prompt, asked.prompt) >= SAME_PROMPT:
        return None
    if token_f1(answer.completion, asked.reference) >= context.config.memorised_share:
        return None
    share = f"{recalled.similarity:.0%} of the 4-grams in common"
    return f"the training answer of {recalled.source} ({share}), which belongs to {shortened(recalled.prompt)!r}"


def copied_share(completion: str, prompt: str) -> float:
    """Share of the completion's 4-grams that stand in the prompt; shorter ones copy only as a whole."""
    grams = four_grams(words(completion))
    if not grams:
        return float(bool(normalise(completion)) and normalise(completion) == normalise(prompt))
    asked = set(four_grams(words(prompt)))
    return sum(gram in asked for gram in grams) / len(grams)


def copy_in_training(example: Example, context: GroupContext) -> str | None:
    """A training answer that is its prompt; one that repeats most of it may be right (`Capitalise this`, `Does it …? Yes, it …`)."""
    said = normalise(example.reference)
    return "the answer is its prompt again" if said and said == normalise(example.prompt) else None
