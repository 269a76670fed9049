"""Weights of a model folder read in parts, without ever holding more than is asked for.

>>> folder = WeightFolder(directory)
>>> folder.rows("model.embed_tokens.weight", 0, 1000)       # (1000, E)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tunesmith.engine.loading import unusable
from tunesmith.errors import first_line

ROWS_COMPARED = 8192
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


class WeightFolder:
    """The safetensors of one model folder: those that transformers would read, no others that lie beside them."""

    def __init__(self, directory: Path) -> None:
        """Read names alone.

        Raises:
            AssetError: there are none, or they cannot be read.
        """
        self.directory = directory
        try:
            self._file_of = self._files()
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise unusable(directory, f"its weights cannot be read ({first_line(error)})") from error

    def _files(self) -> dict[str, Path]:
        if (index := self.directory / INDEX).is_file():
            places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            return {name: self.directory / file for name, file in places.items()}
        file = self.directory / SINGLE
        with safe_open(file, framework="pt") as stream:
            return dict.fromkeys(stream.keys(), file)

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def shape(self, name: str) -> torch.Size:
        """As it is on disk."""
        return self._shapes[name]

    @cached_property
    def _shapes(self) -> dict[str, torch.Size]:
        found: dict[str, torch.Size] = {}
        for file in set(self._file_of.values()):
            with safe_open(file, framework="pt") as stream:
                found |= {name: torch.Size(stream.get_slice(name).get_shape()) for name in stream.keys()}  # noqa: SIM118
        return found

    def are_equal(self, name: str, other: str) -> bool:
        """Compared some rows at a time."""
        num_rows = self.shape(name)[0]
        starts = range(0, num_rows, ROWS_COMPARED)
        return self.shape(name) == self.shape(other) and all(
            torch.equal(*(self.rows(one, start, min(num_rows, start + ROWS_COMPARED)) for one in (name, other))) for start in starts
        )

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows of the first dimension, in the type they have on disk; memory of their own, for the rest of the file to go."""
        with safe_open(self._file_of[name], framework="pt") as stream:
            part = stream.get_slice(name)
            found: Tensor = part[start:stop] if start < stop else torch.empty((0, *part.get_shape()[1:]))
        return found.clone()

    def whole(self, name: str) -> Tensor:
        """All of it, in the type it has on disk."""
        with safe_open(self._file_of[name], framework="pt") as stream:
            found: Tensor = stream.get_tensor(name)
        return found
