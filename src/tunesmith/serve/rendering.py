"""From what a client sent to what the model is asked: the rules for prompts, and the tokens; both beside the event loop, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from tunesmith.serve.asking import Asked, ask_chat, ask_completion, prompts_of
from tunesmith.serve.guarded import checked_prompt
from tunesmith.serve.guarding import Guard
from tunesmith.serve.schema import ChatRequest, CompletionRequest
from tunesmith.serve.state import ServerState
from tunesmith.serve.telemetry import Record
from tunesmith.together import ServedModel
from tunesmith.types import Message

T = TypeVar("T")


class RenderedChat(NamedTuple):
    """A conversation as the rules left it, what is said without asking the model (None: ask), and what the model is asked."""

    messages: tuple[Message, ...]
    instead: str | None
    asked: Asked


async def rendered_chat(
    state: ServerState, model: ServedModel, guard: Guard | None, body: ChatRequest, messages: tuple[Message, ...], record: Record
) -> RenderedChat:
    """Have the rules look at a conversation, and make tokens of what they leave.

    Raises:
        ApiError: a rule, the template or the context refuses it.
    """
    instead = None
    if guard is not None:
        messages, instead = await checked_prompt(state, guard, messages, record, param="messages")
    if record.logs_prompts:  # as the rules left it: what they mask is not in the log either
        record.prompt = [{"role": one.role, "content": one.content} for one in messages]
    return RenderedChat(messages, instead, await _rendered(state, lambda: ask_chat(model, body, messages, state.config)))


class RenderedTexts(NamedTuple):
    """The same of texts."""

    prompts: list[str | list[int]]
    instead: list[str | None]
    asked: Asked


async def rendered_texts(
    state: ServerState, model: ServedModel, guard: Guard | None, body: CompletionRequest, record: Record
) -> RenderedTexts:
    """The same of texts to be continued; each is checked as a user's message would be.

    Raises:
        ApiError: a rule or the context refuses one.
    """
    prompts, instead = await _checked_texts(state, guard, body, record)
    if record.logs_prompts:
        record.prompt = prompts
    return RenderedTexts(prompts, instead, await _rendered(state, lambda: ask_completion(model, body, prompts, state.config)))


async def _checked_texts(
    state: ServerState, guard: Guard | None, body: CompletionRequest, record: Record
) -> tuple[list[str | list[int]], list[str | None]]:
    prompts, instead = prompts_of(body), []
    if guard is None:
        return prompts, [None] * len(prompts)
    for place, prompt in enumerate(prompts):
        messages, answer = as_messages(prompt), None
        if messages:
            messages, answer = await checked_prompt(state, guard, messages, record, param="prompt")
            prompts[place] = messages[-1].content
        instead.append(answer)
    return prompts, instead


def as_messages(prompt: str | list[int]) -> tuple[Message, ...]:
    """What rules see of a prompt: nothing of token ids."""
    return (Message(role="user", content=prompt),) if isinstance(prompt, str) else ()


async def _rendered(state: ServerState, render: Callable[[], T]) -> T:
    """Beside the event loop: a long text takes a while."""
    return await asyncio.get_running_loop().run_in_executor(state.renderers, render)
