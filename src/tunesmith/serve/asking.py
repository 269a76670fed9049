"""From what a client sent to sequences for the decoder, or to an error that names the parameter."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.config import GenerateConfig, ServeConfig
from tunesmith.engine.generation.sequences import Request
from tunesmith.errors import ConfigError, DataError
from tunesmith.serve.problems import context_exceeded, invalid
from tunesmith.serve.schema import ChatMessage, ChatRequest, CompletionRequest, Content, Generating
from tunesmith.together import ServedModel
from tunesmith.types import Message

TEXT_COMPLETION_TOKENS = 16
"""Of a completion whose request names no number, as at OpenAI."""
MOST_LOGPROBS = 100_000
"""Of an answer: each of its tokens' and those of the likeliest ones in its place; about 70 bytes each as a client gets them."""
SMALLEST_TOP_P = 1e-9
"""What 0 means: the likeliest token alone."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that can be answered."""

    model: ServedModel
    requests: tuple[Request, ...]
    """A prompt's `n` completions one after another; their place is the choice's index."""
    num_prompt_tokens: int
    """Of every prompt once."""


def conversation(body: ChatRequest) -> tuple[Message, ...]:
    """The messages as the renderer takes them.

    Raises:
        ApiError: the user does not have the last word.
    """
    if body.messages[-1].role != "user":
        message = f"The last message must be the user's, not one of role {body.messages[-1].role!r}: that is what the model answers."
        raise invalid("messages", message)
    return tuple(_message(one) for one in body.messages)


def _message(message: ChatMessage) -> Message:
    return Message(role="system" if message.role == "developer" else message.role, content=_text(message.content))


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


def ask_chat(model: ServedModel, body: ChatRequest, messages: Sequence[Message], config: ServeConfig) -> Asked:
    """Render a conversation; takes as long as its text is long.

    Raises:
        ApiError: the template or the context has no place for it, or parameters contradict each other.
    """
    if body.top_logprobs is not None and not body.logprobs:
        raise invalid("top_logprobs", "top_logprobs needs logprobs to be true.")
    wanted = _agreed(body)
    ids = _chat_ids(model, messages)
    name = "max_completion_tokens" if body.max_completion_tokens is not None else "max_tokens"
    room = _room(model, ids, wanted, config, prompt_param="messages", tokens_param=name)
    top = (body.top_logprobs or 0) if body.logprobs else None
    return _asked(model, body, [ids], [wanted or min(config.max_tokens, room)], config, top)


def _agreed(body: ChatRequest) -> int | None:
    both = {body.max_tokens, body.max_completion_tokens} - {None}
    if len(both) > 1:
        raise invalid("max_tokens", "max_tokens and max_completion_tokens are two names of one number; send one of them.")
    return both.pop() if both else None


def _chat_ids(model: ServedModel, messages: Sequence[Message]) -> tuple[int, ...]:
    if not model.trained_on_text:
        try:
            return model.renderer.prompt_ids(messages)
        except (ConfigError, DataError) as error:
            raise invalid("messages", f"{error.place}: {error.found}; expected {error.expected}.") from error
    if len(messages) > 1:
        text = f"{model.name} was trained on raw text and continues one; it takes a single user message, or /v1/completions."
        raise invalid("messages", text)
    return model.renderer.text_prompt_ids(messages[0].content)


def ask_completion(model: ServedModel, body: CompletionRequest, texts: Sequence[str | list[int]], config: ServeConfig) -> Asked:
    """Make tokens of prompts that are continued as they stand.

    Raises:
        ApiError: a prompt is empty, too long or holds ids that the model has no tokens for.
    """
    prompts = [_prompt_ids(model, one) for one in texts]
    wanted = body.max_tokens or min(TEXT_COMPLETION_TOKENS, config.max_tokens)
    for ids in prompts:
        _room(model, ids, wanted, config, prompt_param="prompt", tokens_param="max_tokens")
    return _asked(model, body, prompts, [wanted] * len(prompts), config, body.logprobs)


def prompts_of(body: CompletionRequest) -> list[str | list[int]]:
    """One, or several."""
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if prompt and isinstance(prompt[0], int):
        return [prompt]
    return list(prompt)  # type: ignore[arg-type]


def require_few(body: Generating, num_prompts: int, config: ServeConfig) -> None:
    """Before anything is done about the prompts.

    Raises:
        ApiError: more completions are asked for than one request may have.
    """
    count = num_prompts * (body.n or 1)
    if count > config.max_choices:
        raise invalid("n", f"{count:,} completions in one request; this server makes at most {config.max_choices}.")


def _prompt_ids(model: ServedModel, prompt: str | list[int]) -> tuple[int, ...]:
    if isinstance(prompt, str):
        return model.renderer.text_prompt_ids(prompt)
    size = model.base.network.get_input_embeddings().num_embeddings
    if wrong := [token for token in prompt if token >= size]:
        raise invalid("prompt", f"{wrong[0]} is no token of {model.name}, which has the ids 0 to {size - 1}.")
    return tuple(prompt)


def _room(model: ServedModel, ids: Sequence[int], wanted: int | None, config: ServeConfig, *, prompt_param: str, tokens_param: str) -> int:
    """Tokens the context leaves for a completion."""
    if not ids:
        raise invalid(prompt_param, "The prompt is empty.")
    if wanted is not None and wanted > config.max_tokens:
        raise invalid(tokens_param, f"This server makes at most {config.max_tokens:,} tokens a completion, not {wanted:,}.")
    room = model.context_length - len(ids)
    if room < (wanted or 1):
        raise context_exceeded(prompt_param, len(ids), wanted or 1, model.context_length)
    return room


def _asked(
    model: ServedModel, body: Generating, prompts: Sequence[Sequence[int]], sizes: Sequence[int], config: ServeConfig, logprobs: int | None
) -> Asked:
    count = body.n or 1
    if body.stream_options is not None and not body.stream:
        raise invalid("stream_options", "stream_options needs stream to be true.")
    _require_few_logprobs(body, sum(sizes) * count, logprobs)
    base = _decoding(body, config, logprobs)
    requests = [
        model.request(ids, base.model_copy(update={"max_new_tokens": size}), sample=place * count + number, with_text=True)
        for place, (ids, size) in enumerate(zip(prompts, sizes, strict=True))
        for number in range(count)
    ]
    return Asked(model=model, requests=tuple(requests), num_prompt_tokens=sum(map(len, prompts)))


def _require_few_logprobs(body: Generating, num_tokens: int, logprobs: int | None) -> None:
    number = 0 if logprobs is None else num_tokens * (1 + logprobs)
    if number > MOST_LOGPROBS:
        message = (
            f"{number:,} log-probabilities could come of {num_tokens:,} tokens; this server gives at most {MOST_LOGPROBS:,} in one answer. "
            "Ask for fewer completions, tokens or likeliest tokens."
        )
        raise invalid("top_logprobs" if isinstance(body, ChatRequest) else "logprobs", message)


def _decoding(body: Generating, config: ServeConfig, logprobs: int | None) -> GenerateConfig:
    """How to decode: what the request says, and the server's defaults."""
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    return GenerateConfig(
        temperature=config.temperature if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else max(body.top_p, SMALLEST_TOP_P),
        top_k=body.top_k,
        min_p=body.min_p or 0.0,
        repetition_penalty=body.repetition_penalty or 1.0,
        stop=stop,
        logprobs=logprobs,
        seed=secrets.randbits(63) if body.seed is None else body.seed,
    )
