"""A conversation in the terminal, answers appearing as they are made.

> Do you ship abroad?
Yes, to forty countries.
> /reset
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.cli.terminal import say
from tunesmith.engine.generation.generate import decode
from tunesmith.engine.generation.sequences import NewToken
from tunesmith.types import FinishReason, Message, TokenLogprob

if TYPE_CHECKING:
    from tunesmith.config import GenerateConfig
    from tunesmith.tuned import OpenedModel

EXPLANATION = "Ctrl-D or /exit ends the conversation, /reset begins a new one, Ctrl-C stops an answer."


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A completion that was written as it came."""

    text: str
    num_tokens: int
    finish_reason: FinishReason | None
    """None when the user stopped it."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """One for each token, when asked for."""


def stream(
    opened: OpenedModel,
    messages: Sequence[Message],
    config: GenerateConfig,
    write: Callable[[str], None],
    *,
    fields: Mapping[str, str] | None = None,
    turn: int = 0,
) -> Answer:
    """Answer, handing on every piece of text once its characters are whole.

    Args:
        opened: the model.
        messages: the conversation, a user message last.
        config: how to decode.
        write: receives the pieces.
        fields: of the prompt, for templates that place them apart.
        turn: the turns of a conversation sample differently.
    """
    prompt = opened.prompt_ids(messages, config, fields=fields or {}, place="the prompt")
    new_tokens = decode(
        opened.hugging_face_network,
        {turn: prompt},
        config,
        stop_ids=opened.renderer.stop_ids,
        context_length=opened.loaded.context_length,
        parse=opened.renderer.parse,
        with_text=True,
    )
    seen: list[NewToken] = []
    try:
        for new in new_tokens:
            seen.append(new)
            if new.text:
                write(new.text)
    except KeyboardInterrupt:
        return _answer(seen, None, config)
    return _answer(seen, seen[-1].finish_reason, config)


def _answer(seen: Sequence[NewToken], reason: FinishReason | None, config: GenerateConfig) -> Answer:
    logprobs = None if config.logprobs is None else tuple(new.logprob for new in seen if new.logprob is not None)
    return Answer(text="".join(new.text for new in seen), num_tokens=len(seen), finish_reason=reason, logprobs=logprobs)


def chat(
    opened: OpenedModel,
    config: GenerateConfig,
    *,
    system: str | None,
    read: Callable[[str], str] = input,
    write: Callable[[str], None],
) -> None:
    """Converse until the user leaves; the model sees the whole conversation as far as it fits."""
    say(EXPLANATION)
    beginning = [Message(role="system", content=system)] if system else []
    messages, turn = list(beginning), 0
    while True:
        try:
            text = read("> ").strip()
        except EOFError:
            write("\n")
            return
        if text == "/exit":
            return
        if text == "/reset":
            messages = list(beginning)
            say("a new conversation")
        elif text.startswith("/") and " " not in text:
            say(f"{text}: no such command; there are /reset and /exit")
        elif text:
            messages = _shortened([*messages, Message(role="user", content=text)], opened, config)
            answer = stream(opened, messages, config, write, turn=turn)
            write("\n")
            remark(answer)
            messages.append(Message(role="assistant", content=answer.text))
            turn += 1


def _shortened(messages: list[Message], opened: OpenedModel, config: GenerateConfig) -> list[Message]:
    """Leave out the oldest turns until the rest, and an answer, fit the model's context."""
    room = opened.loaded.context_length - config.max_new_tokens
    first = 1 if messages[0].role == "system" else 0
    forgotten = 0
    while len(messages) - first > 1 and len(opened.renderer.prompt_ids(messages)) > min(room, config.max_prompt_tokens or room):
        messages = messages[:first] + messages[first + 2 :]
        forgotten += 1
    if forgotten:
        say(f"(the oldest {forgotten} of the turns no longer fit and are left out)")
    return messages


def remark(answer: Answer) -> None:
    """Say why an answer ended before its end."""
    if answer.finish_reason == "max_new_tokens":
        say(f"(cut after {answer.num_tokens} tokens; --max-new-tokens allows more)")
    elif answer.finish_reason == "context_full":
        say("(cut: the model's context is full)")
    elif answer.finish_reason is None:
        say("(stopped)")
