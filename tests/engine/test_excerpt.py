"""What of a network is tried: every kind of layer, in float32, and no more."""

from __future__ import annotations

import pytest
import torch

from tests.engine import reference
from tunesmith.engine.adapters import decoder_layers
from tunesmith.engine.excerpt import excerpt

SLIDING_THEN_FULL = ["sliding_attention"] * 3 + ["full_attention"] + ["sliding_attention"] * 3 + ["full_attention"]


@pytest.mark.parametrize(("kind", "settings", "needed"), [("llama", {}, 2), ("gemma3_text", {"layer_types": SLIDING_THEN_FULL}, 4)])
def test_layers_until_all_kinds_are_seen(kind: str, settings: dict[str, object], needed: int) -> None:
    network = reference.tiny(kind, num_hidden_layers=8, **settings).to(torch.bfloat16)
    small = excerpt(network)
    assert len(decoder_layers(small)) == small.config.num_hidden_layers == needed
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    assert len(decoder_layers(network)) == network.config.num_hidden_layers == 8
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}


def test_a_kind_that_comes_last_is_in_it() -> None:
    network = reference.tiny("llama", num_hidden_layers=6)
    decoder_layers(network)[5].self_attn.use_rope = False
    assert len(decoder_layers(excerpt(network))) == 6


def test_its_layers_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.engine.excerpt.MOST_TOKENS", 50)
    network = reference.tiny("llama", num_hidden_layers=2).eval()
    small = excerpt(network)
    token_ids = torch.arange(40)[None]
    assert small.get_input_embeddings().weight.shape[0] == small.config.vocab_size == 50
    torch.testing.assert_close(small(token_ids).logits, network(token_ids).logits[..., :50])
