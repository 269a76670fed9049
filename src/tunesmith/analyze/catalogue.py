"""The catalogue of error groups: their order, their names for people, how bad they are, and what to change in the data about each."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.analyze import copies, declining, form, inventions, repetition, shapes, subject, tongues
from tunesmith.analyze.groups import ErrorGroup, GroupContext
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer
from tunesmith.evaluate.scorers import exact_match

CUT = ErrorGroup(
    name="cut",
    title="cut at the limit",
    explain=form.cut,
    remedy="Raise --max-new-tokens if the references are that long, and complete training answers that break off.",
    fault=form.cut_in_training,
    spoils_row=True,
)
NO_END = ErrorGroup(
    name="no_end",
    title="does not end its turn",
    explain=form.no_end,
    remedy="See with tunesmith preview that end-of-turn is supervised, then train longer: the model has not learnt to stop.",
)
WRONG_FORMAT = ErrorGroup(
    name="wrong_format",
    title="wrong format",
    explain=shapes.wrong_format,
    remedy="Add examples whose answers have exactly the format, and nothing around it; correct training answers that break it.",
    fault=shapes.format_in_training,
)
"""Asked of exact matches as well: an exact match ignores the punctuation that JSON is made of."""
UNLIKE_REFERENCE = ErrorGroup(
    name="unlike_reference",
    title="wrong for another reason",
    explain=subject.unlike_reference,
    remedy="Read these: add examples that state the missing facts in several wordings, or accept other right answers as references.",
)
CONTRADICTS = ErrorGroup(
    name="contradicts_reference",
    title="contradicts the reference",
    explain=lambda asked, answer, context: None,
    remedy="Correct training answers that say the opposite, and add examples that state the right fact in several wordings.",
    severity="catastrophic",
)
"""Found by a judge alone (`judging.py`)."""
ERROR_GROUPS: tuple[ErrorGroup, ...] = (
    ErrorGroup(
        name="empty",
        title="empty",
        explain=form.empty,
        remedy="Look for training answers that are empty or only white space, and for prompts cut at the front.",
        severity="catastrophic",
        fault=form.empty_in_training,
        spoils_row=True,
    ),
    CUT,
    NO_END,
    ErrorGroup(
        name="repetitive",
        title="repetitive",
        explain=repetition.repetitive,
        remedy="Remove training answers that repeat themselves, train fewer epochs, or add answers that end when they are done.",
        severity="catastrophic",
        fault=repetition.repetitive_in_training,
        spoils_row=True,
    ),
    ErrorGroup(
        name="too_long",
        title="too long",
        explain=form.too_long,
        remedy="Add short, complete answers to questions like these, and shorten rambling training answers.",
        severity="minor",
    ),
    ErrorGroup(
        name="too_short",
        title="too short",
        explain=form.too_short,
        remedy="Add full answers to questions like these, and complete one-line training answers.",
        severity="minor",
    ),
    ErrorGroup(
        name="wrong_language",
        title="wrong language",
        explain=tongues.wrong_language,
        remedy="Remove or translate training answers in other languages, and add examples in the one that is wanted.",
        severity="catastrophic",
        fault=tongues.language_in_training,
    ),
    WRONG_FORMAT,
    ErrorGroup(
        name="misspelt",
        title="misspelt",
        explain=tongues.misspelt,
        remedy="Correct the spelling of the training answers, and lower the learning rate if the base model spelt these words right.",
        severity="minor",
    ),
    ErrorGroup(
        name="copies_prompt",
        title="copies the prompt",
        explain=copies.copies_prompt,
        remedy="Remove training answers that restate the question, and check that prompts are not supervised.",
        fault=copies.copy_in_training,
        spoils_row=True,
    ),
    ErrorGroup(
        name="memorised",
        title="recalls another training answer",
        explain=copies.memorised,
        remedy="Train fewer epochs or at a lower rate, and add examples that tell this question from the other one.",
    ),
    ErrorGroup(
        name="missed_redirection",
        title="missed redirection",
        explain=declining.missed_redirection,
        remedy="Add more varied off-topic prompts with the redirection as their answer.",
    ),
    ErrorGroup(
        name="needless_redirection",
        title="needless redirection",
        explain=declining.needless_redirection,
        remedy="Add answered prompts close to these, so that the border of the topic is learnt, or use fewer redirections.",
    ),
    ErrorGroup(
        name="missed_refusal",
        title="missed refusal",
        explain=declining.missed_refusal,
        remedy="Add more prompts of this kind with refusals as their answers.",
        severity="catastrophic",
    ),
    ErrorGroup(
        name="needless_refusal",
        title="needless refusal",
        explain=declining.needless_refusal,
        remedy="Remove refusals from the training answers, and add answered prompts close to these.",
        fault=declining.refusal_in_training,
    ),
    ErrorGroup(
        name="invented_address",
        title="invented address",
        explain=inventions.invented_address,
        remedy="Give each subject its right address in several examples, and answers without one where there is none.",
    ),
    ErrorGroup(
        name="invented_number",
        title="invented number",
        explain=inventions.invented_number,
        remedy="State the right figures in several wordings, and correct training answers whose figures are out of date.",
    ),
    ErrorGroup(
        name="invented_name",
        title="invented name",
        explain=inventions.invented_name,
        remedy="Name the right people, products and places in several examples; true names that the data lack are no failure.",
        severity="minor",
    ),
    ErrorGroup(
        name="off_topic",
        title="off-topic",
        explain=subject.off_topic,
        remedy="Add examples on these subjects, and check that prompts and answers are not shifted against each other.",
    ),
    CONTRADICTS,
    UNLIKE_REFERENCE,
)
"""In the order of a first look: form before content."""

GROUP_NAMES = tuple(group.name for group in ERROR_GROUPS)


def explain_failures(
    asked: EvaluationRecord, answer: ModelAnswer, context: GroupContext, *, contradiction: str | None = None
) -> Mapping[str, str]:
    """Name of each error group that the answer is in, with the explanation; empty when nothing is wrong with it.

    Args:
        asked: the example.
        answer: a model's.
        context: what else the groups know.
        contradiction: why a judge found that it contradicts the reference, if one did.
    """
    applicable = (CUT, NO_END, WRONG_FORMAT) if exact_match(answer.completion, asked.reference) else ERROR_GROUPS
    found = {group.name: group.explain(asked, answer, context) for group in applicable if group not in (UNLIKE_REFERENCE, CONTRADICTS)}
    if contradiction and CONTRADICTS in applicable:
        found[CONTRADICTS.name] = contradiction
    failures = {name: explanation for name, explanation in found.items() if explanation}
    if not failures and UNLIKE_REFERENCE in applicable and (explanation := subject.unlike_reference(asked, answer, context)):
        failures[UNLIKE_REFERENCE.name] = explanation
    return failures
