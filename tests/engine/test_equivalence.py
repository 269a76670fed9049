"""A pack computes what each example computes alone: loss, gradients, and nothing leaks."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.engine import reference
from tests.engine.architectures import relatives
from tests.samples import random_examples, rendered
from tunesmith.engine.attention import attending_by_segments, packs_faithfully
from tunesmith.engine.loading import LoadedModel
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import build_pack, plan_packs
from tunesmith.engine.score import mean_loss, score
from tunesmith.train.start import checkpoint_activations
from tunesmith.types import RenderedExample

LENGTHS = [60, *range(1, 60, 2), 8, 9, 7, 16, 16, 16, 33]
"""From one token up, around the sliding window of 8, several of one length."""


def packed_gradients(network: PreTrainedModel, examples: Sequence[RenderedExample], max_tokens: int, owner: nn.Module) -> dict[str, Tensor]:
    """Gradients of the mean loss over all examples, in packs of at most `max_tokens`."""
    weight = 1 / sum(sum(e.supervised[1:]) for e in examples)
    assert packs_faithfully(network), "padded batches would pass any of these tests"
    with attending_by_segments(network):
        for members in plan_packs([e.token_ids for e in examples], max_tokens):
            pack_loss(network, build_pack(examples, members, network.device), weight=weight).total.backward()
    return reference.gradients(owner)


@pytest.mark.parametrize("max_tokens", [10_000, 130], ids=["one pack", "several packs"])
def test_packed_equals_unpacked(network: PreTrainedModel, attention: str, max_tokens: int) -> None:
    examples = random_examples(LENGTHS, network.config.vocab_size)
    losses = score(network, examples, tokens_per_pack=max_tokens)
    for example, loss in zip(examples, losses, strict=True):
        assert loss.total == pytest.approx(reference.total_nats(network, example), rel=2e-5, abs=1e-5)
        assert loss.num_supervised == sum(example.supervised[1:])
    assert mean_loss(losses) == pytest.approx(float(reference.mean_loss(network, examples).detach()), rel=1e-5)

    network.zero_grad()
    reference.mean_loss(network, examples).backward()
    expected = reference.gradients(network)
    assert expected.keys() == dict(network.named_parameters()).keys()
    reference.assert_same_gradients(packed_gradients(network, examples, max_tokens, network), expected)


def test_packed_equals_unpacked_for_an_adapter(network: PreTrainedModel, attention: str) -> None:
    adapted = reference.with_adapter(network)
    examples = random_examples(LENGTHS, network.config.vocab_size, seed=1)
    reference.mean_loss(adapted, examples).backward()
    expected = reference.gradients(adapted)
    assert all("lora_" in name for name in expected)
    reference.assert_same_gradients(packed_gradients(network, examples, 200, adapted), expected)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("max_tokens", [10_000, 130, 1], ids=["one pack", "several packs", "each by itself"])
def test_shared_prefixes_change_nothing(network: PreTrainedModel, attention: str, method: str, max_tokens: int) -> None:
    """Loss and gradients, of all weights and of an adapter, however the examples fall into micro-batches."""
    owner: nn.Module = reference.with_adapter(network) if method == "lora" else network
    examples = relatives(network.config.vocab_size)
    reference.mean_loss(owner, examples).backward()
    expected = reference.gradients(owner)
    reference.assert_same_gradients(packed_gradients(network, examples, max_tokens, owner), expected)
    for example, loss in zip(examples, score(network, examples, tokens_per_pack=max_tokens), strict=True):
        assert loss.total == pytest.approx(reference.total_nats(owner, example), rel=2e-5, abs=1e-5)


def test_what_stands_below_a_shared_prefix_does_not_leak(network: PreTrainedModel, attention: str) -> None:
    """Bit for bit: an ending does not see its sister, and a prefix not what follows it."""
    prefix = random_examples([30], network.config.vocab_size)[0].token_ids
    first, second, other = (random_examples([9], network.config.vocab_size, seed=seed)[0].token_ids for seed in (1, 2, 3))
    flags = [True] * 39
    before = score(network, [rendered((*prefix, *first), flags), rendered((*prefix, *second), flags)])
    after = score(network, [rendered((*prefix, *first), flags), rendered((*prefix, *other), flags)])
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_nothing_leaks_between_examples(network: PreTrainedModel, attention: str) -> None:
    """Bit for bit, in float32 and bfloat16: the other examples do not move when one changes."""
    examples = random_examples([23, 23, 20, 9, 9, 5, 1], network.config.vocab_size)
    changed = random_examples([23, 23, 20, 9, 9, 5, 1], network.config.vocab_size, seed=5, share=0.6)
    for dtype in (torch.float32, torch.bfloat16):
        network.to(dtype)
        before = score(network, examples)
        for i in range(len(examples)):
            other = rendered(changed[i].token_ids, examples[i].supervised)
            after = score(network, [*examples[:i], other, *examples[i + 1 :]])
            assert [a == b for j, (a, b) in enumerate(zip(after, before, strict=True)) if j != i] == [True] * (len(examples) - 1)
            assert after[i] != before[i] or len(other.token_ids) == 1


def test_what_comes_later_does_not_matter(network: PreTrainedModel, attention: str) -> None:
    """Causality inside an example, bit for bit."""
    example = random_examples([40], network.config.vocab_size)[0]
    supervised = [i < 25 for i in range(40)]
    other = [*example.token_ids[:25], *reversed(example.token_ids[25:])]
    assert score(network, [rendered(example.token_ids, supervised)]) == score(network, [rendered(other, supervised)])


def test_a_window_shorter_than_the_example_is_kept(loaded_gemma: LoadedModel, attention: str) -> None:
    """With sliding layers only, the first token is out of sight of the last one; so it cannot change its loss."""
    network = copy.deepcopy(loaded_gemma.network)
    for layer in network.model.layers:
        layer.attention_type = layer.self_attn.layer_type = "sliding_attention"
        layer.self_attn.sliding_window, layer.self_attn.is_sliding = 8, True
    network.config.layer_types = ["sliding_attention"] * 4
    reach = 4 * 7  # four layers, each seven tokens back
    example = random_examples([60], network.config.vocab_size)[0]
    only_last = [False] * 59 + [True]
    losses = []
    for position in (58 - reach - 1, 58 - reach):
        tokens = list(example.token_ids)
        tokens[position] = 5 if tokens[position] != 5 else 6
        losses.append(score(network, [rendered(tokens, only_last)])[0])
    plain = score(network, [rendered(example.token_ids, only_last)])[0]
    assert losses[0] == plain
    assert losses[1] != plain


def test_activation_checkpointing_changes_nothing(network: PreTrainedModel) -> None:
    examples = random_examples(LENGTHS[:12], network.config.vocab_size)
    network.train()
    expected = packed_gradients(network, examples, 300, network)
    checkpoint_activations(network)
    found = packed_gradients(network, examples, 300, network)
    assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())


def test_the_weight_scales_loss_and_gradient_only(network: PreTrainedModel) -> None:
    examples = random_examples([12, 7], network.config.vocab_size)
    pack = build_pack(examples, [0, 1], network.device)
    with attending_by_segments(network):
        one, half = pack_loss(network, pack), pack_loss(network, pack, weight=0.5)
    assert torch.equal(one.nats, half.nats)
    assert float(half.total.detach()) == pytest.approx(float(one.total.detach()) / 2)
    assert not one.nats.requires_grad


def test_the_networks_own_attention_comes_back(network: PreTrainedModel) -> None:
    def fail_inside() -> None:
        with attending_by_segments(network):
            with attending_by_segments(network):
                assert network.config._attn_implementation == "tunesmith_segments"
            assert network.config._attn_implementation == "tunesmith_segments"
            raise RuntimeError("stop")

    before = network.config._attn_implementation
    with pytest.raises(RuntimeError, match="stop"):
        fail_inside()
    assert network.config._attn_implementation == before
