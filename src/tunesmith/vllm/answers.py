"""Prompts to completions by vLLM, as `engine.generation.generate` gives them: the same tokens in, the same rules for where an answer ends.

Tokens go in and come out, so neither its chat template nor its tokenizer has a say. It stops at our stop tokens and no others
(`ignore_eos`), and what it produced is read once more by our rules, token by token.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

import openai

from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.text_stream import TextStream
from tunesmith.errors import AssetError, ConfigError
from tunesmith.types import Completion, FinishReason
from tunesmith.vllm.server import VllmServer


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model's tokens are read."""

    stop_ids: Collection[int]
    """A completion ends with the first of these."""
    context_length: int
    """Most tokens of prompt and completion together."""
    parse: Callable[[Sequence[int]], str]
    """Turns a completion's token ids into its text."""


def complete(
    server: VllmServer,
    model: str,
    prompts: Sequence[Sequence[int]],
    config: GenerateConfig,
    reading: Reading,
    on_progress: Callable[[int], None] | None = None,
) -> list[Completion]:
    """Complete every prompt, `config.batch_size` under way at a time; the completions come in the prompts' order.

    Args:
        model: its name at the server.
        prompts: token ids that leave room in the context.
        on_progress: called with the number of completions done.

    Raises:
        AssetError: vLLM ended, refused a prompt, or does not say which tokens it produced.
        ConfigError: log-probabilities are asked for.
    """
    if config.logprobs is not None:
        raise ConfigError(
            "logprobs", "log-probabilities by vLLM", expected="those of our own engine", remedy="leave them out, or use --engine tunesmith"
        )
    if not prompts:
        return []
    pool = ThreadPoolExecutor(min(config.batch_size, len(prompts)))
    try:
        under_way = {pool.submit(_ask, server, model, prompt, config, reading, i): i for i, prompt in enumerate(prompts)}
        found: dict[int, Completion] = {}
        for future in as_completed(under_way):
            found[under_way[future]] = future.result()
            if on_progress:
                on_progress(len(found))
        return [found[i] for i in range(len(prompts))]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after an error those under way end with the server


def _ask(server: VllmServer, model: str, prompt: Sequence[int], config: GenerateConfig, reading: Reading, number: int) -> Completion:
    room = min(config.max_new_tokens, reading.context_length - len(prompt))
    extra: dict[str, Any] = {
        **({"top_k": config.top_k} if config.top_k else {}),
        "min_p": config.min_p,
        "repetition_penalty": config.repetition_penalty,
        "ignore_eos": True,
        "stop_token_ids": sorted(reading.stop_ids),
        "skip_special_tokens": False,
        "return_token_ids": True,
    }
    try:
        reply = server.client.completions.create(
            model=model,
            prompt=list(prompt),
            max_tokens=room,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=config.seed + number,
            stop=list(config.stop) or None,
            extra_body=extra,
        )
    except openai.APIStatusError as error:
        raise server.trouble(f"it did not answer a prompt of {len(prompt):,} tokens ({error.message})") from None
    except openai.APIError as error:
        raise server.trouble(f"the connection to it broke ({error})") from None
    choice = reply.choices[0]
    ids = (choice.model_extra or {}).get("token_ids")
    if ids is None or choice.finish_reason not in ("stop", "length"):
        raise _unreadable(server, "no token ids" if ids is None else f"finish_reason {choice.finish_reason!r}")
    if choice.finish_reason == "length" and len(ids) < room:
        raise AssetError(
            f"vLLM {server.version}",
            f"it ended an answer after {len(ids):,} tokens for its length, where {room:,} were asked for",
            expected="no limit of its own",
            remedy="see --vllm-options for one, or use --engine tunesmith",
        )
    return read_completion(ids, choice.text, config, reading, room=room)


def read_completion(ids: Sequence[int], text: str, config: GenerateConfig, reading: Reading, *, room: int) -> Completion:
    """What our engine would have made of these tokens.

    Args:
        ids: as produced.
        text: theirs, cut before a stop string if it was that which ended them.
        room: most tokens there could be.
    """
    stream, shown = TextStream(reading.parse, config.stop), ""
    at_most: FinishReason = "max_new_tokens" if room == config.max_new_tokens else "context_full"
    for num_done, token in enumerate(ids, 1):
        reason: FinishReason | None = "end_of_turn" if token in reading.stop_ids else at_most if num_done == room else None
        if config.stop:
            shown += "" if reason == "end_of_turn" else stream.add(token)
            shown += stream.end() if reason else ""
            reason = "stop_string" if stream.is_stopped else reason
        if reason:
            own = tuple(ids[:num_done])
            return Completion(text=shown if reason == "stop_string" else reading.parse(own), token_ids=own, finish_reason=reason)
    return Completion(text=text, token_ids=tuple(ids), finish_reason="stop_string")  # it saw one in its own decoding


def _unreadable(server: VllmServer, found: str) -> AssetError:
    return AssetError(
        f"vLLM {server.version}",
        f"its answer has {found}",
        expected="the tokens it produced, which vLLM gives since 0.10.2",
        remedy="install a later vLLM, or use --engine tunesmith",
    )
