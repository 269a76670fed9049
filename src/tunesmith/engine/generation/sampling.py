"""From logits to the next tokens: greedy, or drawn, for many sequences at once.

The steps and their order, each of them off by default (it is transformers' order too):

1. repetition penalty (Keskar et al. 2019, "CTRL", arXiv:1909.05858, section 4.1): logits of tokens that are in the prompt
   or the completion are divided by it where positive, multiplied where negative;
2. temperature: logits are divided by it; 0, or next to it, takes the likeliest token, and the rest does not matter;
3. top-k (Fan et al. 2018, arXiv:1805.04833): the k likeliest tokens;
4. top-p (Holtzman et al. 2020, arXiv:1904.09751): of those, the smallest set of likeliest tokens with this probability;
5. min-p (Nguyen et al. 2024, arXiv:2407.01082): of those, the tokens at least this fraction as likely as the likeliest;
6. a draw from what is left.

Every cut is at a value: tokens as likely as the last one kept stay too, so nothing depends on the order of a sort.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tunesmith.config import GenerateConfig
from tunesmith.engine.kernels import argmax
from tunesmith.types import TokenLogprob

CANDIDATES = 1024
"""Top-p sorts this many of the likeliest tokens, and the whole vocabulary only where they have too little probability."""
DRAWN_AT_ONCE = 64
COLDEST = 1e-5
"""Temperatures below it are 0: tokens that differ by a ten-thousandth would differ by ten nats, and what is colder yet overflows."""


class Sampler:
    """What one sequence brings to the choice of its next token: settings, random numbers, the tokens so far.

    Random numbers come from the seed and `sample` alone, one for each token, so a completion does not depend on what else
    is in the batch. Sample 1 under seed 0 is not sample 0 under seed 1.
    """

    def __init__(self, config: GenerateConfig, *, sample: int = 0, prompt_ids: Sequence[int] = ()) -> None:
        self.config = config
        self.is_greedy = config.temperature < COLDEST
        self.is_penalised = config.repetition_penalty != 1
        mixed = hashlib.sha256(f"{config.seed}:{sample}".encode()).digest()
        self._generator = None if self.is_greedy else torch.Generator().manual_seed(int.from_bytes(mixed[:7]))
        self._numbers: list[float] = []
        self._so_far = list(dict.fromkeys(prompt_ids)) if self.is_penalised else []
        self._is_new = set(self._so_far)

    def number(self) -> float:
        """The next random number, in [0, 1)."""
        if not self._numbers:
            self._numbers = torch.rand(DRAWN_AT_ONCE, dtype=torch.float64, generator=self._generator).tolist()[::-1]
        return self._numbers.pop()

    def add(self, token: int) -> None:
        """The completion grew by this token."""
        if self.is_penalised and token not in self._is_new:
            self._is_new.add(token)
            self._so_far.append(token)

    def penalise(self, logits: Tensor) -> None:
        """Change (V,) logits in place."""
        index = torch.tensor(self._so_far, device=logits.device)
        found = logits[index]
        penalty = self.config.repetition_penalty
        logits[index] = torch.where(found > 0, found / penalty, found * penalty)


def choose(logits: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each sequence.

    Args:
        logits: (B, V) float32, left as they are.
        samplers: one for each row.
    """
    if any(sampler.is_penalised for sampler in samplers):
        logits = logits.clone()
        for row, sampler in zip(logits, samplers, strict=True):
            if sampler.is_penalised:
                sampler.penalise(row)
    drawn = [row for row, sampler in enumerate(samplers) if not sampler.is_greedy]
    if len(drawn) == len(samplers):
        return _draw(logits, samplers)
    tokens: list[int] = argmax(logits).tolist()
    if drawn:
        for row, token in zip(drawn, _draw(logits[drawn], [samplers[row] for row in drawn]), strict=True):
            tokens[row] = token
    return tokens


