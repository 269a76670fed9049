"""The fast path: the same losses, gradients and answers as the forwards it replaces, and which modules it leaves alone."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator
from contextlib import nullcontext

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel
from transformers.models.bitnet.modeling_bitnet import BitNetMLP
from transformers.models.falcon_h1.modeling_falcon_h1 import FalconH1MLP
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextMLP
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from tests.engine import reference
from tests.engine.architectures import ARCHITECTURES, network_of, relatives
from tunesmith.engine import fast
from tunesmith.engine.attention import attending_by_segments, packs_faithfully
from tunesmith.engine.fast import FastPath, speed_up
from tunesmith.engine.kernels import native
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import build_pack

FULL = {"llama": 5, "mistral": 5, "qwen2": 5, "qwen3": 9, "gemma2": 9, "gemma3_text": 13}
"""Architectures whose layers go the fast way whole, and their norms: two, four or six a layer, and the last."""
IN_PART = {
    "granite": FastPath(norms=5, mlps=2, attentions=0),
    "olmo2": FastPath(norms=9, mlps=2, attentions=0),
    "cohere": FastPath(norms=0, mlps=2, attentions=0),
    "phi3": FastPath(norms=5, mlps=0, attentions=0),
}
NOTHING = FastPath(norms=0, mlps=0, attentions=0)


@pytest.fixture(params=["native", "plain"])
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "native" and native.library().handle is None:
        pytest.skip(native.library().reason)
    with native.plain_torch() if request.param == "plain" else nullcontext():
        yield


def packed(network: PreTrainedModel) -> tuple[Tensor, dict[str, Tensor]]:
    """Nats of the supervised tokens of a pack with shared prefixes, and gradients of their mean."""
    examples = relatives(100)
    assert packs_faithfully(network), "padded batches would take the old way and pass"
    with attending_by_segments(network):
        pack = build_pack(examples, range(len(examples)), network.device)
        loss = pack_loss(network, pack, weight=0.01)
        loss.total.backward()
    return loss.nats, reference.gradients(network)


def assert_same(network: PreTrainedModel, plain: PreTrainedModel, tolerance: float = 1e-5) -> None:
    (nats, found), (expected_nats, expected) = packed(network), packed(plain)
    torch.testing.assert_close(nats, expected_nats, rtol=tolerance, atol=tolerance)
    reference.assert_same_gradients(found, expected, 10 * tolerance)


def replaced(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if "forward" in module.__dict__]


def with_adapter(network: PreTrainedModel) -> PreTrainedModel:
    torch.manual_seed(1)
    peft.inject_adapter_in_model(peft.LoraConfig(r=3, target_modules="all-linear"), network)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("kind", FULL)
def test_the_same_losses_and_gradients(kind: str, way: None) -> None:
    network, plain = network_of(kind), network_of(kind)
    assert speed_up(network) == FastPath(norms=FULL[kind], mlps=2, attentions=2)
    assert_same(network, plain)


@pytest.mark.parametrize("kind", IN_PART)
def test_what_is_recognised_in_other_architectures(kind: str, way: None) -> None:
    network, plain = network_of(kind), network_of(kind)
    assert speed_up(network) == IN_PART[kind]
    assert_same(network, plain)


@pytest.mark.parametrize("kind", ["gpt_neox", "phi", "gpt2"])
def test_what_is_not_recognised_keeps_its_forward(kind: str) -> None:
    network = network_of(kind)
    assert speed_up(network) == NOTHING
    assert replaced(network) == []


def test_every_architecture_is_one_of_these() -> None:
    assert {*FULL, *IN_PART, "gpt_neox", "phi", "gpt2"} == ARCHITECTURES.keys()


@pytest.mark.parametrize("kind", FULL)
def test_with_adapters_put_on_afterwards(kind: str) -> None:
    network = network_of(kind)
    plain = with_adapter(copy.deepcopy(network))
    speed_up(network)
    assert_same(with_adapter(network), plain)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"target_modules": ["q_proj", "v_proj", "up_proj"]}], ids=["dora", "some layers"])
def test_adapters_that_the_fast_way_leaves_to_peft(settings: dict[str, object]) -> None:
    network = network_of("llama")
    plain = copy.deepcopy(network)
    speed_up(network)
    for each in (network, plain):
        peft.inject_adapter_in_model(peft.LoraConfig(**{"target_modules": "all-linear", "init_lora_weights": True, **settings}), each)
        torch.manual_seed(1)
        for name, parameter in each.named_parameters():
            if "lora" in name and "magnitude" not in name:
                nn.init.normal_(parameter, std=0.1)
    assert_same(network, plain)


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
@pytest.mark.parametrize("adapter", [False, True])
def test_with_activation_checkpointing(kind: str, adapter: bool) -> None:
    network, plain = network_of(kind), network_of(kind)
    speed_up(network)
    if adapter:
        with_adapter(network), with_adapter(plain)
        network.enable_input_require_grads()
        plain.enable_input_require_grads()
    network.train()
    network.gradient_checkpointing_enable({"use_reentrant": False})
    calls: list[bool] = []
    network.get_decoder().layers[0].mlp.register_forward_pre_hook(lambda module, *_: calls.append(module.training))
    assert_same(network, plain.train())
    assert calls[-2:] == [True, True], "once in the forward pass, once more in the backward pass"


@pytest.mark.parametrize("kind", FULL)
def test_in_bfloat16_close_to_float32(kind: str, way: None) -> None:
    """As close as the replaced forwards come, or closer: there are fewer roundings."""
    exact = packed(network_of(kind))[0]
    network, plain = network_of(kind).bfloat16(), network_of(kind).bfloat16()
    speed_up(network)
    ours, theirs = ((packed(each)[0] - exact).pow(2).mean().sqrt() for each in (network, plain))
    assert ours <= 1.25 * theirs


@pytest.mark.parametrize("kind", [*FULL, "granite", "cohere"])
def test_transformers_own_generate_and_padded_batches(kind: str) -> None:
    """Their attention, with a cache and with a mask, in the forward they come with."""
    network, plain = network_of(kind), network_of(kind)
    speed_up(network)
    token_ids = torch.tensor([[0, 0, 5, 6, 7, 9], [9, 8, 7, 6, 5, 4]])
    inputs = {"input_ids": token_ids, "attention_mask": (token_ids > 0).long()}
    settings = {"max_new_tokens": 12, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    found, expected = network.generate(**inputs, **settings), plain.generate(**inputs, **settings)
    assert torch.equal(found.sequences, expected.sequences)
    torch.testing.assert_close(torch.stack(found.logits), torch.stack(expected.logits), rtol=1e-4, atol=1e-4)


def test_inference_mode_first_and_training_after() -> None:
    network, plain = network_of("qwen3"), network_of("qwen3")
    speed_up(network)
    token_ids = torch.arange(3, 30)[None]
    with torch.inference_mode():
        torch.testing.assert_close(network(token_ids).logits, plain(token_ids).logits, rtol=1e-4, atol=1e-4)
    assert_same(network, plain)
    torch.optim.AdamW(network.parameters()).step()


def test_twice_is_once() -> None:
    network, plain = network_of("gemma2"), network_of("gemma2")
    first = speed_up(network)
    assert speed_up(network) == first
    assert_same(network, plain)


CONFIG = {"hidden_size": 32, "intermediate_size": 24, "vocab_size": 50, "hidden_act": "silu"}


def mlps() -> dict[str, nn.Module]:
    """MLPs whose layers are named like Llama's and that compute something else."""
    gemma3n = AutoConfig.for_model(
        "gemma3n_text", hidden_size=32, intermediate_size=24, num_hidden_layers=2, activation_sparsity_pattern=[0.9, 0.0]
    )
    falcon = AutoConfig.for_model("falcon_h1", **CONFIG, mlp_multipliers=[0.5, 1.0])
    falcon_down = AutoConfig.for_model("falcon_h1", **CONFIG, mlp_multipliers=[1.0, 3.0])
    llama = AutoConfig.for_model("llama", **CONFIG)
    exact_gelu = AutoConfig.for_model("llama", **{**CONFIG, "hidden_act": "gelu"})
    normed = LlamaMLP(llama)
    normed.pre_norm = LlamaRMSNorm(32)
    return {
        "a norm inside": BitNetMLP(AutoConfig.for_model("bitnet", **CONFIG)),
        "only the largest": Gemma3nTextMLP(gemma3n, layer_idx=0),
        "a factor": FalconH1MLP(falcon),
        "a factor at the end": FalconH1MLP(falcon_down),
        "an exact gelu": LlamaMLP(exact_gelu),
        "one layer more": normed,
        "limits": Limited(llama),
        "one input more": Routed(llama),
    }


