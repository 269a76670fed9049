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

from tunesmith.engine.sharded.reading import Place, places_in, read_rows

WEIGHTS, OPTIMIZER = "weights|", "optimizer|"
"""What names begin with; the rest is the parameter's name, for moments followed by `|` and their own."""
SHARDS = "shard-*.safetensors"
OFFSETS_IN_HEADER, OFFSETS = "DCP_SHARDING_INFO", "saved_offsets"
"""Of torch's format: which entry of the header says where each part begins."""


class _Piece(NamedTuple):
    """Rows of one tensor in one file."""

    place: Place
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.place.shape[0]


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
        with safe_open(file, framework="numpy") as stream:
            offsets_of = json.loads((stream.metadata() or {}).get(OFFSETS_IN_HEADER, "{}"))
        for key, place in places_in(file).items():
            offsets = offsets_of.get(key, {OFFSETS: []})[OFFSETS]
            assert not any(offsets[1:]), "rows are spread, never columns"
            self._pieces.setdefault(prefix + key, []).append(_Piece(place, offsets[0] if offsets else 0))

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __contains__(self, name: str) -> bool:
        return name in self._pieces

    def shape(self, name: str) -> tuple[int, ...]:
        """Of all its rows."""
        pieces = self._pieces[name]
        shape = pieces[0].place.shape
        return (max(piece.stop for piece in pieces), *shape[1:]) if shape else ()

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the first dimension, in memory of their own."""
        first = self._pieces[name][0].place
        found = torch.empty((stop - start, *first.shape[1:]), dtype=first.dtype)
        for piece in self._pieces[name]:
            begin, end = max(start, piece.start), min(stop, piece.stop)
            if begin < end:
                read_rows(piece.place, begin - piece.start, found[begin - start : end - start])
        return found

    def whole(self, name: str) -> Tensor:
        """All rows, or the one number."""
        shape = self.shape(name)
        if shape:
            return self.rows(name, 0, shape[0])
        found = torch.empty((), dtype=self._pieces[name][0].place.dtype)
        read_rows(self._pieces[name][0].place, 0, found)
        return found
