"""Which rows are whose, and that no weight is taken for another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.engine.loading import load_model
from tunesmith.engine.sharded.hollow import load_hollow
from tunesmith.engine.sharded.reading import SINGLE, WeightFolder
from tunesmith.engine.sharded.spreading import own_rows, sources_of
from tunesmith.errors import AssetError

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [1, 2, 5, 7, 12, 100])
def test_rows_are_cut_as_torch_cuts_them(rows: int, size: int) -> None:
    whole = torch.arange(rows)
    chunks = list(torch.chunk(whole, size)) + [whole[:0]] * size
    for rank in range(size):
        own = own_rows(rows, rank, size)
        assert torch.equal(whole[own.start : own.stop], chunks[rank])


@pytest.mark.parametrize("change", ["missing", "renamed", "reshaped"])
def test_weights_under_other_names_are_refused(tiny_llama: Path, tmp_path: Path, change: str) -> None:
    shutil.copytree(tiny_llama, tmp_path / "model")
    tensors = load_file(tiny_llama / SINGLE)
    name = "model.layers.1.mlp.up_proj.weight"
    weight = tensors.pop(name)
    if change != "missing":
        tensors[name if change == "reshaped" else name.replace("mlp", "ffn")] = weight.T.contiguous() if change == "reshaped" else weight
    save_file(tensors, tmp_path / "model" / SINGLE, metadata={"format": "pt"})
    network = load_hollow(tmp_path / "model", dtype=torch.float32).network
    with pytest.raises(AssetError, match=r"up_proj.*--strategy ddp"):
        sources_of(network, WeightFolder(tmp_path / "model"))


def test_tied_weights_may_have_either_name(tiny_llama: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_llama / SINGLE)
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    save_file(tensors, tmp_path / SINGLE)
    sources = sources_of(load_hollow(tiny_llama, dtype=torch.float32).network, WeightFolder(tmp_path))
    assert sources["model.embed_tokens.weight"] == sources["lm_head.weight"] == "lm_head.weight"
    assert set(sources) == set(load_model(tiny_llama, dtype=torch.float32, device=CPU).network.state_dict())


def test_tied_weights_that_differ_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_llama / SINGLE)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    network = load_hollow(tiny_llama, dtype=torch.float32).network
    save_file(tensors, tmp_path / SINGLE)
    sources_of(network, WeightFolder(tmp_path))
    tensors["lm_head.weight"][-1, 5] += 1
    save_file(tensors, tmp_path / SINGLE)
    with pytest.raises(AssetError, match="which the configuration ties"):
        sources_of(network, WeightFolder(tmp_path))
