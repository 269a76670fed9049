"""Models from their configurations alone: exact sizes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.train.capacities import CONFIGS, architecture
from tunesmith.config import LoraConfig
from tunesmith.engine.adapters import add_lora
from tunesmith.errors import AssetError, ConfigError
from tunesmith.train.architecture import describe, read_network

PUBLISHED = {
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.1-8b": 8_030_261_248,
    "qwen3-32b": 32_762_123_264,
    "llama-3.1-70b": 70_553_706_496,
}
"""Parameters, as the sizes of the published safetensors files say (two bytes each)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name: str) -> None:
    network = read_network(CONFIGS / f"{name}.json")
    assert all(parameter.is_meta for parameter in network.parameters())
    found = describe(network, method="full")
    assert found.num_parameters == found.num_trained == sum(one.count for one in found.weights) == PUBLISHED[name]


def test_adapters_of_eight_billion() -> None:
    """A and B of rank 16 on seven layers: 16 x (inputs + outputs)."""
    sizes = [(4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096), (4096, 14336), (4096, 14336), (14336, 4096)]
    found = architecture("llama-3.1-8b", "lora")
    assert found.num_trained == 32 * 16 * sum(map(sum, sizes)) == 41_943_040
    assert found.num_parameters == PUBLISHED["llama-3.1-8b"]
    assert found.layers[0].adapter_ranks == 7 * 16
    assert not found.head_is_trained


LORAS = [{}, {"targets": "q_proj,v_proj"}, {"dora": True}]


@pytest.mark.parametrize("lora", LORAS, ids=["all", "some", "dora"])
def test_as_many_train_as_in_the_real_network(tiny_llama: Path, lora: dict[str, Any]) -> None:
    settings = LoraConfig(rank=4, alpha=8.0, **lora)
    real = add_lora(AutoModelForCausalLM.from_pretrained(tiny_llama), settings, "base")
    trained = sum(parameter.numel() for parameter in real.parameters() if parameter.requires_grad)
    found = describe(read_network(tiny_llama / "config.json"), method="lora", lora=settings)
    assert found.num_trained == trained
    assert found.is_fused is not settings.dora


def test_the_last_layers(tiny_gemma: Path) -> None:
    network = read_network(tiny_gemma / "config.json")
    found = describe(network, method="freeze", trainable_layers=1)
    assert [layer.is_trained for layer in found.layers] == [False, False, False, True]
    assert [layer.window for layer in found.layers] == [8, None, 8, None]
    assert [(layer.norms, layer.normalises_heads) for layer in found.layers] == [(4, True)] * 4
    assert describe(network, method="full").num_trained == found.num_parameters  # and nothing stays frozen behind


def test_what_is_quantised() -> None:
    found = architecture("llama-3.1-8b", "qlora")
    packed = sum(one.count for one in found.weights if one.is_linear)
    assert packed == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    assert not any(one.is_linear for one in found.root)  # neither embedding nor head


def write(folder: Path, text: str) -> Path:
    file = folder / "config.json"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "transformers cannot build"),
        ("[]", "no key model_type"),
        ('{"hidden_size": 8}', "no key model_type"),
        ('{"model_type": "never-heard-of"}', "knows no model_type 'never-heard-of'"),
        ('{"model_type": "t5"}', "transformers cannot build"),
        ('{"model_type": "mixtral", "num_hidden_layers": 2}', "mixture of experts"),
        ('{"model_type": "mamba", "num_hidden_layers": 2}', "carries a state"),
        ('{"model_type": "llama", "hidden_size": 100, "num_attention_heads": 3}', "transformers cannot build"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(AssetError, match=words) as error:
        read_network(write(tmp_path, text))
    assert len(str(error.value)) < 600


def test_how_the_weights_are_stored_does_not_matter(tmp_path: Path) -> None:
    written = json.loads((CONFIGS / "llama-3.2-1b.json").read_text(encoding="utf-8"))
    file = write(tmp_path, json.dumps({**written, "quantization_config": {"quant_method": "fp8"}}))
    assert describe(read_network(file), method="full").num_parameters == PUBLISHED["llama-3.2-1b"]


def test_unknown_targets() -> None:
    with pytest.raises(ConfigError, match="'w_proj' is no linear layer"):
        architecture("llama-3.2-1b", "lora", targets="q_proj,w_proj")


def test_building_takes_no_memory_for_weights() -> None:
    network = read_network(CONFIGS / "llama-3.1-70b.json")
    assert {parameter.device for parameter in network.parameters()} == {torch.device("meta")}
