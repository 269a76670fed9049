"""Each architecture, through the real loss: packed = unpacked, shared prefix = repeated prefix, windows included."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.engine import reference
from tests.engine.architectures import ARCHITECTURES, WITH_A_WINDOW, network_of, num_tokens, relatives
from tests.samples import random_examples, rendered
from tunesmith.engine.attention import attending_by_segments, packs_faithfully
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import build_pack, plan_packs
from tunesmith.types import RenderedExample


def run_packed(network: PreTrainedModel, examples: Sequence[RenderedExample], *, share: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Nats of the supervised tokens, example after example; gradients of their mean. In packs of 100 tokens at most."""
    weight = 1 / sum(sum(e.supervised[1:]) for e in examples)
    nats: dict[int, Tensor] = {}
    assert packs_faithfully(network), "padded batches would pass any of these tests"
    with attending_by_segments(network):
        for members in plan_packs([e.token_ids for e in examples], 100, share=share):
            pack = build_pack(examples, members, network.device, share=share)
            loss = pack_loss(network, pack, weight=weight)
            loss.total.backward()
            nats.update({index: loss.nats[pack.segment_of_label == which] for which, index in enumerate(pack.members)})
    return torch.cat([nats[i] for i in range(len(examples))]), reference.gradients(network)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_packed_equals_unpacked(kind: str, attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Soft caps, logit scales, biases, tied and untied heads, learnt positions; with chunks of three logit rows."""
    monkeypatch.setattr("tunesmith.engine.loss.CHUNK_BYTES", 4 * 100 * 3)
    network = network_of(kind)
    examples = random_examples([40, 30, 17, 9, 8, 2, 1], 100)
    reference.mean_loss(network, examples).backward()
    expected = reference.gradients(network)
    nats, found = run_packed(network, examples, share=True)
    torch.testing.assert_close(nats, torch.cat([reference.nats(network, e) for e in examples]).detach(), rtol=1e-4, atol=1e-4)
    reference.assert_same_gradients(found, expected, tolerance=5e-4)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_shared_prefix_equals_a_repeated_one(kind: str, attention: str) -> None:
    network = network_of(kind)
    examples = relatives(100)
    assert build_pack(examples, range(len(examples)), network.device).num_tokens < 0.6 * num_tokens(examples)
    nats, found = run_packed(network, examples, share=True)
    repeated, expected = run_packed(network, examples, share=False)
    torch.testing.assert_close(nats, repeated, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(nats, torch.cat([reference.nats(network, e) for e in examples]).detach(), rtol=1e-4, atol=1e-4)
    reference.assert_same_gradients(found, expected, tolerance=5e-4)


@pytest.mark.parametrize("kind", WITH_A_WINDOW)
def test_the_window_is_in_force(kind: str) -> None:
    """Or else the tests above would pass without one."""
    network, without = network_of(kind), network_of(kind)
    for module in without.modules():
        if getattr(module, "sliding_window", None) is not None:
            module.sliding_window = 1000
    without.config.sliding_window = 1000
    example = rendered(random_examples([40], 100)[0].token_ids, [False] * 39 + [True])
    with torch.no_grad(), attending_by_segments(network), attending_by_segments(without):
        pack = build_pack([example], [0], network.device)
        assert not torch.allclose(pack_loss(network, pack).nats, pack_loss(without, pack).nats, atol=1e-4)
