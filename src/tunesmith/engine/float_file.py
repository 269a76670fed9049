"""A safetensors file of float32 numbers that is written as they come: not even one tensor has to exist whole.

>>> write_floats(file, {"bias": (2,), "weight": (3, 2)}, [bias, weight[:1], weight[1:]])
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor


def write_floats(
    file: Path, shapes: Mapping[str, Sequence[int]], pieces: Iterable[Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the tensors in the order given (https://github.com/huggingface/safetensors, Format).

    Args:
        pieces: all their numbers in that order, cut anywhere; each is let go of before the next is asked for.
        metadata: for the header, beside what says that they are torch's.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # numbers begin at a multiple of 8
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for piece in pieces:
            assert piece.dtype == torch.float32
            stream.write(piece.detach().cpu().contiguous().reshape(-1).numpy().data)
            del piece
        assert stream.tell() == 8 + len(text) + end, "the numbers are not those of the shapes"
