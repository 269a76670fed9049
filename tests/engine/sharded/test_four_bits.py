"""Four bits that can be spread: the layers, bytes and results of bitsandbytes' own layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tunesmith.engine.loading import load_model
from tunesmith.engine.sharded.four_bits import FourBitLinear, put_into_four_bits
from tunesmith.engine.sharded.hollow import load_hollow
from tunesmith.engine.sharded.reading import WeightFolder
from tunesmith.errors import ConfigError

bitsandbytes = pytest.importorskip("bitsandbytes")

CPU = torch.device("cpu")


@pytest.mark.parametrize("which", ["llama", "gemma"])
def test_the_very_numbers_of_bitsandbytes(request: pytest.FixtureRequest, which: str) -> None:
    folder: Path = request.getfixturevalue(f"wide_{which}")
    hollow = load_hollow(folder, dtype=torch.float32).network
    put_into_four_bits(hollow)
    quantized = load_model(folder, dtype=torch.float32, device=CPU, quantize=True).network
    expected = {name: layer for name, layer in quantized.named_modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)}
    found = {name: layer for name, layer in hollow.named_modules() if isinstance(layer, FourBitLinear)}
    assert found.keys() == expected.keys()
    weights = WeightFolder(folder)
    for name, layer in found.items():
        packed = layer.pack(weights.whole(f"{name}.weight"), CPU)
        assert packed.shape == (layer.out_features, layer.in_features // 2) == layer.weight.shape
        assert torch.equal(packed.view(-1), expected[name].weight.view(-1))
        layer.weight = nn.Parameter(packed, requires_grad=False)
        results = []
        for one in (layer, expected[name]):
            x = torch.linspace(-1, 1, 3 * layer.in_features).view(3, -1).requires_grad_()
            y = one(x)
            y.square().sum().backward()
            results.append((y.detach(), x.grad))
        for mine, theirs in zip(*results, strict=True):
            assert torch.equal(mine, theirs)


def test_rows_that_are_no_whole_number_of_blocks_are_refused(tiny_llama: Path) -> None:
    with pytest.raises(ConfigError, match="48 inputs"):
        put_into_four_bits(load_hollow(tiny_llama, dtype=torch.float32).network)
