"""Tensors of a checkpoint by name and row, whole or from the shards of several ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tunesmith.train.saved_tensors import OFFSETS, OFFSETS_IN_HEADER, SavedTensors

MATRIX = torch.arange(35.0).view(7, 5)


@pytest.fixture
def whole(tmp_path: Path) -> SavedTensors:
    save_file({"a": MATRIX}, tmp_path / "weights.safetensors")
    save_file({"a|exp_avg": -MATRIX, "a|step": torch.tensor(3.0)}, tmp_path / "optimizer.safetensors")
    save_file({"cpu": torch.zeros(4)}, tmp_path / "random.safetensors")
    return SavedTensors(tmp_path)


@pytest.fixture
def shards(tmp_path: Path) -> SavedTensors:
    """Of four ranks; the last one has no rows, the third writes no file."""
    for number, (start, stop) in {1: (0, 2), 2: (2, 6), 4: (6, 7), 5: (7, 7)}.items():
        tensors = {"weights|a": MATRIX[start:stop].clone(), "optimizer|a|exp_avg": -MATRIX[start:stop].clone()}
        offsets = {name: {OFFSETS: [start, 0]} for name in tensors}
        if number == 1:
            tensors["optimizer|a|step"] = torch.tensor(3.0)
            offsets["optimizer|a|step"] = {OFFSETS: []}
        save_file(tensors, tmp_path / f"shard-0000{number}-model-00001-of-00001.safetensors", {OFFSETS_IN_HEADER: json.dumps(offsets)})
    return SavedTensors(tmp_path)


@pytest.mark.parametrize("kind", ["whole", "shards"])
def test_any_rows_of_either_kind(request: pytest.FixtureRequest, kind: str) -> None:
    saved: SavedTensors = request.getfixturevalue(kind)
    assert sorted(saved) == ["optimizer|a|exp_avg", "optimizer|a|step", "weights|a"]
    assert saved.shape("weights|a") == (7, 5)
    assert saved.shape("optimizer|a|step") == ()
    assert saved.whole("optimizer|a|step") == 3
    assert torch.equal(saved.whole("optimizer|a|exp_avg"), -MATRIX)
    for start in range(8):
        for stop in range(start, 8):
            assert torch.equal(saved.rows("weights|a", start, stop), MATRIX[start:stop])


def test_a_file_larger_than_memory(tmp_path: Path) -> None:
    """A terabyte of zeros that takes no room on the disk, and one row of ones."""
    num_rows, width = 2**28, 2**10
    header = json.dumps({"a": {"dtype": "F32", "shape": [num_rows, width], "data_offsets": [0, 4 * num_rows * width]}}).encode()
    with (tmp_path / "weights.safetensors").open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        start = stream.tell()
        stream.truncate(start + 4 * num_rows * width)
        stream.seek(start + 4 * (num_rows - 3) * width)
        stream.write(torch.ones(width).numpy().data)
    saved = SavedTensors(tmp_path)
    assert saved.shape("weights|a") == (num_rows, width)
    assert saved.rows("weights|a", num_rows - 5, num_rows).sum(1).tolist() == [0, 0, width, 0, 0]
