"""What torch.distributed.checkpoint writes a rank's part of a checkpoint with: the files of its `HuggingFaceStorageWriter`, in less memory.

torch's own copies what it is given, which has to be a copy already, and puts each file together in memory once more. Here there is
at most one copy of the rank's own rows, and a file is written tensor by tensor.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.storage import WriteResult
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.futures import Future

from tunesmith.engine.float_file import write_floats
from tunesmith.engine.sharded.weights import local
from tunesmith.train.saved_tensors import OFFSETS, OFFSETS_IN_HEADER

FILE = "shard-{:05d}-model-00001-of-00001.safetensors"


class ShardWriter(HuggingFaceStorageWriter):
    """Writes float32 tensors of one folder: each rank its rows of those that are spread; what all have, one of them."""

    def __init__(self, folder: Path, mesh: DeviceMesh, *, copies: bool) -> None:
        """What `async_save` is given is written as it is then if the writer `copies`; else nobody may change it until it is written.

        Args:
            mesh: the ranks, on CPUs.
        """
        super().__init__(str(folder), save_distributed=True)
        self._folder = folder
        self._mesh = mesh
        self._copies = copies

    def stage(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Side by side on the CPU, in one block that the system gets back when it is written."""
        if not self._copies:
            return state_dict
        own = {name: local(value) if isinstance(value, DTensor) else value for name, value in state_dict.items()}
        sizes = [part.numel() for part in own.values()]
        places = torch.split(torch.empty(sum(sizes)), sizes)
        staged: dict[str, Any] = {}
        for (name, part), place in zip(own.items(), places, strict=True):
            copy = place.view(part.shape).copy_(part.detach())
            staged[name] = self._as_part(copy, state_dict[name])
        return staged

    def _as_part(self, rows: Tensor, like: Tensor) -> Tensor:
        if not isinstance(like, DTensor):
            return rows
        return DTensor.from_local(rows, self._mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride())

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """On every rank; nothing is said of what was written, for the files say it themselves."""
        if plan.items:
            self._write(plan, planner)
        done: Future[list[WriteResult]] = Future()
        done.set_result([])
        return done

    def _write(self, plan: SavePlan, planner: SavePlanner) -> None:
        chunks = {item.index.fqn: item.tensor_data.chunk for item in plan.items if item.tensor_data is not None}
        assert len(chunks) == len(plan.items), "a rank has one piece of each tensor"
        offsets = {name: {OFFSETS: list(chunk.offsets)} for name, chunk in chunks.items()}
        file = self._folder / FILE.format(plan.storage_data["shard_index"])
        numbers = (_tensor(planner.resolve_data(item)) for item in plan.items)
        write_floats(file, {name: chunk.sizes for name, chunk in chunks.items()}, numbers, _header(offsets))
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _header(offsets: Mapping[str, Mapping[str, list[int]]]) -> dict[str, str]:
    """Where the pieces belong, as torch's reader of such files expects it."""
    return {OFFSETS_IN_HEADER: json.dumps(offsets), "DCP_VERSION": "1.0"}


def _tensor(found: object) -> Tensor:
    assert isinstance(found, Tensor)
    return found
