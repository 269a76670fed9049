"""Many rendered examples in a few flat arrays: in memory, or mapped from files.

    token_ids    [ 1 4093 198 …            1 4093 …      ]   int32, all sequences one after another
    supervised   [ F F    F   … T T T      F F    … T    ]   bool, in step
    starts       [ 0                       37      …     ]   int64, where each begins, and where the last ends
    example      [ 0                       1       …     ]   int64, which example each renders

A `RenderedExample` with its tuples of Python numbers takes ten times the memory; it is made when it is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tunesmith.types import Example, RenderedExample


@dataclass(frozen=True, kw_only=True)
class TokenArrays:
    """n sequences of together N tokens."""

    token_ids: NDArray[np.int32]  # (N,)
    supervised: NDArray[np.bool_]  # (N,)
    starts: NDArray[np.int64]  # (n + 1,)
    example: NDArray[np.int64]  # (n,)
    num_cut_tokens: NDArray[np.int64]  # (n,)
    window: NDArray[np.int64]  # (n,)
    num_windows: NDArray[np.int64]  # (n,)

    @classmethod
    def of(cls, rendered: Sequence[RenderedExample], numbers: Sequence[int]) -> TokenArrays:
        """`numbers`: which example each one renders."""
        lengths = [len(one.token_ids) for one in rendered]
        total = sum(lengths)
        return cls(
            token_ids=np.fromiter(chain.from_iterable(one.token_ids for one in rendered), np.int32, total),
            supervised=np.fromiter(chain.from_iterable(one.supervised for one in rendered), np.bool_, total),
            starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]),
            example=np.array(numbers, np.int64),
            num_cut_tokens=np.array([one.num_cut_tokens for one in rendered], np.int64),
            window=np.array([one.window for one in rendered], np.int64),
            num_windows=np.array([one.num_windows for one in rendered], np.int64),
        )

    @classmethod
    def joined(cls, parts: Sequence[TokenArrays]) -> TokenArrays:
        """One after another."""
        ends = np.cumsum([0, *(len(part.token_ids) for part in parts)], dtype=np.int64)
        starts = [part.starts[:-1] + end for part, end in zip(parts, ends, strict=False)]
        others = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(cls)
            if field.name != "starts"
        }
        return cls(starts=np.concatenate([*starts, ends[-1:]]), **others)


class RenderedExamples(Sequence[RenderedExample]):
    """Made one by one from the arrays and their examples."""

    def __init__(self, arrays: TokenArrays, examples: Sequence[Example], *, swapped: bool = False) -> None:
        """`swapped`: of preference pairs the rejected sides."""
        self.arrays = arrays
        self._examples = examples
        self._swapped = swapped

    def __len__(self) -> int:
        return len(self.arrays.example)

    @overload
    def __getitem__(self, index: int) -> RenderedExample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RenderedExample]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[position] for position in range(*index.indices(len(self))))
        position = range(len(self))[index]
        start, stop = self.arrays.starts[position : position + 2]
        example = self._examples[int(self.arrays.example[position])]
        return RenderedExample(
            example=example.swapped() if self._swapped else example,
            token_ids=tuple(self.arrays.token_ids[start:stop].tolist()),
            supervised=tuple(self.arrays.supervised[start:stop].tolist()),
            num_cut_tokens=int(self.arrays.num_cut_tokens[position]),
            window=int(self.arrays.window[position]),
            num_windows=int(self.arrays.num_windows[position]),
        )

    def __iter__(self) -> Iterator[RenderedExample]:
        return (self[position] for position in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,) tokens of each."""
        return np.diff(self.arrays.starts)

    @property
    def num_supervised(self) -> NDArray[np.int64]:
        """(n,) supervised tokens of each."""
        if not len(self):
            return np.zeros(0, np.int64)
        counts: NDArray[np.int64] = np.add.reduceat(self.arrays.supervised, self.arrays.starts[:-1], dtype=np.int64)
        return counts  # no sequence is empty

    @property
    def sources(self) -> Sequence[str]:
        """Of all, in order; reads every example."""
        return [self._examples[int(number)].source for number in self.arrays.example]