class Limited(LlamaMLP):
    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(x).clamp(max=7.0)) * self.up_proj(x))


class Routed(LlamaMLP):
    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return super().forward(x) * weight


@pytest.mark.parametrize("kind", mlps())
def test_an_mlp_that_computes_something_else_is_left_alone(kind: str) -> None:
    module = mlps()[kind]
    assert not fast._speed_up_mlp(module)
    assert "forward" not in module.__dict__


@pytest.mark.parametrize("kind", ["gelu_pytorch_tanh", "silu"])
def test_an_mlp_that_computes_the_same_is_recognised(kind: str) -> None:
    config = AutoConfig.for_model("llama", **{**CONFIG, "hidden_act": kind}, mlp_bias=True)
    module = LlamaMLP(config)
    expected = {rows: module(torch.ones(2, rows, 32)) for rows in (0, 3)}
    assert fast._speed_up_mlp(module)
    for rows, value in expected.items():
        torch.testing.assert_close(module(torch.ones(2, rows, 32)), value)


class CenteredRMSNorm(LlamaRMSNorm):
    def forward(self, hidden_states: Tensor) -> Tensor:
        return super().forward(hidden_states - hidden_states.mean(-1, keepdim=True))


class GatedRMSNorm(LlamaRMSNorm):
    def forward(self, hidden_states: Tensor, gate: Tensor) -> Tensor:
        return super().forward(hidden_states) * gate


@pytest.mark.parametrize("kind", [CenteredRMSNorm, GatedRMSNorm])
def test_a_norm_that_computes_something_else_is_left_alone(kind: type[nn.Module]) -> None:
    assert not fast._speed_up_norm(kind(16))
    assert fast._speed_up_norm(LlamaRMSNorm(16))


def test_a_norm_in_another_type_than_its_input_keeps_its_own_way() -> None:
    """Weights in float32 under a network in bfloat16: its own forward says which type comes out."""
    norm, plain = LlamaRMSNorm(16), LlamaRMSNorm(16)
    assert fast._speed_up_norm(norm)
    x = torch.randn(3, 16).bfloat16()
    assert torch.equal(norm(x), plain(x))
    assert norm(x).dtype == plain(x).dtype


def test_a_network_is_forgotten_when_nobody_holds_it() -> None:
    """The memory of large networks must not wait for the garbage collector."""
    network = network_of("llama")
    speed_up(network)
    network(torch.arange(5)[None])
    weight = weakref.ref(network.get_decoder().layers[0].mlp.gate_proj.weight)
    gc.disable()
    try:
        del network
        assert weight() is None
    finally:
        gc.enable()
