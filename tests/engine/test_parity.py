"""Architectures that a pack would silently change run in padded batches; those with odd logits are refused."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tests.engine.architectures import num_tokens, relatives
from tests.samples import random_examples
from tunesmith.engine.attention import attending_by_segments, can_share, packs_faithfully
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import build_pack, plan_packs
from tunesmith.engine.parity import refuse_unfaithful
from tunesmith.engine.score import score
from tunesmith.engine.segments import Bucket, Places
from tunesmith.errors import AssetError

ODD = {
    "bloom": ({"n_layer": 2, "n_head": 4}, "does not attend through transformers' attention interface"),  # ALiBi
    "mpt": ({"n_layers": 2, "n_heads": 4, "d_model": 32, "max_seq_len": 128}, "does not attend through"),  # ALiBi
    "falcon": ({"alibi": True, "new_decoder_architecture": False}, "does not attend through"),
    "gpt_oss": ({"head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}, "computes something else"),  # sinks
    "stablelm": ({}, "cannot run several examples in one sequence"),  # keeps the segments to itself
}


def odd(kind: str) -> PreTrainedModel:
    return reference.tiny(kind, **ODD[kind][0])


def told(network: PreTrainedModel) -> list[str]:
    sentences: list[str] = []
    packs_faithfully(network, sentences.append)
    return sentences


def test_the_usual_ones_pack(network: PreTrainedModel) -> None:
    before = torch.get_rng_state()
    network.train()
    assert told(network) == []
    assert packs_faithfully(network)
    assert all(module.training for module in network.modules())
    refuse_unfaithful(network.eval())
    assert torch.equal(torch.get_rng_state(), before)
    assert network.config._attn_implementation != "tunesmith_segments"


def test_rounding_is_no_reason(network: PreTrainedModel) -> None:
    assert packs_faithfully(network.to(torch.bfloat16))


@pytest.mark.parametrize("kind", ODD)
def test_the_odd_ones_are_found_and_it_is_said_once(kind: str) -> None:
    network = odd(kind)
    (sentence,) = told(network)
    assert ODD[kind][1] in sentence
    assert "padded batches" in sentence
    assert told(network) == []
    assert not can_share(network)


def test_an_odd_one_is_found_without_being_asked() -> None:
    network = odd("bloom")
    with pytest.warns(UserWarning, match="padded batches"):
        score(network, random_examples([5, 3], 100))


def test_rounding_does_not_hide_an_odd_one() -> None:
    assert "computes something else" in "".join(told(odd("gpt_oss").to(torch.bfloat16)))


def test_a_broken_attention_would_be_found(network: PreTrainedModel, in_buckets: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def everything(bucket: Bucket, places: Places, window: int | None) -> torch.Tensor:
        return torch.ones(bucket.num_cells if bucket.tree else 1, bucket.max_length, bucket.num_keys, dtype=torch.bool)

    monkeypatch.setattr("tunesmith.engine.segments._visible", everything)
    assert "computes something else" in "".join(told(network))


def test_logits_that_the_engine_does_not_know_are_refused(network: PreTrainedModel) -> None:
    network.get_output_embeddings().register_forward_hook(lambda module, inputs, logits: logits * 1.1)
    with pytest.raises(AssetError, match="computes other losses"):
        refuse_unfaithful(network)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("kind", ODD)
def test_padded_batches_compute_what_each_example_computes_alone(kind: str, share: bool) -> None:
    """Losses and gradients, through the function that training calls; also where a pack was built with shared prefixes."""
    network = odd(kind)
    sentences = told(network)
    assert sentences
    refuse_unfaithful(network)
    examples = [*relatives(100), *random_examples([40, 30, 17, 2, 1], 100)]
    reference.mean_loss(network, examples).backward()
    expected = reference.gradients(network)
    weight = 1 / sum(sum(e.supervised[1:]) for e in examples)
    tokens = 0
    with attending_by_segments(network):
        for members in plan_packs([e.token_ids for e in examples], 200, share=share):
            pack = build_pack(examples, members, network.device, share=share)
            tokens += pack.num_tokens
            pack_loss(network, pack, weight=weight).total.backward()
    assert (tokens < num_tokens(examples)) == share
    reference.assert_same_gradients(reference.gradients(network), expected, tolerance=5e-4)
    for example, loss in zip(examples, score(network, examples), strict=True):
        assert loss.total == pytest.approx(reference.total_nats(network, example), rel=1e-4, abs=1e-4)
