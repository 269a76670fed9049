"""Prompts to completions, batched; greedy by default.

Prompts are padded on the left, so every sequence ends at the same place; a finished one leaves the batch. Sampling draws
from one generator for each prompt, so a completion does not depend on what else is in the batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tunesmith.config import GenerateConfig
from tunesmith.types import Completion, FinishReason

LIVE_SHARE = 0.75
"""Finished sequences are taken out of the cache (a copy) once fewer than this share of its rows still run."""


class NewToken(NamedTuple):
    """One decoding step of one sequence."""

    prompt: int
    """Which prompt: its key."""
    token: int
    finish_reason: FinishReason | None
    """Set with the last token."""


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
    """Complete every prompt; the completions come in the prompts' order, without the prompts.

    Args:
        prompts: token ids, already cut to fit (`GenerateConfig.max_prompt_tokens` is the renderer's business).
        stop_ids: a completion ends with the first of these.
        context_length: most tokens of prompt and completion together.
        parse: turns a completion's token ids into its text.
        on_progress: called with the number of completions done.
    """
    tokens: list[list[int]] = [[] for _ in prompts]
    reasons: dict[int, FinishReason] = {}
    by_length = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    for start in range(0, len(prompts), config.batch_size):
        batch = by_length[start : start + config.batch_size]
        for new in decode(network, {i: prompts[i] for i in batch}, config, stop_ids=stop_ids, context_length=context_length):
            tokens[new.prompt].append(new.token)
            if new.finish_reason:
                reasons[new.prompt] = new.finish_reason
                if on_progress:
                    on_progress(len(reasons))
    return [Completion(text=parse(ids), token_ids=tuple(ids), finish_reason=reasons[i]) for i, ids in enumerate(tokens)]


@torch.inference_mode()
def decode(
    network: PreTrainedModel,
    prompts: dict[int, Sequence[int]],
    config: GenerateConfig,
    *,
    stop_ids: Collection[int],
    context_length: int,
) -> Iterator[NewToken]:
    """Decode some prompts together, yielding every token as it comes; keys name the prompts."""
    indices = list(prompts)
    counts = dict.fromkeys(indices, 0)
    samplers = {index: _sampler(config.seed, index, network.device) for index in indices}
    token_ids, mask = _left_pad([prompts[i] for i in indices], network.device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=network.config)
    rows = list(range(len(indices)))  # row of each sequence in the cache
    while indices:
        logits = network(
            input_ids=token_ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits[:, -1]
        chosen = logits.argmax(-1).tolist() if config.temperature == 0 else None
        next_tokens = torch.zeros(len(mask), dtype=torch.long)
        live_indices, live_rows = [], []
        for index, row in zip(indices, rows, strict=True):
            token = chosen[row] if chosen else _sample(logits[row], config, samplers[index])
            next_tokens[row] = token
            counts[index] += 1
            reason = _finish_reason(token, counts[index], len(prompts[index]), config, stop_ids, context_length)
            yield NewToken(index, token, reason)
            if reason is None:
                live_indices.append(index)
                live_rows.append(row)
        indices, rows = live_indices, live_rows
        if rows and len(rows) < LIVE_SHARE * len(mask):
            keep = torch.tensor(rows)
            cache.batch_select_indices(keep.to(network.device))
            mask, positions, next_tokens = mask[rows], positions[rows], next_tokens[keep]
            rows = list(range(len(rows)))
        token_ids = next_tokens[:, None].to(network.device)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        positions = (positions[:, -1:] + 1).clamp(max=context_length - 1)  # finished rows run on for a while


def _sampler(seed: int, index: int, device: torch.device) -> torch.Generator:
    """One for each prompt and seed; prompt 1 under seed 0 is not prompt 0 under seed 1."""
    mixed = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(mixed[:7]))


def _left_pad(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, P) token ids and (B, P) mask, 1 where a token stands."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask


def _finish_reason(
    token: int, num_new: int, num_prompt: int, config: GenerateConfig, stop_ids: Collection[int], context_length: int
) -> FinishReason | None:
    if token in stop_ids:
        return "end_of_turn"
    if num_new >= config.max_new_tokens:
        return "max_new_tokens"
    return "context_full" if num_prompt + num_new >= context_length else None


def _sample(logits: Tensor, config: GenerateConfig, generator: torch.Generator) -> int:
    """Draw one token from (V,) logits after temperature, top-k and top-p, in that order."""
    scores = logits.float() / config.temperature
    if config.top_k is not None and config.top_k < len(scores):
        scores = scores.masked_fill(scores < scores.topk(config.top_k).values[-1], float("-inf"))
    if config.top_p < 1:
        ordered, order = scores.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)  # probability of everything more likely
        scores[order[before >= config.top_p]] = float("-inf")
    return int(torch.multinomial(scores.softmax(-1), 1, generator=generator))
