"""The network over padded batches with transformers' own cache: for architectures that cannot attend by slots.

Prompts are padded on the left, so every sequence ends at the same place. A batch enters as a whole and the next one waits
for its last sequence; rows of finished sequences are taken out of the cache now and then. A batch is of one adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tunesmith.engine.generation.adapter_switch import AdapterSwitch
from tunesmith.engine.generation.sequences import Running

LIVE_SHARE = 0.75
"""Finished sequences are taken out of the cache (a copy) once fewer than this share of its rows still run."""


class PaddedRunner:
    """Works for any decoder with a `DynamicCache`; slower than slots."""

    def __init__(self, network: PreTrainedModel, switch: AdapterSwitch, *, batch_size: int, context_length: int) -> None:
        self._network, self._switch = network, switch
        self._batch_size = batch_size
        self._context_length = context_length
        self._rows: list[Running | None] = []

    def admit(self, waiting: Sequence[Running], running: Sequence[Running]) -> list[Running]:
        """A whole batch, once the last one is done: the first in line, and others of its adapter."""
        return [] if running else [one for one in waiting if one.adapter == waiting[0].adapter][: self._batch_size]

    def release(self, gone: Running) -> None:
        """Its row runs on, unheard, until rows are taken out."""
        self._rows = [None if one is gone else one for one in self._rows]

    def logits(self, entering: Sequence[Running], running: Sequence[Running]) -> Tensor:
        """(E + R, V) float32 for the next token of each; one of E and R is 0."""
        if entering:
            self._begin(entering)
        else:
            self._grow(running)
        under_way = (*entering, *running)
        with self._switch.to(under_way[0].adapter):
            logits: Tensor = self._network(
                input_ids=self._token_ids,
                attention_mask=self._mask,
                position_ids=self._positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        rows = [self._rows.index(one) for one in under_way]
        return logits[torch.tensor(rows, device=logits.device)].float()

    def _begin(self, entering: Sequence[Running]) -> None:
        self._rows = list(entering)
        self._token_ids, self._mask = _left_pad([one.prompt_ids for one in entering], self._network.device)
        self._positions = (self._mask.cumsum(1) - 1).clamp(min=0)
        self._cache = DynamicCache(config=self._network.config)

    def _grow(self, running: Sequence[Running]) -> None:
        if len(running) < LIVE_SHARE * len(self._rows):
            keep = torch.tensor([row for row, one in enumerate(self._rows) if one is not None], device=self._network.device)
            self._cache.batch_select_indices(keep)
            self._mask, self._positions = self._mask[keep], self._positions[keep]
            self._rows = [one for one in self._rows if one is not None]
        tokens = [0 if one is None else one.last_token for one in self._rows]
        self._token_ids = torch.tensor(tokens, device=self._network.device)[:, None]
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        # Finished rows run on for a while, and must not ask for positions the model does not have.
        self._positions = (self._positions[:, -1:] + 1).clamp(max=self._context_length - 1)


def _left_pad(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, P) token ids and (B, P) mask, 1 where a token stands."""
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask
