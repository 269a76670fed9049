"""Prompts to completions; greedy by default.

>>> generate(network, prompts, GenerateConfig(), stop_ids=stop_ids, context_length=2048, parse=renderer.parse)
[Completion(text='Open Settings …', …), …]

Both functions run a `Decoder` (`engine/generation/decoder.py`) until it is done. A completion does not depend on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from transformers import PreTrainedModel

from tunesmith.config import GenerateConfig
from tunesmith.distributed.group import current_group
from tunesmith.engine.dealing import deal
from tunesmith.engine.generation.adapter_switch import AS_IT_IS
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.sequences import NewToken, Request
from tunesmith.types import Completion


def generate(
    network: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    config: GenerateConfig,
    *,
    stop_ids: Collection[int],
    context_length: int,
    parse: Callable[[Sequence[int]], str],
    on_progress: Callable[[int], None] | None = None,
) -> list[Completion]:
    """Complete every prompt; the completions come in the prompts' order, without the prompts. Ranks of a group share the work.

    Args:
        network: in evaluation mode; the adapter that acts in it, if one does, takes part.
        prompts: token ids, already cut to fit (`GenerateConfig.max_prompt_tokens` is the renderer's business).
        config: how to decode.
        stop_ids: a completion ends with the first of these.
        context_length: most tokens of prompt and completion together.
        parse: turns a completion's token ids into its text.
        on_progress: called with the number of completions done.

    Raises:
        DataError: a prompt is empty or longer than the context.
    """
    group = current_group()
    own = deal([len(prompt) for prompt in prompts], num_hands=group.size)[group.rank]  # longest first
    news: dict[int, list[NewToken]] = {i: [] for i in own}
    num_done = 0
    keyed = {i: prompts[i] for i in own}
    for new in decode(network, keyed, config, stop_ids=stop_ids, context_length=context_length, parse=parse):
        news[new.prompt].append(new)
        if new.finish_reason is not None:
            num_done += 1
            if on_progress:
                on_progress(min(len(prompts), num_done * group.size))
    everyones = group.gather_parts({i: _completion(tokens, config, parse) for i, tokens in news.items()})
    return [everyones[i] for i in range(len(prompts))]


def decode(
    network: PreTrainedModel,
    prompts: Mapping[int, Sequence[int]],
    config: GenerateConfig,
    *,
    stop_ids: Collection[int],
    context_length: int,
    parse: Callable[[Sequence[int]], str] | None = None,
    with_text: bool = False,
) -> Iterator[NewToken]:
    """Decode some prompts together, yielding every token as it comes; keys name the prompts, and decide what they sample.

    Args:
        network: in evaluation mode; the adapter that acts in it, if one does, takes part.
        prompts: token ids; they enter in this order, `GenerateConfig.batch_size` at a time.
        config: how to decode.
        stop_ids: a completion ends with the first of these.
        context_length: most tokens of prompt and completion together.
        parse: turns token ids into text; needed for stop strings and text.
        with_text: tokens carry the text that became certain with them.
    """
    if not prompts:
        return
    size = min(config.batch_size, len(prompts))
    decoder = Decoder(network, context_length=context_length, batch_size=size)
    request = Request(prompt_ids=(), config=config, stop_ids=frozenset(stop_ids), adapter=AS_IT_IS, parse=parse, with_text=with_text)
    keys = {decoder.submit(replace(request, prompt_ids=prompt, sample=key)): key for key, prompt in prompts.items()}
    while not decoder.is_idle:
        for new in decoder.step():
            yield new._replace(prompt=keys[new.prompt])


def _completion(news: Sequence[NewToken], config: GenerateConfig, parse: Callable[[Sequence[int]], str]) -> Completion:
    token_ids = tuple(new.token for new in news)
    reason = news[-1].finish_reason
    assert reason is not None
    text = "".join(new.text for new in news) if reason == "stop_string" else parse(token_ids)
    logprobs = None if config.logprobs is None else tuple(new.logprob for new in news if new.logprob is not None)
    return Completion(text=text, token_ids=token_ids, finish_reason=reason, logprobs=logprobs)
