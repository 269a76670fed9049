"""A `messages` or `conversations` value -> messages with known roles in a proper order.

>>> read_messages([{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}], "conversations")
(Message(role='user', content='Hi?'), Message(role='assistant', content='Hello.'))
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.data.parsing.faults import UnusableRowError, require_string, require_text
from tunesmith.types import Message, Role

ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
"""As data sets spell them -> ours."""

TOOL_ROLES = frozenset({"tool", "function", "ipython", "observation", "function_call", "tool_call", "tool_response", "function_response"})
"""Of messages that call a program or hold what it returned. They need the tools' descriptions and calls as a template writes them,
which examples do not carry: such a conversation without them would teach answers that come from nowhere."""
TOOL_CALLS = ("tool_calls", "function_call")
"""What an assistant's message asks of programs beside, or in place of, its content."""

PROPER_ORDER = "an optional system message, then user and assistant in turn, the assistant last"


def read_messages(value: Any, column: str) -> tuple[Message, ...]:
    """Messages in either spelling: role and content (OpenAI), or from and value (ShareGPT).

    Raises:
        UnusableRowError: not a list of such messages, one of a tool or an unknown role, an empty one, or an improper order.
    """
    if value is None:
        raise UnusableRowError("missing conversation", f"the column {column!r} is missing", "a list of messages")
    if not isinstance(value, list | tuple):
        detail = f"the column {column!r} is {reprlib.repr(value)}, of type {type(value).__name__}"
        raise UnusableRowError("conversation is not a list", detail, "a list of messages")
    messages = read_turns(value, column)
    require_order(messages)
    return messages


def read_turns(value: Sequence[Any], column: str) -> tuple[Message, ...]:
    """The messages of a list that may be part of a conversation: a prompt, or an answer.

    Raises:
        UnusableRowError: an item is no message with a known role, or of a tool, or an answer is empty.
    """
    _refuse_tools(value, column)
    return tuple(_message(item, f"{column}[{position}]") for position, item in enumerate(value))


def _refuse_tools(items: Sequence[Any], column: str) -> None:
    """One reason for every conversation with tools, whatever else is unusual in it."""
    for position, item in enumerate(items):
        if not isinstance(item, Mapping):
            continue
        role = item.get("role", item.get("from"))
        is_tool = isinstance(role, str) and role.casefold() in TOOL_ROLES
        if is_tool or any(item.get(key) for key in TOOL_CALLS):
            found = f"is from {role}" if is_tool else "calls a tool"
            raise UnusableRowError(
                "conversation with tool messages",
                f"{column}[{position}] {found}, and calls of tools and their results are not trained on",
                "messages of system, user and assistant; write what a tool returned into the message before the answer that uses it",
            )


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, Mapping):
        raise UnusableRowError("message is not an object", f"{where} is {reprlib.repr(item)}", "an object with role and content")
    role_key, content_key = ("role", "content") if "role" in item else ("from", "value")
    if role_key not in item:
        keys = ", ".join(map(str, item))
        raise UnusableRowError("message without a role", f"{where} has the keys {keys}", "role and content, or from and value")
    name = item[role_key]
    role = ROLES.get(name.casefold()) if isinstance(name, str) else None
    if role is None:
        expected = f"one of {', '.join(ROLES)}"
        raise UnusableRowError(f"unknown role {reprlib.repr(name)}", f"the role of {where} is {reprlib.repr(name)}", expected)
    part = {"system": "system message", "user": "prompt", "assistant": "completion"}[role]
    # Users do send nothing, and an empty system message replaces the one that a chat template would put in.
    require = require_text if role == "assistant" else require_string
    return Message(role=role, content=require(item.get(content_key), part, f"{where}.{content_key}"))


def require_order(messages: Sequence[Message]) -> None:
    """Refuse what is no conversation that ends with an answer.

    Raises:
        UnusableRowError: naming the first message that is out of turn.
    """
    turns = messages[1:] if messages and messages[0].role == "system" else messages
    if not turns:
        raise UnusableRowError("conversation without a user message", "the conversation has no user message", PROPER_ORDER)
    for position, message in enumerate(turns):
        due = "user" if position % 2 == 0 else "assistant"
        if message.role != due:
            problem = f"{message.role} message where {due} is due"
            number = position + 1 + len(messages) - len(turns)
            raise UnusableRowError(problem, f"message {number} of {len(messages)} is from {message.role}", PROPER_ORDER)
    if turns[-1].role != "assistant":
        raise UnusableRowError("conversation ends without an answer", "the last message is from user", PROPER_ORDER)
