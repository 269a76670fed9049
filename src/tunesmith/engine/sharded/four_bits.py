"""Frozen linear layers in four bits whose packed weights can be spread over processes: the numbers of `engine/quantize.py`.

A layer of bitsandbytes cannot be taken: it keeps what its packed numbers mean in the parameter, which FSDP replaces by others.
Here the parameter is nothing but bytes, row by row of the layer, and what they mean stays with the layer: about a fortieth of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import get_keys_to_not_convert
from transformers.quantizers.quantizers_utils import should_convert_module

from tunesmith.engine.quantize import BLOCK_SIZE, import_bitsandbytes_offline, require_bitsandbytes, unaligned
from tunesmith.errors import ConfigError


class FourBitLinear(nn.Linear):
    """(..., in) to (..., out); `weight` is (out, in / 2) uint8, two numbers a byte."""

    def __init__(self, layer: nn.Linear) -> None:
        """In the place of a layer on the meta device; its bias, if any, stays."""
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        packed = torch.empty(layer.out_features, layer.in_features // 2, dtype=torch.uint8, device="meta")
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = layer.bias
        self.meaning: Any = None
        """What bitsandbytes needs beside the bytes to know the numbers (its QuantState)."""
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        import bitsandbytes

        y: Tensor = bitsandbytes.matmul_4bit(x, self.weight, bias=self.bias, quant_state=self.meaning)
        return y

    @torch.no_grad()
    def pack(self, weight: Tensor, device: torch.device) -> Tensor:
        """(out, in / 2) bytes of float32 weights (out, in), found on the CPU; what they mean is kept on `device`."""
        from bitsandbytes.functional import quantize_4bit

        packed, self.meaning = quantize_4bit(
            weight.float().contiguous(), blocksize=BLOCK_SIZE, compress_statistics=True, quant_type="nf4", quant_storage=torch.uint8
        )
        self.meaning.to(device)
        result: Tensor = packed.view(self.out_features, -1)
        return result


def put_into_four_bits(network: PreTrainedModel) -> None:
    """Replace every linear layer but the head of a network on the meta device.

    Raises:
        ConfigError: the library is missing, a layer's rows are no whole number of blocks, or layers are of another kind.
    """
    require_bitsandbytes()
    import_bitsandbytes_offline()
    spared = get_keys_to_not_convert(network)
    for name, layer in list(network.named_modules()):
        if isinstance(layer, Conv1D):
            raise ConfigError(
                "--strategy fsdp",
                f"layers of {network.name_or_path} are of a kind ({type(layer).__name__}) that is not spread in four bits",
                expected="linear layers, as nearly all models have",
                remedy="use --strategy ddp",
            )
        if type(layer) is nn.Linear and should_convert_module(name, spared):
            if layer.in_features % BLOCK_SIZE:
                raise unaligned(network, name, layer.in_features)
            network.set_submodule(name, FourBitLinear(layer))
