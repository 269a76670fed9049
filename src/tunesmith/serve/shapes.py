"""Completions in the two shapes of OpenAI's API, whole and piece by piece: plain documents by the models in `answers`.

With log-probabilities they hold tens of thousands of values, for which making records would take many times as long.
"""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tunesmith.engine.generation.sequences import NewToken
from tunesmith.serve.answers import FinishWord, Usage
from tunesmith.serve.token_texts import TokenText, TokenTexts
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

    def whole(self, choices: Sequence[Choice], usage: Usage) -> dict[str, Any]:
        """Everything at once; takes a while with many log-probabilities."""
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

    def __init__(self, model: ServedModel, texts: TokenTexts, prefix: str, kind: str, *, with_logprobs: bool, with_usage: bool) -> None:
        self._texts = texts
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

    def __init__(self, model: ServedModel, texts: TokenTexts, *, with_logprobs: bool, with_usage: bool, streams: bool) -> None:
        kind = "chat.completion.chunk" if streams else "chat.completion"
        super().__init__(model, texts, "chatcmpl", kind, with_logprobs=with_logprobs, with_usage=with_usage)

    def whole(self, choices: Sequence[Choice], usage: Usage) -> dict[str, Any]:
        """As the client gets it without `stream`: a `ChatCompletion`."""
        made = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": self._logprobs(choice.logprobs),
                "finish_reason": choice.finish or "stop",
            }
            for index, choice in enumerate(choices)
        ]
        return {**self.head, "choices": made, "usage": usage.model_dump()}

    def opening(self, index: int) -> dict[str, Any]:
        """The role."""
        return self._chunk({"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None})

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob], finish: FinishWord | None) -> dict[str, Any]:
        """Some text, or the end, or both."""
        choice = {"index": index, "delta": {"content": text} if text else {}, "logprobs": self._logprobs(logprobs)}
        return self._chunk({**choice, "finish_reason": finish})

    def _logprobs(self, logprobs: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        """`ChatLogprobs`."""
        if not self.with_logprobs:
            return None
        likely = self._likely
        return {
            "content": [{**likely(one.token, one.logprob), "top_logprobs": [likely(*other) for other in one.top]} for one in logprobs],
            "refusal": None,
        }

    def _likely(self, token: int, logprob: float) -> dict[str, Any]:
        found = self._texts.of(token)
        return {"token": found.text, "logprob": logprob, "bytes": found.bytes}


class TextShape(_Head):
    """Of /v1/completions."""

    def __init__(self, model: ServedModel, texts: TokenTexts, *, with_logprobs: bool, with_usage: bool) -> None:
        super().__init__(model, texts, "cmpl", "text_completion", with_logprobs=with_logprobs, with_usage=with_usage)
        self._lengths: dict[int, _Length] = {}

    def whole(self, choices: Sequence[Choice], usage: Usage) -> dict[str, Any]:
        """As the client gets it without `stream`: a `TextCompletion`."""
        made = [
            {"index": index, "text": one.text, "logprobs": self._logprobs(index, one.logprobs), "finish_reason": one.finish}
            for index, one in enumerate(choices)
        ]
        return {**self.head, "choices": made, "usage": usage.model_dump()}

    def opening(self, index: int) -> None:
        """Nothing: there are no roles."""

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob], finish: FinishWord | None) -> dict[str, Any]:
        """Some text, or the end, or both."""
        return self._chunk({"index": index, "text": text, "logprobs": self._logprobs(index, logprobs), "finish_reason": finish})

    def _logprobs(self, index: int, logprobs: Sequence[TokenLogprob]) -> dict[str, Any] | None:
        """`TextLogprobs`; offsets go on from piece to piece."""
        if not self.with_logprobs:
            return None
        of, length = self._texts.of, self._lengths.setdefault(index, _Length())
        found = [of(one.token) for one in logprobs]
        return {
            "tokens": [one.name for one in found],
            "token_logprobs": [one.logprob for one in logprobs],
            "top_logprobs": [self._by_name(one) for one in logprobs],
            "text_offset": [length.before(one) for one in found],
        }

    def _by_name(self, one: TokenLogprob) -> dict[str, float]:
        """Of tokens with one text the likeliest, but always that of the token itself, as at OpenAI."""
        named = {self._texts.of(token).name: logprob for token, logprob in reversed(one.top)}
        return dict(reversed(named.items())) | {self._texts.of(one.token).name: one.logprob}


class _Length:
    """Characters so far, of which a token may hold parts."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._number = 0

    def before(self, token: TokenText) -> int:
        """Count it, and say where it begins: where the character does that it goes on with."""
        before = self._number
        self._number += len(token.text) if token.bytes is None else len(self._decoder.decode(bytes(token.bytes)))
        return before
