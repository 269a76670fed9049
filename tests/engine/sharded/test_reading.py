"""Weights read in parts: the numbers of the file, whatever its size, and those of tokens that it does not know."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.engine.loading import load_model
from tunesmith.engine.sharded.hollow import load_hollow
from tunesmith.engine.sharded.reading import INDEX, SINGLE, GrownFolder, WeightFolder
from tunesmith.engine.vocabulary import add_new_tokens
from tunesmith.errors import AssetError

CPU = torch.device("cpu")


def test_a_folder_is_read_in_parts(tiny_llama: Path, tmp_path: Path) -> None:
    tensors = load_file(tiny_llama / SINGLE)
    names = sorted(tensors)
    halves = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, own in halves.items():
        save_file({name: tensors[name] for name in own}, tmp_path / file)
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {name: file for file, own in halves.items() for name in own}}))
    save_file({"others": torch.zeros(2)}, tmp_path / "consolidated.safetensors")
    folder = WeightFolder(tmp_path)
    assert sorted(folder) == names
    for name, tensor in tensors.items():
        assert folder.shape(name) == tensor.shape
        assert torch.equal(folder.rows(name, 3, 7), tensor[3:7])
        assert folder.rows(name, 5, 5).shape == (0, *tensor.shape[1:])
        assert torch.equal(folder.whole(name), tensor)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_every_type(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"matrix": torch.arange(12).view(4, 3).to(dtype), "number": torch.tensor(3).to(dtype), "none": torch.empty(0, 3, dtype=dtype)}
    save_file(tensors, tmp_path / SINGLE)
    folder = WeightFolder(tmp_path)
    for name, tensor in tensors.items():
        assert torch.equal(folder.whole(name), tensor)
        assert folder.whole(name).dtype == dtype
    assert torch.equal(folder.rows("matrix", 1, 3), tensors["matrix"][1:3])


def test_a_file_larger_than_memory(tmp_path: Path) -> None:
    """Which safetensors does not open for torch: it would map the whole of it, to be written to."""
    width = 2**20
    num_rows = 2 * psutil.virtual_memory().total // (2 * width)
    about = {"embedding": {"dtype": "BF16", "shape": [num_rows, width], "data_offsets": [0, 2 * width * num_rows]}}
    header = json.dumps(about).encode()
    with (tmp_path / SINGLE).open("wb") as stream:  # nothing but its last row is on the disk
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.seek(2 * width * (num_rows - 1), 1)
        stream.write(torch.ones(width, dtype=torch.bfloat16).view(torch.uint8).numpy().data)
    rows = WeightFolder(tmp_path).rows("embedding", num_rows - 2, num_rows)
    assert rows.float().sum(1).tolist() == [0, width]


@pytest.mark.parametrize("change", ["cut", "type", "index"])
def test_what_cannot_be_read_is_said(tmp_path: Path, change: str) -> None:
    save_file({"a": torch.zeros(4, 4)}, tmp_path / SINGLE)
    content = (tmp_path / SINGLE).read_bytes()
    if change == "index":
        (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": SINGLE, "b": SINGLE}}))
    else:
        (tmp_path / SINGLE).write_bytes(content[:-8] if change == "cut" else content.replace(b'"F32"', b'"C64"').replace(b"64]", b"128]"))
    with pytest.raises(AssetError, match="its weights cannot be read"):
        WeightFolder(tmp_path)


@pytest.mark.parametrize("spare", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_new_tokens(tiny_llama: Path, tmp_path: Path, dtype: torch.dtype, spare: int) -> None:
    """As they are where the whole network is loaded; new ones may have their place among spare rows."""
    model = tiny_llama
    if spare:
        model = tmp_path / "spare"
        loaded = load_model(tiny_llama, dtype=torch.float32, device=CPU)
        loaded.network.resize_token_embeddings(len(loaded.tokenizer) + spare, mean_resizing=False)
        loaded.network.save_pretrained(model)
        loaded.tokenizer.save_pretrained(model)
    hollow, loaded = load_hollow(model, dtype=dtype), load_model(model, dtype=dtype, device=CPU)
    num_old = len(hollow.tokenizer)
    ids = [add_new_tokens(one, ["<a>", "<b>"]) for one in (hollow, loaded)]
    expected = loaded.network.get_input_embeddings().weight.detach()
    name = "model.embed_tokens.weight"
    folder = GrownFolder(model, names={name}, num_rows=len(expected), new=ids[0], num_old=num_old, dtype=dtype)
    assert ids[0] == ids[1]
    assert folder.shape(name) == hollow.network.get_input_embeddings().weight.shape == expected.shape
    torch.testing.assert_close(folder.whole(name).to(dtype), expected)
    torch.testing.assert_close(folder.rows(name, num_old - 2, num_old + 1).to(dtype), expected[num_old - 2 : num_old + 1])
    norm = "model.norm.weight"
    assert torch.equal(folder.whole(norm).to(dtype), loaded.network.get_parameter(norm))
