"""Architectures that a pack would silently change are refused before they are trained."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tunesmith.engine.parity import refuse_unfaithful
from tunesmith.errors import AssetError


def test_the_usual_ones_pass(network: PreTrainedModel) -> None:
    before = torch.get_rng_state()
    refuse_unfaithful(network)
    assert torch.equal(torch.get_rng_state(), before)
    assert network.config._attn_implementation != "tunesmith_segments"


@pytest.mark.parametrize(
    ("kind", "settings", "found"),
    [
        ("bloom", {"n_layer": 2, "n_head": 4}, "computes other losses"),  # ALiBi
        ("falcon", {"alibi": True, "new_decoder_architecture": False}, "computes other losses"),
        ("gpt_oss", {"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}, "computes other losses"),  # sinks
        ("mamba", {"state_size": 8}, "computes other losses"),
        ("stablelm", {}, "cannot run several examples in one sequence"),  # keeps the segments to itself
    ],
)
def test_the_odd_ones_are_refused(kind: str, settings: dict[str, int], found: str) -> None:
    with pytest.raises(AssetError, match=found):
        refuse_unfaithful(reference.tiny(kind, **settings))


def test_a_broken_attention_would_be_found(network: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.engine.attention._causal_mask", lambda length, window, like: torch.zeros(length, length))
    with pytest.raises(AssetError, match="computes other losses"):
        refuse_unfaithful(network)
