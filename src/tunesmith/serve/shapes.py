"""Completions in the two shapes of OpenAI's API, whole and piece by piece."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from tunesmith.engine.generation.sequences import NewToken
from tunesmith.serve.answers import (
    AnswerMessage,
    ChatChoice,
    ChatCompletion,
    ChatLogprobs,
    FinishWord,
    TextChoice,
    TextCompletion,
    TextLogprobs,
    Usage,
)
from tunesmith.serve.token_texts import chat_logprob
from tunesmith.together import ServedModel
from tunesmith.types import FinishReason, TokenLogprob

FINISH_WORDS: Mapping[FinishReason, FinishWord] = {
    "end_of_turn": "stop",
    "stop_string": "stop",
    "max_new_tokens": "length",
    "context_full": "length",
}


@dataclass(kw_only=True, slots=True)
class Choice:
    """A completion so far, or all of it."""

    texts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    """Of all tokens but the one that ends the turn."""
    finish: FinishWord | None = None
    num_tokens: int = 0

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def add(self, new: NewToken) -> None:
        """Grow by a token."""
        self.num_tokens += 1
        if new.text:
            self.texts.append(new.text)
        self.logprobs += shown_logprobs(new)
        if new.finish_reason is not None:
            self.finish = FINISH_WORDS[new.finish_reason]


def shown_logprobs(new: NewToken) -> list[TokenLogprob]:
    """The token's, unless it is the one that ends the turn and has no text."""
    return [] if new.logprob is None or new.finish_reason == "end_of_turn" else [new.logprob]


def usage_of(num_prompt_tokens: int, choices: Sequence[Choice]) -> Usage:
    """Of a whole request."""
    made = sum(choice.num_tokens for choice in choices)
    return Usage(prompt_tokens=num_prompt_tokens, completion_tokens=made, total_tokens=num_prompt_tokens + made)


class Shape(Protocol):
    """How one request is answered."""

    with_logprobs: bool

    def whole(self, choices: Sequence[Choice], usage: Usage) -> BaseModel:
        """Everything at once."""
        ...

    def opening(self, index: int) -> dict[str, Any] | None:
        """What a stream says of a choice before its first text."""
        ...

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob], finish: FinishWord | None) -> dict[str, Any]:
        """A stream's next words of a choice."""
        ...

    def last(self, usage: Usage) -> dict[str, Any]:
        """A stream's last word."""
        ...


class _Head:
    """What every document of an answer begins with."""

    def __init__(self, model: ServedModel, prefix: str, kind: str, *, with_logprobs: bool, with_usage: bool) -> None:
        self._renderer = model.renderer
        self.with_logprobs, self._with_usage = with_logprobs, with_usage
        self.head: dict[str, Any] = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": model.fingerprint,
        }

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self.head, "choices": [choice], **({"usage": None} if self._with_usage else {})}

    def last(self, usage: Usage) -> dict[str, Any]:
        """No choices, and the usage."""
        return {**self.head, "choices": [], "usage": usage.model_dump()}


class ChatShape(_Head):
    """Of /v1/chat/completions."""

    def __init__(self, model: ServedModel, *, with_logprobs: bool, with_usage: bool, streams: bool) -> None:
        kind = "chat.completion.chunk" if streams else "chat.completion"
        super().__init__(model, "chatcmpl", kind, with_logprobs=with_logprobs, with_usage=with_usage)

    def whole(self, choices: Sequence[Choice], usage: Usage) -> ChatCompletion:
        """As the client gets it without `stream`."""
        made = [
            ChatChoice(
                index=index,
                message=AnswerMessage(content=choice.text),
                logprobs=self._logprobs(choice.logprobs),
                finish_reason=choice.finish or "stop",
            )
            for index, choice in enumerate(choices)
        ]
        return ChatCompletion(**self.head, choices=made, usage=usage)

    def opening(self, index: int) -> dict[str, Any]:
        """The role."""
        return self._chunk({"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None})

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob], finish: FinishWord | None) -> dict[str, Any]:
        """Some text, or the end, or both."""
        found = self._logprobs(logprobs)
        choice = {"index": index, "delta": {"content": text} if text else {}, "logprobs": found.model_dump() if found else None}
        return self._chunk({**choice, "finish_reason": finish})

    def _logprobs(self, logprobs: Sequence[TokenLogprob]) -> ChatLogprobs | None:
        return ChatLogprobs(content=[chat_logprob(self._renderer, one) for one in logprobs]) if self.with_logprobs else None


class TextShape(_Head):
    """Of /v1/completions."""

    def __init__(self, model: ServedModel, *, with_logprobs: bool, with_usage: bool) -> None:
        super().__init__(model, "cmpl", "text_completion", with_logprobs=with_logprobs, with_usage=with_usage)
        self._offsets: dict[int, int] = {}

    def whole(self, choices: Sequence[Choice], usage: Usage) -> TextCompletion:
        """As the client gets it without `stream`."""
        made = [
            TextChoice(index=index, text=choice.text, logprobs=self._logprobs(index, choice.logprobs), finish_reason=choice.finish)
            for index, choice in enumerate(choices)
        ]
        return TextCompletion(**self.head, choices=made, usage=usage)

    def opening(self, index: int) -> None:
        """Nothing: there are no roles."""

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob], finish: FinishWord | None) -> dict[str, Any]:
        """Some text, or the end, or both."""
        found = self._logprobs(index, logprobs)
        choice = {"index": index, "text": text, "logprobs": found.model_dump() if found else None, "finish_reason": finish}
        return self._chunk(choice)

    def _logprobs(self, index: int, logprobs: Sequence[TokenLogprob]) -> TextLogprobs | None:
        """Offsets go on from piece to piece."""
        if not self.with_logprobs:
            return None
        decode = self._renderer.decode
        tokens = [decode([one.token]) for one in logprobs]
        offsets = []
        for token in tokens:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(token)
        return TextLogprobs(
            tokens=tokens,
            token_logprobs=[one.logprob for one in logprobs],
            top_logprobs=[{decode([token]): logprob for token, logprob in one.top} for one in logprobs],
            text_offset=offsets,
        )