def _draw(logits: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    configs = [sampler.config for sampler in samplers]
    highest = logits.amax(-1, keepdim=True)  # subtracted first, so that the division cannot overflow
    scores = (logits - highest) / _column([config.temperature for config in configs], logits)
    cutoff = _cutoff(scores, configs)
    if cutoff is not None:
        scores.masked_fill_(scores < cutoff, float("-inf"))
    reached = scores.softmax(-1).cumsum(-1)  # (B, V)
    total = reached[:, -1:]
    numbers = _column([sampler.number() for sampler in samplers], logits)
    # Strictly below the total, else rounding could draw a token that was cut.
    target = torch.minimum(numbers * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(reached, target, right=True)[:, 0].tolist()


def _cutoff(scores: Tensor, configs: Sequence[GenerateConfig]) -> Tensor | None:
    """(B, 1) the lowest score that stays; None when no setting cuts anything."""
    size = scores.shape[1]
    top_ks = [min(config.top_k or size, size) for config in configs]
    has_top_p = any(config.top_p < 1 for config in configs)
    has_min_p = any(config.min_p > 0 for config in configs)
    limited = [k for k in top_ks if k < size]
    if not (limited or has_top_p or has_min_p):
        return None
    cutoff = scores.new_full((len(scores), 1), float("-inf"))
    likeliest = scores.topk(min(size, max(CANDIDATES if has_top_p else 1, *limited, 1))).values  # (B, C), highest first
    if limited:
        last = torch.tensor([k - 1 if k < size else 0 for k in top_ks], device=scores.device)[:, None]
        is_limited = torch.tensor([k < size for k in top_ks], device=scores.device)[:, None]
        cutoff = torch.where(is_limited, likeliest.gather(1, last), cutoff)
    if has_top_p:
        cutoff = torch.maximum(cutoff, _nucleus(scores, likeliest, cutoff, [config.top_p for config in configs]))
    if has_min_p:
        log_min_p = [math.log(config.min_p) if config.min_p > 0 else float("-inf") for config in configs]
        cutoff = torch.maximum(cutoff, likeliest[:, :1] + _column(log_min_p, scores))
    return cutoff


def _nucleus(scores: Tensor, likeliest: Tensor, cutoff: Tensor, top_ps: Sequence[float]) -> Tensor:
    """(B, 1) the lowest score of the smallest set of likeliest tokens with probability `top_p`, of those above `cutoff`."""
    # Where all are allowed, -inf: rounding must not cut what the setting does not.
    unlimited = torch.tensor([top_p >= 1 for top_p in top_ps], device=scores.device)[:, None]
    limits = _column(top_ps, scores)
    normaliser = scores.masked_fill(scores < cutoff, float("-inf")).logsumexp(-1, keepdim=True)
    probability = (likeliest.masked_fill(likeliest < cutoff, float("-inf")) - normaliser).exp()
    reached = probability.cumsum(-1)
    if likeliest.shape[1] < scores.shape[1] and not bool((unlimited | (reached[:, -1:] >= limits) | (likeliest[:, -1:] < cutoff)).all()):
        return _nucleus(scores, scores.sort(descending=True).values, cutoff, top_ps)
    num_kept = (reached - probability < limits).sum(-1, keepdim=True).clamp(min=1)
    return likeliest.gather(1, num_kept - 1).masked_fill(unlimited, float("-inf"))


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


def log_probabilities(logits: Tensor, tokens: Sequence[int], num_top: Sequence[int | None]) -> list[TokenLogprob | None]:
    """Of the chosen tokens and the likeliest ones, under the logits as the model gave them.

    Args:
        logits: (B, V) float32.
        tokens: chosen, one for each row.
        num_top: how many of the likeliest tokens for each row; None gives nothing for it.
    """
    found: list[TokenLogprob | None] = [None] * len(tokens)
    rows = [row for row, number in enumerate(num_top) if number is not None]
    if not rows:
        return found
    logprobs = logits[rows].log_softmax(-1)
    chosen = logprobs.gather(1, torch.tensor([tokens[row] for row in rows], device=logits.device)[:, None])[:, 0].tolist()
    top = logprobs.topk(max(num_top[row] or 0 for row in rows))
    ids, values = top.indices.tolist(), top.values.tolist()
    for place, row in enumerate(rows):
        likeliest = tuple(zip(ids[place], values[place], strict=True))[: num_top[row]]
        found[row] = TokenLogprob(token=tokens[row], logprob=chosen[place], top=likeliest)
    return found
