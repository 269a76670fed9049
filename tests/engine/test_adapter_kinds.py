"""Every kind of adapter: saved for plain PEFT, merged with proof, packed like unpacked, its masters in float32."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.engine import reference
from tests.samples import random_examples
from tunesmith.config import LoraConfig
from tunesmith.engine import merging
from tunesmith.engine.adapters import add_lora, as_base, effective_head, load_adapter, save_adapter
from tunesmith.engine.attention import attending_by_segments
from tunesmith.engine.loading import LoadedModel, load_model
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.masters import TrainedWeights
from tunesmith.engine.merging import check_merged, merge, probe_logits
from tunesmith.engine.packing import build_pack
from tunesmith.engine.parity import refuse_unfaithful
from tunesmith.engine.quantize import is_quantized, loading_options
from tunesmith.engine.vocabulary import add_new_tokens
from tunesmith.errors import AssetError

CPU = torch.device("cpu")
TOKENS = ("<tool>", "</tool>")

KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "qlora": {"quantize": True},
    "qlora with dora": {"quantize": True, "dora": True},
    "new tokens": {"new_tokens": TOKENS},
    "qlora with new tokens": {"quantize": True, "new_tokens": TOKENS},
}

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own calls here


@pytest.fixture(params=["llama", "gemma"])
def folder(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.getfixturevalue(f"wide_{request.param}")
    return directory


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings = dict(KINDS[request.param])
    if settings.get("quantize"):
        pytest.importorskip("bitsandbytes")
    return settings


def opened(folder: Path, *, quantize: bool = False, new_tokens: tuple[str, ...] = (), **_: Any) -> tuple[LoadedModel, tuple[int, ...]]:
    """The base under an adapter."""
    loaded = load_model(folder, dtype=torch.float32, device=CPU, quantize=quantize)
    return loaded, add_new_tokens(loaded, new_tokens)


def adapted(folder: Path, kind: dict[str, Any], **settings: Any) -> tuple[LoadedModel, peft.PeftModel]:
    """An adapter that does something, every part of it."""
    loaded, ids = opened(folder, **kind)
    torch.manual_seed(0)
    lora = {key: value for key, value in kind.items() if key in ("rslora", "dora")}
    network = add_lora(loaded.network, LoraConfig(**{"rank": 4, "alpha": 8, **lora, **settings}), str(folder), new_token_ids=ids)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
            elif "trainable_tokens_delta" in name:
                parameter.normal_(std=0.3)
            elif "magnitude" in name:
                parameter.mul_(1.2)
    return loaded, network.eval()


@torch.no_grad()
def logits(network: nn.Module) -> Tensor:
    return probe_logits(network)


def test_plain_peft_loads_what_we_saved(folder: Path, kind: dict[str, Any], tmp_path: Path) -> None:
    loaded, network = adapted(folder, kind)
    save_adapter(network, TrainedWeights(network, torch.float32).state(), tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    options = {"dtype": torch.float32, **(loading_options() if kind.get("quantize") else {})}
    base = AutoModelForCausalLM.from_pretrained(folder, **options)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    if len(tokenizer) > base.get_input_embeddings().weight.shape[0]:
        torch.manual_seed(7)  # the rows that resizing makes up do not matter
        base.resize_token_embeddings(len(tokenizer))
    by_peft = peft.PeftModel.from_pretrained(base, str(tmp_path)).eval()
    for layer in by_peft.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False  # bitsandbytes' kernel for bfloat16 would round what is float32 here
    torch.testing.assert_close(logits(by_peft), logits(network), rtol=1e-5, atol=3e-5)
    again, _ = opened(folder, **kind)
    assert torch.equal(logits(load_adapter(again.network, tmp_path).eval()), logits(network))


def test_merged_equals_adapter(folder: Path, kind: dict[str, Any], tmp_path: Path) -> None:
    _, network = adapted(folder, kind)
    before = logits(network)
    with as_base(network):
        assert (before - logits(network)).abs().max() > 0.5, "the adapter does nothing"
    merged = merge(network)
    assert not is_quantized(merged)
    assert not any("lora" in name or "tokens_delta" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(logits(merged), before, rtol=1e-4, atol=1e-4)
    merged.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    torch.testing.assert_close(logits(again), logits(merged), rtol=1e-5, atol=3e-5)


def test_a_merge_that_changes_the_function_is_refused(folder: Path, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaled by alpha / rank where alpha / sqrt(rank) was trained, and the like."""
    _, network = adapted(folder, kind)
    expected = logits(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.mul_(0.5)
    with pytest.raises(AssetError, match=r"merged with its adapter it computes other logits \(off by up to .* %\); expected at most 0.1 %"):
        check_merged(expected, merge(network))
    _, network = adapted(folder, kind)
    monkeypatch.setattr(merging, "probe_logits", lambda network: torch.zeros(1) + isinstance(network, peft.PeftModel))
    with pytest.raises(AssetError, match="off by up to 1e"):
        merge(network)


def test_merging_in_bfloat16(folder: Path, kind: dict[str, Any]) -> None:
    _, network = adapted(folder, kind)
    TrainedWeights(network, torch.bfloat16)
    merged = merge(network)
    assert {p.dtype for p in merged.parameters()} == {torch.bfloat16}


def test_packed_equals_unpacked_loss_and_gradients(folder: Path, kind: dict[str, Any]) -> None:
    _, network = adapted(folder, kind)
    plain = network.get_base_model()
    refuse_unfaithful(plain)
    examples = random_examples([20, 11, 7], plain.get_input_embeddings().weight.shape[0])
    reference.mean_loss(network, examples).backward()
    expected = reference.gradients(network)
    num_supervised = sum(sum(example.supervised[1:]) for example in examples)
    with attending_by_segments(plain):
        pack_loss(plain, build_pack(examples, range(3), CPU), weight=1 / num_supervised).total.backward()
    reference.assert_same_gradients(reference.gradients(network), expected)
    assert set(expected) == {name for name, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_trained_part_has_a_float32_master(folder: Path, kind: dict[str, Any], dtype: torch.dtype) -> None:
    _, network = adapted(folder, kind)
    values = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}
    weights = TrainedWeights(network, dtype)
    parts = {name.rpartition(".default")[0].rpartition(".")[2] for name in weights.masters}
    wanted = {"lora_A", "lora_B"}
    wanted |= {"lora_magnitude_vector"} if kind.get("dora") else set()
    wanted |= {"trainable_tokens_delta"} if kind.get("new_tokens") else set()
    assert parts == wanted
    assert {master.dtype for master in weights.masters.values()} == {torch.float32}
    assert all(torch.equal(weights.masters[name], value) for name, value in values.items())
    assert {p.dtype for p in network.parameters() if p.is_floating_point()} == {dtype}
    assert logits(network).isfinite().all()


class TestEffectiveHead:
    def test_the_rows_of_new_tokens_are_in_it_and_get_gradients(self, folder: Path) -> None:
        loaded, network = adapted(folder, KINDS["new tokens"])
        plain = loaded.network
        weight, bias = effective_head(plain)
        hidden = torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(0))
        assert bias is None
        torch.testing.assert_close(hidden @ weight.T, plain.lm_head(hidden))
        weight[-1].sum().backward()
        touched = {name for name, p in network.named_parameters() if p.grad is not None}
        assert {name.rpartition(".default")[0].rpartition(".")[2] for name in touched} == {"trainable_tokens_delta"}

    def test_switched_off_it_is_the_bases(self, folder: Path) -> None:
        loaded, network = adapted(folder, KINDS["new tokens"])
        untouched, _ = opened(folder, new_tokens=TOKENS)
        assert not torch.equal(effective_head(loaded.network).weight, effective_head(untouched.network).weight)
        with as_base(network):
            assert torch.equal(effective_head(loaded.network).weight, effective_head(untouched.network).weight)
            assert torch.equal(logits(network), logits(untouched.network))

    def test_of_a_network_without_adapter(self, folder: Path) -> None:
        loaded, _ = opened(folder)
        assert effective_head(loaded.network).weight is loaded.network.lm_head.weight

    def test_without_a_linear_head(self, folder: Path) -> None:
        loaded, _ = opened(folder)
        loaded.network.set_output_embeddings(nn.Identity())
        with pytest.raises(TypeError, match="no linear output layer"):
            effective_head(loaded.network)


def test_the_scale_of_rslora() -> None:
    """alpha / sqrt(rank) of Kalajdzievski 2023, eq. 5."""
    network = reference.tiny("llama")
    for rslora, scale in ((False, 0.5), (True, 2.0)):
        result = add_lora(network, LoraConfig(rank=16, alpha=8, rslora=rslora), "x")
        assert result.get_base_model().model.layers[0].mlp.up_proj.scaling == {"default": scale}
        network = result.unload()


def test_magnitudes_of_dora_start_as_the_norms_of_the_rows() -> None:
    network = reference.tiny("llama")
    weight = network.model.layers[0].mlp.up_proj.weight.detach().clone()
    layer = add_lora(network, LoraConfig(rank=4, alpha=8, dora=True), "x").get_base_model().model.layers[0].mlp.up_proj
    torch.testing.assert_close(layer.lora_magnitude_vector["default"].weight, weight.norm(dim=1))


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_a_quantized_base_under_the_adapter_stays_what_it_was(wide_llama: Path) -> None:
    loaded, network = adapted(wide_llama, KINDS["qlora"])
    untouched, _ = opened(wide_llama, quantize=True)
    with as_base(network):
        assert torch.equal(logits(network), logits(untouched.network))
    assert is_quantized(loaded.network)
