"""Weights of a model folder read in parts, without ever holding more than is asked for.

>>> folder = WeightFolder(directory)
>>> folder.rows("model.embed_tokens.weight", 0, 1000)       # (1000, E)

Rows are read, not mapped: safetensors maps a whole file for torch as if all of it could be written to, which the system refuses
for files larger than its memory.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunesmith.engine.loading import unusable
from tunesmith.errors import first_line

ROWS_AT_ONCE = 8192
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""By their names in files (https://github.com/huggingface/safetensors, Format)."""


class Place(NamedTuple):
    """Where a tensor is."""

    file: Path
    start: int
    """Bytes before it in the file."""
    dtype: torch.dtype
    shape: torch.Size


class WeightFolder:
    """The safetensors of one model folder: those that transformers would read, no others that lie beside them."""

    def __init__(self, directory: Path) -> None:
        """Read names, types and shapes alone.

        Raises:
            AssetError: there are none, or they cannot be read.
        """
        self.directory = directory
        try:
            self._place_of = self._places()
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise unusable(directory, f"its weights cannot be read ({first_line(error)})") from error

    def _places(self) -> dict[str, Place]:
        if not (index := self.directory / INDEX).is_file():
            return places_in(self.directory / SINGLE)
        files: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        found = {file: places_in(self.directory / file) for file in set(files.values())}
        return {name: found[file][name] for name, file in files.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._place_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._place_of)

    def shape(self, name: str) -> torch.Size:
        """As it is on disk."""
        return self._place_of[name].shape

    def are_equal(self, name: str, other: str) -> bool:
        """Compared some rows at a time."""
        num_rows = self.shape(name)[0]
        starts = range(0, num_rows, ROWS_AT_ONCE)
        return self.shape(name) == self.shape(other) and all(
            torch.equal(*(self.rows(one, start, min(num_rows, start + ROWS_AT_ONCE)) for one in (name, other))) for start in starts
        )

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of the first dimension, in the type they have on disk."""
        place = self._place_of[name]
        found = torch.empty((stop - start, *place.shape[1:]), dtype=place.dtype)
        read_rows(place, start, found)
        return found

    def whole(self, name: str) -> Tensor:
        """All of it, in the type it has on disk."""
        place = self._place_of[name]
        found = torch.empty(place.shape, dtype=place.dtype)
        read_rows(place, 0, found)
        return found


class GrownFolder(WeightFolder):
    """One whose embedding and output head got rows for new tokens, each the mean of all former ones (engine/vocabulary.py)."""

    def __init__(
        self, directory: Path, *, names: Collection[str], num_rows: int, new: Sequence[int], num_old: int, dtype: torch.dtype
    ) -> None:
        """Read names, types and shapes alone.

        Args:
            names: of the weights with a row for each token.
            num_rows: they have now; new ones may lie within those that there were.
            new: numbers of their rows.
            num_old: former tokens.
            dtype: of the numbers that the mean is taken of.

        Raises:
            AssetError: there are none, or they cannot be read.
        """
        super().__init__(directory)
        self.new = new
        self._names, self._num_rows, self._num_old, self._dtype = names, num_rows, num_old, dtype
        self._means: dict[str, Tensor] = {}

    def shape(self, name: str) -> torch.Size:
        """With the new rows."""
        found = super().shape(name)
        return torch.Size((self._num_rows, *found[1:])) if name in self._names else found

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of the first dimension, in the type they have on disk."""
        if name not in self._names:
            return super().rows(name, start, stop)
        there = super().shape(name)[0]
        found = super().rows(name, min(start, there), min(stop, there))
        found = torch.cat([found, found.new_zeros(stop - start - len(found), *found.shape[1:])])
        for row in self.new:
            if start <= row < stop:
                found[row - start] = self.new_row(name).to(found.dtype)
        return found

    def whole(self, name: str) -> Tensor:
        """All of it, in the type it has on disk."""
        return self.rows(name, 0, self._num_rows) if name in self._names else super().whole(name)

    def new_row(self, name: str) -> Tensor:
        """(E,) in the type that the mean is taken in."""
        if name not in self:  # tied weights may be kept by another of their names
            name = next(one for one in sorted(self._names) if one in self)
        if name not in self._means:
            starts = range(0, self._num_old, ROWS_AT_ONCE)
            parts = (super(GrownFolder, self).rows(name, start, min(self._num_old, start + ROWS_AT_ONCE)) for start in starts)
            total = torch.stack([part.to(self._dtype).double().sum(0) for part in parts]).sum(0)
            self._means[name] = (total / self._num_old).to(self._dtype)
        return self._means[name]


def places_in(file: Path) -> dict[str, Place]:
    """By name.

    Raises:
        OSError, ValueError, SafetensorError: there is no such file, or it is none of its kind.
    """
    with safe_open(file, framework="numpy"):  # says what is wrong with it
        pass
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    if unknown := {about["dtype"] for about in header.values()} - DTYPES.keys():
        raise ValueError(f"{file.name} has numbers of the type {min(unknown)}")
    return {
        name: Place(file, 8 + size + about["data_offsets"][0], DTYPES[about["dtype"]], torch.Size(about["shape"]))
        for name, about in header.items()
    }


def read_rows(place: Place, start: int, into: Tensor) -> None:
    """As many rows as there is room for, from that one on; of a single number that number."""
    skipped = start * place.shape[1:].numel() * into.itemsize
    with place.file.open("rb") as stream:
        stream.seek(place.start + skipped)
        count = stream.readinto(into.view(-1).view(torch.uint8).numpy().data) if into.numel() else 0
    assert count == into.nbytes, f"{place.file} has changed"
