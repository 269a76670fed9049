"""From a folder to a network, or to one clear sentence why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine import reference
from tunesmith.engine.loading import choose_device, choose_dtype, load_model
from tunesmith.errors import AssetError, ConfigError

CPU = torch.device("cpu")


def test_what_is_loaded(tiny_llama: Path, tiny_gemma: Path) -> None:
    for directory, stop in ((tiny_llama, 2), (tiny_gemma, 1)):
        loaded = load_model(directory, dtype=torch.bfloat16, device=CPU)
        assert (loaded.dtype, loaded.device, loaded.context_length, loaded.stop_ids) == (torch.bfloat16, CPU, 256, {stop})
        assert not loaded.network.training


def weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def drop_a_weight(folder: Path) -> None:
    state = load_file(weights(folder))
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, weights(folder), metadata={"format": "pt"})


def reshape_a_weight(folder: Path) -> None:
    save_file({**load_file(weights(folder)), "model.norm.weight": torch.zeros(3)}, weights(folder), metadata={"format": "pt"})


def truncate(folder: Path) -> None:
    weights(folder).write_bytes(weights(folder).read_bytes()[:-100])


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def unknown_architecture(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "nonesuch"}', encoding="utf-8")


def not_a_decoder(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (drop_a_weight, "1 of its weights are missing, e.g. model.layers.1.mlp.up_proj.weight"),
        (reshape_a_weight, "transformers cannot load it"),
        (truncate, "transformers cannot load it"),
        (break_config, "not a valid JSON"),
        (unknown_architecture, "nonesuch"),
        (not_a_decoder, "weights are missing"),
        (no_tokenizer, "transformers cannot load it"),
    ],
    ids=lambda value: value.__name__ if callable(value) else None,
)
def test_a_broken_folder_is_one_sentence(tiny_llama: Path, tmp_path: Path, spoil: Callable[[Path], None], found: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_llama, folder)
    spoil(folder)
    with pytest.raises(AssetError) as caught:
        load_model(folder, dtype=torch.float32, device=CPU)
    assert caught.value.place == str(folder)
    assert found in caught.value.found
    assert "\n" not in caught.value.found


@pytest.mark.parametrize("kind", ["mamba", "lfm2"])
def test_models_with_a_state_are_refused(tiny_llama: Path, tmp_path: Path, kind: str) -> None:
    settings = {"mamba": {"state_size": 8}, "lfm2": {"layer_types": ["conv", "full_attention"]}}[kind]
    shutil.copytree(tiny_llama, tmp_path / kind)
    for file in (tmp_path / kind).glob("*model*"):
        file.unlink()
    reference.tiny(kind, vocab_size=420, **settings).save_pretrained(tmp_path / kind)
    with pytest.raises(AssetError, match="carries a state from token to token"):
        load_model(tmp_path / kind, dtype=torch.float32, device=CPU)


def test_gemma2_has_no_fused_attention_and_loads_all_the_same(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "gemma2")
    reference.tiny("gemma2", vocab_size=420, head_dim=8).save_pretrained(tmp_path / "gemma2")
    assert type(load_model(tmp_path / "gemma2", dtype=torch.float32, device=CPU).network).__name__ == "Gemma2ForCausalLM"


def test_devices_and_types() -> None:
    assert choose_device("cpu") == CPU
    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    assert choose_dtype("auto", CPU) in (torch.float32, torch.bfloat16)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu() -> None:
    with pytest.raises(ConfigError, match="--device cuda"):
        choose_device("cuda")
