"""Weights laid out the way a CPU's matrix products read them, for as long as a network only reads and generates.

With few rows a product of oneDNN spends much of its time on that layout (measured on SmolLM2-135M in bfloat16: 40 rows through
all layers 34 ms, with weights laid out beforehand 26 ms, in the layout of kernels/products.cpp 21 ms). It is a copy of the
weights: taken when a decoder is made or scoring begins, which is when they have to be final, and gone with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.kernels.products import PackedWeight, pack_weight
from tunesmith.engine.linear import LinearGroup
from tunesmith.engine.loss import head_logits, output_head
from tunesmith.engine.room import room

MOST_OF_ROOM = 0.25
"""Weights larger than this share of the memory this process could have are not copied."""


FEWEST_TOKENS = 2048
"""Laying weights out takes as long as products of some hundred tokens, and saves an eighth of those with many."""


class PackedWeights:
    """Copies for all linear groups and the output head; of a network in bfloat16 on a CPU, else of nothing."""

    def __init__(self, network: PreTrainedModel, *, num_tokens: int | None = None) -> None:
        """`num_tokens` are to be read, when that is known: nothing is copied for a few."""
        self._network = network
        self.groups: dict[LinearGroup, PackedWeight] = {}
        """The copies."""
        head = output_head(network)
        self._head: PackedWeight | None = None
        self.vocab_size: int = head.weight.shape[0]
        if (num_tokens is not None and num_tokens < FEWEST_TOKENS) or not _fits(network):
            return
        with torch.no_grad():
            if head.bias is None and head.scale == 1.0 and head.softcap is None:
                self._head = pack_weight(head.weight)
            for group in _groups(network):
                if group.is_supported() and (packed := pack_weight(group.weight())) is not None:
                    self.groups[group] = packed

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within the block the groups compute with their packed weights; nothing may train in it."""
        for group, packed in self.groups.items():
            group.packed = packed
        try:
            yield
        finally:
            for group in self.groups:
                group.packed = None

    def head_logits(self, hidden: Tensor) -> Tensor:
        """(n, V) logits of hidden states (n, E)."""
        if self._head is None:
            return head_logits(hidden, output_head(self._network))
        return self._head(hidden, None)


def _fits(network: PreTrainedModel) -> bool:
    num_bytes = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    return bool(num_bytes <= MOST_OF_ROOM * room(torch.device("cpu")))


def _groups(network: PreTrainedModel) -> list[LinearGroup]:
    return [value for module in network.modules() for value in vars(module).values() if isinstance(value, LinearGroup)]
