"""Kept activations: the same losses and gradients as with the whole model, and nothing below the trained layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.engine import reference
from tests.engine.architectures import ARCHITECTURES, network_of, num_tokens, relatives
from tests.samples import random_examples
from tunesmith.engine.adapters import freeze_all_but_last
from tunesmith.engine.attention import attending_by_segments
from tunesmith.engine.forward import decoder_hidden
from tunesmith.engine.frozen import keep, layers_below, obstacle, plan_keeping, reused_states, reusing
from tunesmith.engine.loading import LoadedModel
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import ROUND_TO, build_pack, plan_packs
from tunesmith.engine.score import score
from tunesmith.types import RenderedExample

LENGTHS = [40, 3, 17, 60, 9, 25, 8, 31]


@pytest.fixture
def frozen(network: PreTrainedModel) -> PreTrainedModel:
    freeze_all_but_last(network, 1)
    return network


def run(network: PreTrainedModel, examples: Sequence[RenderedExample], tokens: int = 100) -> tuple[Tensor, dict[str, Tensor]]:
    """Nats of the supervised tokens and the gradients of their mean, in packs of at most so many tokens."""
    weight = 1 / sum(sum(e.supervised[1:]) for e in examples)
    network.train()
    nats: dict[int, Tensor] = {}
    with attending_by_segments(network):
        for members in plan_packs([e.token_ids for e in examples], tokens):
            pack = build_pack(examples, members, network.device, round_to=ROUND_TO)
            loss = pack_loss(network, pack, weight=weight)
            loss.total.backward()
            nats.update({index: loss.nats[pack.segment_of_label == which] for which, index in enumerate(pack.members)})
    return torch.cat([nats[i] for i in range(len(examples))]), reference.gradients(network)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("make", [lambda: random_examples(LENGTHS, 100), lambda: relatives(100)[:-1]], ids=["strangers", "relatives"])
def test_in_the_same_packs_losses_and_gradients_are_equal_to_the_last_bit(frozen: PreTrainedModel, dtype: torch.dtype, make: Any) -> None:
    frozen.to(dtype)
    examples = make()
    expected_nats, expected = run(frozen, examples)
    plan = plan_keeping(frozen, examples, 100)
    assert obstacle(frozen, plan) == ""
    with reusing(frozen, keep(frozen, plan)):
        nats, found = run(frozen, examples)
    assert torch.equal(nats, expected_nats)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name


@pytest.mark.parametrize("share", [True, False])
def test_in_other_packs_they_are_equal_but_for_rounding(frozen: PreTrainedModel, share: bool) -> None:
    examples = relatives(100)
    expected_nats, expected = run(frozen, examples, tokens=60)
    with reusing(frozen, keep(frozen, plan_keeping(frozen, examples[::-1], 200, share=share))):
        nats, found = run(frozen, examples, tokens=60)
    torch.testing.assert_close(nats, expected_nats, rtol=1e-4, atol=1e-4)
    reference.assert_same_gradients(found, expected)


def test_the_lower_layers_do_not_run(frozen: PreTrainedModel) -> None:
    examples = random_examples(LENGTHS, 100)
    kept = keep(frozen, plan_keeping(frozen, examples, 100))
    touched: list[str] = []
    below = layers_below(frozen)[0]
    for layer in below:
        for name, module in layer.named_modules():
            if name:
                module.register_forward_hook(lambda *_, name=name: touched.append(name))
    run(frozen, examples)
    assert touched, "the hooks see a whole pass"
    touched.clear()
    with reusing(frozen, kept):
        run(frozen, examples)
    assert touched == []
    run(frozen, examples)
    assert touched, "nothing of it lasts"
    assert not any("forward" in vars(layer) for layer in below)


def test_what_several_begin_with_is_kept_once(frozen: PreTrainedModel) -> None:
    examples = relatives(100)
    plan = plan_keeping(frozen, examples, 1000)
    assert plan.num_rows < 0.6 * num_tokens(examples)
    assert len(plan.examples) == len(examples) - 1, "equal sequences are one"
    kept = keep(frozen, plan)
    assert kept.states.nbytes == plan.num_bytes
    assert plan_keeping(frozen, examples, 1000, share=False).num_rows >= num_tokens(plan.examples)


def test_on_disk_as_in_memory(frozen: PreTrainedModel, tmp_path: Path) -> None:
    frozen.to(torch.bfloat16)
    examples = random_examples(LENGTHS, 100)
    plan = plan_keeping(frozen, examples, 60)
    in_memory, on_disk = keep(frozen, plan), keep(frozen, plan, tmp_path / "states.bin")
    assert (tmp_path / "states.bin").stat().st_size == plan.num_bytes
    assert torch.equal(in_memory.states, on_disk.states)
    assert in_memory.rows.keys() == on_disk.rows.keys()


def test_a_pack_with_an_unknown_sequence_runs_whole(frozen: PreTrainedModel) -> None:
    known, unknown = random_examples(LENGTHS, 100), random_examples([20], 100, seed=1)
    expected = score(frozen, [*known, *unknown])
    with reusing(frozen, keep(frozen, plan_keeping(frozen, known, 100))), attending_by_segments(frozen):
        assert reused_states(frozen, build_pack(known, [2, 3], frozen.device)) is not None
        assert reused_states(frozen, build_pack([*known, *unknown], [2, 8], frozen.device)) is None
        assert score(frozen, [*known, *unknown]) == expected
    with attending_by_segments(frozen):
        assert reused_states(frozen, build_pack(known, [2, 3], frozen.device)) is None


def test_keeping_is_the_same_every_time_and_draws_nothing(frozen: PreTrainedModel) -> None:
    examples = random_examples(LENGTHS, 100)
    before = torch.get_rng_state()
    plan = plan_keeping(frozen, examples, 60)
    obstacle(frozen, plan)
    kept = keep(frozen, plan)
    assert torch.equal(torch.get_rng_state(), before)
    frozen.train()
    with torch.no_grad():
        for layer in layers_below(frozen)[1]:
            for parameter in layer.parameters():
                parameter.mul_(2)  # training changes the upper layers; a resumed run computes it again from them
    assert torch.equal(keep(frozen, plan).states, kept.states)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_each_architecture(kind: str) -> None:
    """By trying: those with windows by layer, learnt positions, parallel blocks, scales."""
    network = network_of(kind)
    freeze_all_but_last(network, 1)
    for module in network.modules():  # GPT-2 has some by default
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    examples = relatives(100)
    plan = plan_keeping(network, examples, 100)
    assert obstacle(network, plan) == ""
    expected_nats, expected = run(network, examples)
    with reusing(network, keep(network, plan)):
        nats, found = run(network, examples)
    torch.testing.assert_close(nats, expected_nats, rtol=1e-4, atol=1e-4)
    reference.assert_same_gradients(found, expected)


def test_obstacles(loaded_llama: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = random_examples(LENGTHS, 100)

    def reason(change: Any, layers: int = 1) -> str:
        network = copy.deepcopy(loaded_llama.network)
        freeze_all_but_last(network, layers)
        change(network)
        modes = [module.training for module in network.modules()]
        found = obstacle(network, plan_keeping(network, examples, 100))
        assert modes == [module.training for module in network.modules()]
        return found

    def drop(network: Any) -> None:
        network.model.layers[0].self_attn.attention_dropout = 0.1

    def drop_above(network: Any) -> None:
        network.model.layers[1].self_attn.attention_dropout = 0.1

    def train_the_embedding(network: Any) -> None:
        network.model.embed_tokens.weight.requires_grad_(True)

    def skip(network: Any) -> None:
        """An architecture whose upper layers want what a lower one left behind."""
        lower, upper = network.model.layers
        lower.register_forward_pre_hook(lambda *_: setattr(network, "left", None))
        lower.mlp.register_forward_hook(lambda module, given, output: setattr(network, "left", output))
        upper.register_forward_hook(lambda module, given, output: output + network.left)

    assert reason(lambda network: None) == ""
    assert reason(drop_above) == ""
    assert reason(drop) == "dropout is active below the layers that train"
    assert reason(train_the_embedding) == "something below the layers trains as well"
    assert reason(lambda network: None, layers=2) == "no layer lies below those that train"
    assert reason(skip).startswith("this architecture cannot run its upper layers alone (")
    monkeypatch.setattr("tunesmith.engine.frozen.packs_faithfully", lambda network: False)
    assert reason(lambda network: None) == "this architecture runs in padded batches"


def test_no_gradient_work_happens_below_the_lowest_trained_layer(frozen: PreTrainedModel) -> None:
    """Without anything kept: what enters the first trained layer hangs on no graph."""
    entering: list[Tensor] = []
    frozen.train()
    layers_below(frozen)[1][0].register_forward_pre_hook(lambda module, given: entering.append(given[0]))
    examples = random_examples(LENGTHS, 100)
    with attending_by_segments(frozen):
        entering.clear()  # of what a new network is tried with
        hidden = decoder_hidden(frozen, build_pack(examples, range(8), frozen.device))
    assert hidden.requires_grad
    assert [(one.requires_grad, one.grad_fn) for one in entering] == [(False, None)]
