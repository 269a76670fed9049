"""What the server answers, in OpenAI's shapes; the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

FinishWord = Literal["stop", "length", "content_filter"]
"""`stop`: the model ended its turn or came to a stop string; `length`: all the tokens it was given; `content_filter`: a guardrail."""


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(BaseModel):
    """Of every answer that is no success."""

    error: ErrorBody


class ModelCard(BaseModel):
    """A model one can ask for by `id`."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Usage(BaseModel):
    """Tokens of a request: prompts once each, completions all, their end tokens included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class LikelyToken(BaseModel):
    """A token and its log-probability under the model's own distribution, before temperature and cuts.

    One that holds a part of a character is written by its bytes, `\\xf0\\x9f`.
    """

    token: str
    logprob: float
    bytes: list[int] | None


class ChatTokenLogprob(LikelyToken):
    """A token of the answer, with the likeliest ones in its place."""

    top_logprobs: list[LikelyToken]


class ChatLogprobs(BaseModel):
    """Of one choice: all tokens made but the one that ends the turn."""

    content: list[ChatTokenLogprob]
    refusal: None = None


class AnswerMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishWord


class ChatCompletion(BaseModel):
    """Of /v1/chat/completions without `stream`."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class Delta(BaseModel):
    """What is new."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    """A piece of one answer; `finish_reason` comes with the last."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishWord | None = None


class ChatCompletionChunk(BaseModel):
    """An event of a stream. With `include_usage` the last one has no choices and the usage."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class TextLogprobs(BaseModel):
    """Of one choice, token by token. One that holds a part of a character is named by its bytes, `bytes:\\xf0\\x9f`."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    """Where each token begins, in characters of all tokens' bytes together; one that goes on with a character begins where that does."""


class TextChoice(BaseModel):
    """A completion, or in a stream a piece of one."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishWord | None


class TextCompletion(BaseModel):
    """Of /v1/completions; streams send the same shape piece by piece."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Usage | None = None


class Status(BaseModel):
    """Of /health and /ready."""

    status: Literal["ok", "stuck", "failed", "draining"]
