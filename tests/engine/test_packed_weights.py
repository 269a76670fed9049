"""Weights laid out for generation give what the weights give, and are gone with the decoder."""

from __future__ import annotations

import pytest
import torch

from tests.engine import reference
from tunesmith.engine.fast import speed_up
from tunesmith.engine.loss import head_logits, output_head
from tunesmith.engine.packed_weights import PackedWeights, _groups


@pytest.mark.parametrize("architecture", ["llama", "gemma"])
def test_the_same_products(architecture: str) -> None:
    network = reference.tiny(architecture).to(torch.bfloat16)
    speed_up(network)
    packed = PackedWeights(network)
    groups = _groups(network)
    assert groups
    with torch.no_grad():
        for group in groups:
            x = torch.randn(5, group.weight().shape[1], dtype=torch.bfloat16)
            plain = group.forward(x).y
            with packed.on():
                assert group.packed is not None
                torch.testing.assert_close(group.forward(x).y, plain, rtol=2e-2, atol=2e-2)
            assert group.packed is None
        hidden = torch.randn(3, output_head(network).weight.shape[1], dtype=torch.bfloat16)
        torch.testing.assert_close(
            packed.head_logits(hidden).float(), head_logits(hidden, output_head(network)).float(), rtol=2e-2, atol=2e-2
        )


def test_nothing_is_packed_in_float32() -> None:
    network = reference.tiny("llama")
    speed_up(network)
    with PackedWeights(network).on():
        assert all(group.packed is None for group in _groups(network))


def test_weights_that_change_afterwards_are_not_seen() -> None:
    """Which is why a decoder takes its copy when it is made, and the plain way reads the weights themselves."""
    network = reference.tiny("llama").to(torch.bfloat16)
    speed_up(network)
    packed, group = PackedWeights(network), _groups(network)[0]
    x = torch.randn(2, group.weight().shape[1], dtype=torch.bfloat16)
    with torch.no_grad():
        before = group.forward(x).y
        group.bases[0].weight.mul_(2)
        with packed.on():
            torch.testing.assert_close(group.forward(x).y, before, rtol=2e-2, atol=2e-2)
        assert not torch.allclose(group.forward(x).y, before, rtol=2e-2, atol=2e-2)
