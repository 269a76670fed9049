"""What a checkpoint keeps, read by name and row, whether one process wrote it whole or several wrote their parts.

>>> saved = SavedTensors(run.path / "checkpoints" / "step-00000040")
>>> saved.rows("weights|model.norm.weight", 0, 100)

One process writes `weights.safetensors` and `optimizer.safetensors`; several write `shard-*.safetensors`, each with the rows of
its rank under the full names, and in the header where they belong (torch.distributed.checkpoint, `HuggingFaceStorageWriter`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

WEIGHTS, OPTIMIZER = "weights|", "optimizer|"
"""What names begin with; the rest is the parameter's name, for moments followed by `|` and their own."""
SHARDS = "shard-*.safetensors"
OFFSETS_IN_HEADER, OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"
"""Of torch's format: which entry of the header says where each part begins."""


class _Piece(NamedTuple):
    """Rows of one tensor in one file."""

    file: Path
    key: str
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.start + self.shape[0]


class SavedTensors:
    """The tensors of one folder: names at once, numbers when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._pieces: dict[str, list[_Piece]] = {}
        for prefix, file in ((WEIGHTS, folder / "weights.safetensors"), (OPTIMIZER, folder / "optimizer.safetensors")):
            if file.is_file():
                self._add(file, prefix)
        for file in sorted(folder.glob(SHARDS)):
            self._add(file, "")

    def _add(self, file: Path, prefix: str) -> None:
        with safe_open(file, framework="pt") as stream:
            places = json.loads((stream.metadata() or {}).get(OFFSETS_IN_HEADER, "{}"))
            for key in stream.keys():  # noqa: SIM118 - it is no dictionary
                offsets = places.get(key, {OFFSETS: []})[OFFSETS]
                shape = tuple(stream.get_slice(key).get_shape())
                assert not any(offsets[1:]), "rows are spread, never columns"
                self._pieces.setdefault(prefix + key, []).append(_Piece(file, key, offsets[0] if offsets else 0, shape))

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __contains__(self, name: str) -> bool:
        return name in self._pieces

    def shape(self, name: str) -> tuple[int, ...]:
        """Of all its rows."""
        pieces = self._pieces[name]
        return () if not pieces[0].shape else (max(piece.stop for piece in pieces), *pieces[0].shape[1:])

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the first dimension, in memory of their own."""
        found = [_read(p, max(start, p.start), min(stop, p.stop)) for p in self._in_order(name) if p.start < stop and p.stop > start]
        return torch.cat(found) if found else torch.empty((0, *self.shape(name)[1:]))

    def whole(self, name: str) -> Tensor:
        """All rows, or the one number."""
        shape = self.shape(name)
        if shape:
            return self.rows(name, 0, shape[0])
        piece = self._pieces[name][0]
        with safe_open(piece.file, framework="pt") as stream:
            found: Tensor = stream.get_tensor(piece.key)
        return found

    def _in_order(self, name: str) -> list[_Piece]:
        return sorted((piece for piece in self._pieces[name] if piece.shape[0]), key=lambda piece: piece.start)


def _read(piece: _Piece, start: int, stop: int) -> Tensor:
    with safe_open(piece.file, framework="pt") as stream:
        found: Tensor = stream.get_slice(piece.key)[start - piece.start : stop - piece.start]
    return found
