"""Weights laid out the way a CPU's matrix products read them, for as long as a network only generates.

With few rows a product of oneDNN spends much of its time on that layout (measured on SmolLM2-135M in bfloat16: 40 rows through
all layers 34 ms, with weights laid out beforehand 26 ms). It is a copy of the weights: taken when a decoder is made, which
is when they have to be final, and gone with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.linear import LinearGroup, packed_product
from tunesmith.engine.loss import head_logits, output_head
from tunesmith.engine.room import room

EXPECTED_ROWS = 64
MOST_OF_ROOM = 0.25
"""Weights larger than this share of the memory this process could have are not copied."""


class PackedWeights:
    """Copies for all linear groups and the output head; of a network in bfloat16 on a CPU, else of nothing."""

    def __init__(self, network: PreTrainedModel) -> None:
        self._network = network
        self._groups: dict[LinearGroup, Tensor] = {}
        head = output_head(network)
        self._head: Tensor | None = None
        if not _is_worth_it(head.weight) or not _fits(network):
            return
        with torch.no_grad():
            if head.bias is None and head.scale == 1.0 and head.softcap is None:
                self._head = _pack(head.weight)
            for group in _groups(network):
                if group.is_supported():
                    self._groups[group] = _pack(group.weight())

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within the block the groups compute with their packed weights; nothing may train in it."""
        for group, packed in self._groups.items():
            group.packed = packed
        try:
            yield
        finally:
            for group in self._groups:
                group.packed = None

    def head_logits(self, hidden: Tensor) -> Tensor:
        """(n, V) logits of hidden states (n, E)."""
        if self._head is None:
            return head_logits(hidden, output_head(self._network))
        return packed_product(hidden, self._head, None)


def _pack(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), EXPECTED_ROWS)
    return packed


def _is_worth_it(weight: Tensor) -> bool:
    has_operators = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    return weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and has_operators


def _fits(network: PreTrainedModel) -> bool:
    num_bytes = sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())
    return bool(num_bytes <= MOST_OF_ROOM * room(torch.device("cpu")))


def _groups(network: PreTrainedModel) -> list[LinearGroup]:
    return [value for module in network.modules() for value in vars(module).values() if isinstance(value, LinearGroup)]
