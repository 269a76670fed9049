"""Several examples in one sequence, without padding and without attention across them.

>>> pack = build_pack([short, longer], device)
>>> pack.token_ids.shape        # (1, T), T = the sum of the lengths
>>> pack.segments.buckets       # segments of similar length share one attention call
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.types import RenderedExample

BUCKET_RATIO = 0.7
"""Segments share an attention call with the longest of them when they are at least this fraction of its length."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """Neighbouring segments of similar length, padded to a rectangle for attention only.

    S segments, L = the longest of them, N = the sum of their lengths.
    """

    start: int
    """First token of the bucket in the pack; its tokens are `start … start + N`."""
    lengths: tuple[int, ...]
    """Tokens of each segment, longest first."""
    pad_index: Tensor
    """(S·L,) which of the N tokens stands at each place of the rectangle (padding repeats a token, its result unused)."""
    unpad_index: Tensor
    """(N,) the place of each token in the rectangle."""
    padding: Tensor
    """Places of the rectangle that are padding; empty when all segments have one length."""

    @property
    def num_segments(self) -> int:
        return len(self.lengths)

    @property
    def max_length(self) -> int:
        return self.lengths[0]

    @property
    def num_tokens(self) -> int:
        return sum(self.lengths)


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """Where the examples of a pack lie; what the attention function needs to keep them apart."""

    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """One sequence holding several examples, longest first."""

    token_ids: Tensor
    """(1, T) int64."""
    position_ids: Tensor
    """(1, T) int64, from 0 in every segment."""
    predicting: Tensor
    """(M,) positions whose next token is supervised."""
    labels: Tensor
    """(M,) those next tokens."""
    segment_of_label: Tensor
    """(M,) index into `members` of the example each label belongs to."""
    segments: Segments
    members: tuple[int, ...]
    """The examples' indices, in the order of the segments."""

    @property
    def num_tokens(self) -> int:
        return self.token_ids.shape[1]

    @property
    def num_supervised(self) -> int:
        return self.labels.shape[0]


def plan_packs(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Group indices into as few packs of at most `max_tokens` as longest-first filling needs, and those as even as can be.

    Similar lengths come together, longest first. An example longer than `max_tokens` gets a pack of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    num_packs = len(_fill(order, lengths, max_tokens))
    low, high = max(lengths, default=0), max_tokens  # the smallest limit that needs no more packs lies between
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_fill(order, lengths, middle)) <= num_packs else (middle + 1, high)
    return _fill(order, lengths, high)


def _fill(order: Sequence[int], lengths: Sequence[int], limit: int) -> list[list[int]]:
    packs: list[list[int]] = []
    used = 0
    for index in order:
        if not packs or used + lengths[index] > limit:
            packs.append([])
            used = 0
        packs[-1].append(index)
        used += lengths[index]
    return packs


def build_pack(examples: Sequence[RenderedExample], members: Sequence[int], device: torch.device) -> Pack:
    """Lay `examples[i]` for each `i` in `members` one after another, longest first."""
    order = sorted(members, key=lambda i: (-len(examples[i].token_ids), i))
    chosen = [examples[i] for i in order]
    lengths = [len(example.token_ids) for example in chosen]
    token_ids = torch.tensor([token for example in chosen for token in example.token_ids])
    position_ids = torch.cat([torch.arange(length) for length in lengths])
    supervised = torch.tensor([flag for example in chosen for flag in example.supervised])
    supervised &= position_ids > 0  # nothing predicts a segment's first token
    targets = supervised.nonzero().squeeze(1)
    segment_of_token = torch.repeat_interleave(torch.arange(len(order)), torch.tensor(lengths))
    return Pack(
        token_ids=token_ids[None].to(device),
        position_ids=position_ids[None].to(device),
        predicting=(targets - 1).to(device),
        labels=token_ids[targets].to(device),
        segment_of_label=segment_of_token[targets].to(device),
        segments=build_segments(lengths, device),
        members=tuple(order),
    )


def build_segments(lengths: Sequence[int], device: torch.device) -> Segments:
    """Cut a pack's segments, given longest first, into buckets of similar length."""
    buckets: list[Bucket] = []
    first, start = 0, 0
    while first < len(lengths):
        last = next((i for i in range(first, len(lengths)) if lengths[i] < BUCKET_RATIO * lengths[first]), len(lengths))
        bucket = _build_bucket(lengths[first:last], start, device)
        buckets.append(bucket)
        first, start = last, start + bucket.num_tokens
    return Segments(buckets=tuple(buckets))


def _build_bucket(lengths: Sequence[int], start: int, device: torch.device) -> Bucket:
    sizes = torch.tensor(lengths)
    offsets = sizes.cumsum(0) - sizes
    place = torch.arange(lengths[0])[None, :]  # (1, L)
    is_token = place < sizes[:, None]  # (S, L)
    pad_index = (offsets[:, None] + torch.minimum(place, sizes[:, None] - 1)).flatten()
    flat = is_token.flatten()
    return Bucket(
        start=start,
        lengths=tuple(lengths),
        pad_index=pad_index.to(device),
        unpad_index=flat.nonzero().squeeze(1).to(device),
        padding=(~flat).nonzero().squeeze(1).to(device),
    )
