"""Four bits: what is quantised, that it computes one function in training and evaluation, and that it comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.engine import reference
from tunesmith.engine import quantize
from tunesmith.engine.loading import LoadedModel, load_model
from tunesmith.engine.quantize import cast, count_weights, dequantize
from tunesmith.errors import ConfigError

bitsandbytes = pytest.importorskip("bitsandbytes")

CPU = torch.device("cpu")
TOKENS = torch.tensor([[5, 9, 40, 8, 33, 7, 12, 90, 3, 17, 21]])


@torch.no_grad()
def logits(network: nn.Module) -> Tensor:
    found: Tensor = network(input_ids=TOKENS).logits
    return found.float()


@pytest.fixture(params=["llama", "gemma"])
def folder(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.getfixturevalue(f"wide_{request.param}")
    return directory


@pytest.fixture
def quantized(folder: Path) -> LoadedModel:
    return load_model(folder, dtype=torch.float32, device=CPU, quantize=True)


def test_every_linear_layer_but_the_head(quantized: LoadedModel) -> None:
    linear = {name: module for name, module in quantized.network.named_modules() if isinstance(module, nn.Linear)}
    packed = {name for name, module in linear.items() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    assert set(linear) - packed == {"lm_head"}
    assert len(packed) == 7 * quantized.network.config.num_hidden_layers
    for name in packed:
        weight = linear[name].weight
        assert (weight.quant_type, weight.quant_state.nested, weight.dtype) == ("nf4", True, torch.uint8)
        assert count_weights(weight) == linear[name].in_features * linear[name].out_features
    assert quantized.network.lm_head.weight is quantized.network.get_input_embeddings().weight
    assert quantized.network.lm_head.weight.dtype == torch.float32


def test_the_weights_are_near_the_original_ones(folder: Path, quantized: LoadedModel) -> None:
    """Four bits in blocks of 64: the error of normally distributed weights is a little under a tenth of their spread."""
    original = load_model(folder, dtype=torch.float32, device=CPU).network.requires_grad_(False)
    dequantize(quantized.network)
    for name, weight in original.named_parameters():
        found = quantized.network.get_parameter(name).detach()
        assert 0.08 < float((found - weight).norm() / weight.norm()) < 0.11 if "_proj" in name else torch.equal(found, weight)


def test_the_compute_type_does_not_change_the_quantised_weights(folder: Path, quantized: LoadedModel) -> None:
    """A run in bfloat16 is opened in float32 on the very same base."""
    other = load_model(folder, dtype=torch.bfloat16, device=CPU, quantize=True).network
    for name, weight in quantized.network.named_parameters():
        if weight.dtype == torch.uint8:
            assert torch.equal(weight, other.get_parameter(name))
    assert {p.dtype for p in other.parameters()} == {torch.uint8, torch.bfloat16}
    assert torch.allclose(logits(other), logits(quantized.network), atol=0.1 * float(logits(other).abs().max()))


def test_dequantised_it_is_the_same_function_and_can_be_saved(quantized: LoadedModel, tmp_path: Path) -> None:
    before = logits(quantized.network)
    dequantize(quantized.network)
    assert not any(isinstance(module, bitsandbytes.nn.Linear4bit) for module in quantized.network.modules())
    torch.testing.assert_close(logits(quantized.network), before, rtol=1e-5, atol=1e-5)
    quantized.network.save_pretrained(tmp_path)
    quantized.tokenizer.save_pretrained(tmp_path)
    again = load_model(tmp_path, dtype=torch.float32, device=CPU).network
    assert torch.equal(logits(again), logits(quantized.network))


def test_gradients_are_right_after_an_evaluation(folder: Path) -> None:
    """bitsandbytes' packing for inference would leave the base out of the backward pass from then on."""

    def gradients(network: PreTrainedModel) -> dict[str, Tensor]:
        adapted = reference.with_adapter(network).eval()
        logits(adapted)
        adapted.train()
        adapted(input_ids=TOKENS, labels=TOKENS).loss.backward()
        return {name: p.grad for name, p in adapted.named_parameters() if p.grad is not None}

    packed = load_model(folder, dtype=torch.float32, device=CPU, quantize=True).network
    plain = load_model(folder, dtype=torch.float32, device=CPU, quantize=True).network
    dequantize(plain)
    found, expected = gradients(packed), gradients(plain)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


def test_layers_that_the_kernel_reads_back_wrongly_are_refused(tiny_llama: Path) -> None:
    with pytest.raises(ConfigError, match=r"layer model.layers.0.self_attn.q_proj of .* has 48 inputs; expected a multiple of 64"):
        load_model(tiny_llama, dtype=torch.float32, device=CPU, quantize=True)


def test_without_the_library_it_is_one_sentence(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"bitsandbytes is not installed; .* To go on: pip install 'tunesmith\[qlora\]'"):
        load_model(tiny_llama, dtype=torch.float32, device=CPU, quantize=True)


def test_importing_the_engine_says_nothing_and_leaves_other_modules_alone() -> None:
    check = "import tunesmith.engine.adapters, sys; print('kernels' in sys.modules, 'bitsandbytes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["False", "False"], "")


def test_adapters_on_plain_weights_do_without_the_library_and_four_bits_find_it_afterwards(wide_llama: Path) -> None:
    """It brings torch's compiler along, which takes memory and seconds."""
    check = f"""
import sys, torch
from pathlib import Path
from tunesmith.config import LoraConfig
from tunesmith.engine.adapters import add_lora
from tunesmith.engine.loading import load_model
folder, cpu, lora = Path({str(wide_llama)!r}), torch.device("cpu"), LoraConfig(rank=4, alpha=8)
add_lora(load_model(folder, dtype=torch.bfloat16, device=cpu).network, lora, "x")
print("bitsandbytes" in sys.modules)
quantized = add_lora(load_model(folder, dtype=torch.bfloat16, device=cpu, quantize=True).network, lora, "x")
print(type(quantized.get_base_model().model.layers[0].mlp.up_proj).__name__)
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["False", "Linear4bit"], "")


def test_cast_leaves_rotary_frequencies_alone(tiny_llama: Path) -> None:
    """Tuned in bfloat16 it is the function that is opened in bfloat16."""
    cast_down = load_model(tiny_llama, dtype=torch.float32, device=CPU).network
    cast(cast_down, torch.bfloat16)
    read_so = load_model(tiny_llama, dtype=torch.bfloat16, device=CPU).network
    assert cast_down.model.rotary_emb.inv_freq.dtype == torch.float32
    assert {p.dtype for p in cast_down.parameters()} == {torch.bfloat16}
    assert torch.equal(logits(cast_down), logits(read_so))
