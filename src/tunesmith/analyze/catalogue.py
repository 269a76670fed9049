"""The catalogue of error groups: their order, their names for people, and what to change in the data about each."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.analyze import groups
from tunesmith.analyze.groups import ErrorGroup, GroupContext
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import exact_match

CUT = ErrorGroup(
    name="cut",
    title="cut at the token limit",
    explain=groups.cut,
    remedy="See with tunesmith preview that end-of-turn is supervised, train longer on answers that end, or raise max_new_tokens.",
)
UNLIKE_REFERENCE = ErrorGroup(
    name="unlike_reference",
    title="wrong for another reason",
    explain=groups.unlike_reference,
    remedy="Read these: add examples that state the missing facts in several wordings, or accept other right answers as references.",
)
ERROR_GROUPS: tuple[ErrorGroup, ...] = (
    ErrorGroup(
        name="empty",
        title="empty",
        explain=groups.empty,
        remedy="Look for training answers that are empty or only white space, and for prompts cut at the front.",
    ),
    CUT,
    ErrorGroup(
        name="repetitive",
        title="repetitive",
        explain=groups.repetitive,
        remedy="Remove training answers that repeat themselves, train fewer epochs, or add answers that end when they are done.",
    ),
    ErrorGroup(
        name="too_long",
        title="too long",
        explain=groups.too_long,
        remedy="Add short, complete answers to questions like these, and shorten rambling training answers.",
    ),
    ErrorGroup(
        name="too_short",
        title="too short",
        explain=groups.too_short,
        remedy="Add full answers to questions like these, and complete one-line training answers.",
    ),
    ErrorGroup(
        name="misspelt",
        title="misspelt",
        explain=groups.misspelt,
        remedy="Correct the spelling of the training answers, and lower the learning rate if the base model spelt these words right.",
    ),
    ErrorGroup(
        name="copies_prompt",
        title="copies the prompt",
        explain=groups.copies_prompt,
        remedy="Remove training answers that restate the question, and check that prompts are not supervised.",
    ),
    ErrorGroup(
        name="missed_redirection",
        title="missed redirection",
        explain=groups.missed_redirection,
        remedy="Add more varied off-topic prompts with the redirection as their answer.",
    ),
    ErrorGroup(
        name="needless_redirection",
        title="needless redirection",
        explain=groups.needless_redirection,
        remedy="Add answered prompts close to these, so that the border of the topic is learnt, or use fewer redirections.",
    ),
    ErrorGroup(
        name="off_topic",
        title="off-topic",
        explain=groups.off_topic,
        remedy="Add examples on these subjects, and check that prompts and answers are not shifted against each other.",
    ),
    UNLIKE_REFERENCE,
)
"""In the order of a first look: form before content."""


def explain_failures(asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext) -> Mapping[str, str]:
    """Name of each error group that the answer is in, with the explanation; empty when nothing is wrong with it."""
    applicable = (CUT,) if exact_match(answer.completion, asked.reference) else ERROR_GROUPS
    found = {group.name: group.explain(asked, answer, context) for group in applicable if group is not UNLIKE_REFERENCE}
    failures = {name: explanation for name, explanation in found.items() if explanation}
    if not failures and UNLIKE_REFERENCE in applicable and (explanation := groups.unlike_reference(asked, answer, context)):
        failures[UNLIKE_REFERENCE.name] = explanation
    return failures
