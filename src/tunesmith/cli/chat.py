"""A conversation in the terminal, answers appearing as they are made.

> Do you ship abroad?
Yes, to forty countries.
> /reset
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.cli.terminal import say
from tunesmith.engine.generate import NewToken, decode
from tunesmith.types import FinishReason, Message

if TYPE_CHECKING:
    from tunesmith.config import GenerateConfig
    from tunesmith.tuned import OpenedModel

REPLACEMENT = "\ufffd"
"""What a decoder shows for a character whose bytes are not all there yet."""
EXPLANATION = "Ctrl-D or /exit ends the conversation, /reset begins a new one, Ctrl-C stops an answer."


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A completion that was written as it came."""

    text: str
    num_tokens: int
    finish_reason: FinishReason | None
    """None when the user stopped it."""


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
    )
    ids: list[int] = []
    reasons: list[FinishReason] = []
    text = ""
    try:
        for piece in whole_pieces(_kept(new_tokens, ids, reasons), opened.renderer.parse):
            text += piece
            write(piece)
    except KeyboardInterrupt:
        return Answer(text=text, num_tokens=len(ids), finish_reason=None)
    return Answer(text=text, num_tokens=len(ids), finish_reason=reasons[0])


def _kept(new_tokens: Iterable[NewToken], ids: list[int], reasons: list[FinishReason]) -> Iterator[int]:
    for new in new_tokens:
        ids.append(new.token)
        if new.finish_reason:
            reasons.append(new.finish_reason)
        yield new.token


def whole_pieces(tokens: Iterable[int], parse: Callable[[Sequence[int]], str]) -> Iterator[str]:
    """The text of growing token ids, piece by piece; a character of several tokens comes when the last of them is there."""
    ids: list[int] = []
    written = ""
    for token in tokens:
        ids.append(token)
        text = parse(ids)
        if not text.endswith(REPLACEMENT) and len(text) > len(written):
            yield text[len(written) :]
            written = text
    rest = parse(ids)[len(written) :]
    if rest:  # the end broke off within a character
        yield rest


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
