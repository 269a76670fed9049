"""The prompts that an export is tried on: held-out ones of the run's data where they are at hand, else a few of our own."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.data.storing.prepared import PreparedData, load_data_of
from tunesmith.errors import DataError, RunError
from tunesmith.export.subject import Say, Subject
from tunesmith.render.templates import special_strings
from tunesmith.types import Example, Message

SEED = 0
"""Of the sample."""
MOST_CHARACTERS = 400
"""Of a raw text that is to be continued."""

OWN_PROMPTS = (
    "What is the capital of France?", "Write one sentence about rain.", "How many days does a week have?", "Name three colours.",
    "Explain what a computer program is.", "Translate 'good morning' into Spanish.", "What is 12 plus 30?", "Who wrote Hamlet?",
    "Give me a synonym for 'quick'.", "Why is the sky blue?", "List two uses of salt.", "What does 'USB' stand for?",
    "Is water heavier than oil?", "Greet a customer.", "What is the past tense of 'go'?", "Describe a cat in five words.",
    "How do I boil an egg?", "What comes after Tuesday?", "Name an ocean.", "Finish the sentence: The early bird",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityPrompt:
    """A prompt and our tokens of it."""

    source: str
    messages: tuple[Message, ...]
    """For raw text one user message: the text to go on with."""
    fields: Mapping[str, str] = field(default_factory=dict)
    is_text: bool = False
    token_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityPrompts:
    """What was chosen."""

    prompts: tuple[ParityPrompt, ...]
    origin: str
    """In words: where they come from."""
    num_special: int
    """Left out: their text spells a special token, which ours reads as text and other runtimes as the token."""


def choose_prompts(subject: Subject, count: int, max_new_tokens: int, say: Say) -> ParityPrompts:
    """A seeded sample of at most `count` prompts that fit the context whole.

    Raises:
        DataError: none of them can be used.
    """
    examples, origin = _held_out(subject, say)
    random.Random(SEED).shuffle(examples)  # noqa: S311 - a sample, no secret
    room = subject.opened.loaded.context_length - max_new_tokens
    special = special_strings(subject.opened.renderer.tokenizer)
    chosen: list[ParityPrompt] = []
    num_special = 0
    for example in examples:
        if len(chosen) == count:
            break
        if any(one in text for one in special for text in _texts(example)):
            num_special += 1
        elif len((prompt := _prompt(subject, example)).token_ids) <= room:
            chosen.append(prompt)
    if not chosen:
        expected = f"prompts of at most {room:,} tokens without special tokens in their text"
        remedy = "lower --parity-tokens" if num_special < len(examples) else "name a run whose data hold some"
        raise DataError(subject.name, "no prompt to try the export on", expected=expected, remedy=remedy)
    return ParityPrompts(prompts=tuple(chosen), origin=origin, num_special=num_special)


def _held_out(subject: Subject, say: Say) -> tuple[list[Example], str]:
    if subject.run is not None:
        try:
            data = load_data_of(subject.run)
        except (DataError, RunError) as error:
            say(f"the run's data cannot be read, so the export is tried on prompts of our own: {error.place}: {error.found}")
        else:
            return _split(data)
    own = [Example(id=str(i), source=f"prompt {i + 1}", group="", messages=_conversation(text)) for i, text in enumerate(OWN_PROMPTS)]
    return own, "prompts of tunesmith's own"


def _split(data: PreparedData) -> tuple[list[Example], str]:
    """The test split, else the validation split, else the training split."""
    splits: Sequence[tuple[str, Sequence[Example]]] = (("test", data.test), ("validation", data.validation), ("train", data.train))
    name, examples = next((name, examples) for name, examples in splits if len(examples))
    return list(examples), f"the {name} split of the run's data"


def _conversation(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text), Message(role="assistant", content=""))


def _texts(example: Example) -> tuple[str, ...]:
    return (example.text or "", *(message.content for message in example.prompt_messages), *example.fields.values())


def _prompt(subject: Subject, example: Example) -> ParityPrompt:
    """Of a text to be continued its first third is given."""
    renderer = subject.opened.renderer
    if subject.opened.trained_on_text:
        text = example.text or example.prompt
        text = text[: max(1, min(len(text) // 3, MOST_CHARACTERS))]
        message = Message(role="user", content=text)
        return ParityPrompt(source=example.source, messages=(message,), is_text=True, token_ids=renderer.text_prompt_ids(text))
    messages, fields = example.prompt_messages, dict(example.fields)
    return ParityPrompt(source=example.source, messages=messages, fields=fields, token_ids=renderer.prompt_ids(messages, fields))
