"""A row's prompt and its answer, or its two answers: as texts, as lists of messages, or as whole conversations.

    >>> values = {"chosen": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}],
    ...           "rejected": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "What?"}]}
    >>> read_answered(values, PAIRS[-1]).rejected
    'What?'

A list of messages may be the answer alone, its prompt standing in a column of its own, or the conversation from its start.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from tunesmith.data.converting.conversations import read_turns, require_order
from tunesmith.data.converting.layouts import Layout
from tunesmith.data.parsing.faults import UnusableRowError, require_string, require_text
from tunesmith.types import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What an example is built from."""

    messages: tuple[Message, ...]
    """Ending with the right answer."""
    rejected: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    """The prompt's parts under their column names, where there are two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    text: str
    before: tuple[Message, ...] = ()
    """The rest of the conversation, when the column has that too."""


def read_answered(values: Mapping[str, Any], layout: Layout) -> Answered:
    """The prompt, the right answer and, of a preference pair, the worse one.

    Raises:
        UnusableRowError: a part is missing, empty or of an unknown form, or the parts do not belong together.
    """
    column = layout.completion or layout.content
    assert column is not None
    asked, fields = _prompt(values, layout)
    answer = _answer(values.get(column), "completion" if layout.rejected is None else "chosen answer", column)
    rejected = None
    if layout.rejected is not None:
        worse = _answer(values.get(layout.rejected), "rejected answer", layout.rejected)
        _require_pair(answer, worse, column, layout.rejected)
        rejected = worse.text
    if answer.before:
        _require_part(asked, answer.before, column)
        asked, fields = answer.before, {}
    messages = (*asked, Message(role="assistant", content=answer.text))
    require_order(messages)
    return Answered(messages=messages, rejected=rejected, fields=fields)


def _prompt(values: Mapping[str, Any], layout: Layout) -> tuple[tuple[Message, ...], Mapping[str, str]]:
    """What the prompt column says, with the input that follows it; nothing where there is no such column."""
    if layout.prompt is None:
        return (), {}
    value = values.get(layout.prompt)
    if _holds_messages(value):
        return read_turns(value, layout.prompt), {}
    prompt = require_string(value, "prompt", layout.prompt)
    fields: Mapping[str, str] = {}
    extra = values.get(layout.input) if layout.input is not None else None
    if layout.input is not None and extra is not None and require_string(extra, "input", layout.input).strip():
        fields = {"instruction": prompt, "input": extra}
        prompt = f"{prompt}\n\n{extra}"
    return (Message(role="user", content=prompt),), fields


def _answer(value: Any, part: str, column: str) -> _Answer:
    if not _holds_messages(value):
        return _Answer(text=require_text(value, part, column))
    messages = read_turns(value, column)
    if messages[-1].role != "assistant":
        last = f"the last message of {column} is from {messages[-1].role}"
        raise UnusableRowError(f"{part} without an answer", last, "a list of messages that ends with the assistant's")
    return _Answer(text=messages[-1].content, before=messages[:-1])


def _holds_messages(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value)


def _require_pair(chosen: _Answer, rejected: _Answer, chosen_column: str, rejected_column: str) -> None:
    if chosen.before != rejected.before:
        detail = f"{chosen_column} and {rejected_column} differ before their last message"
        raise UnusableRowError("answers to different prompts", detail, "two answers to the same conversation")
    if chosen.text.strip() == rejected.text.strip():
        detail = f"{chosen_column} and {rejected_column} are both {reprlib.repr(chosen.text)}"
        raise UnusableRowError("chosen equals rejected", detail, "two different answers")


def _require_part(asked: tuple[Message, ...], conversation: tuple[Message, ...], column: str) -> None:
    """A prompt beside whole conversations repeats what the user says in them, or all that comes before the answer."""
    if not asked or asked == conversation:
        return
    said = {message.content.strip() for message in conversation if message.role == "user"}
    if len(asked) > 1 or asked[0].content.strip() not in said:
        detail = f"the prompt is not in the conversation of {column}"
        raise UnusableRowError("prompt of another conversation", detail, "the user's message that the conversation has")
