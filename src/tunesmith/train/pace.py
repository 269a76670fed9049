"""Operations of a token, bytes between processes in a step, and the time both take: arithmetic on sizes.

    >>> round(operations(architecture, setup, length=2048).total / 1e9, 1)    # GFLOP of a token
    33.5

A weight in a matrix product costs two operations a token forward, two for the gradient of its input, and two more where it
trains (Kaplan et al. 2020, arXiv:2001.08361, section 2.1; Hoffmann et al. 2022, arXiv:2203.15556, appendix F): 6 N for full
training, 4 N and 6 for each weight of the adapters under a frozen base. Attention adds 4 x (heads' entries) x (tokens seen)
forward and twice that backward (Chowdhery et al. 2022, arXiv:2204.02311, appendix B, here causal: a token sees half of its
sequence in the mean). Activation checkpointing computes the layers forward once more.

Over R processes a ring sends (R - 1) / R of a buffer for a reduction's half or a gathering, twice that for both (Patarasuk and
Yuan 2009, "Bandwidth optimal all-reduce algorithms"): `ddp` 2 (R - 1) / R of the float32 gradients in a step; `fsdp` for every
micro-batch the layers' weights twice and the root's once in their own type, and (R - 1) / R of the float32 gradients
(Rajbhandari et al. 2020, arXiv:1910.02054, section 7).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from tunesmith.train.architecture import Architecture, Layer, Weights
from tunesmith.train.capacity import FLOAT32, Setup, Strategy, whole_bytes

PROBE_SIZE, PROBE_PRODUCTS = 2048, 7
"""Of the square matrix products by which a machine's rate is measured; their median counts."""


@dataclass(frozen=True, kw_only=True)
class Operations:
    """Floating-point operations for one token of a step, forward and backward."""

    weights: float
    """Of matrix products with weights."""
    attention: float
    again: float
    """Computed a second time, with activation checkpointing."""

    @property
    def total(self) -> float:
        return self.weights + self.attention + self.again


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A step's time, from two rates: a bound, for no process reaches the rate of its products with everything else it does."""

    tokens: int
    """Of a step, all processes together."""
    operations: float
    """Of a process in a step."""
    sent_bytes: int
    """By a process in a step."""
    compute_seconds: float | None
    """None: no rate is known."""
    communication_seconds: float | None
    """None: no bandwidth is known, with several processes."""

    @property
    def tokens_per_second(self) -> tuple[float, float] | None:
        """Of all processes: computing and sending one after the other, and at the same time."""
        if self.compute_seconds is None or self.communication_seconds is None:
            return None
        both = (self.compute_seconds + self.communication_seconds, max(self.compute_seconds, self.communication_seconds))
        return (self.tokens / both[0], self.tokens / both[1])


def operations(architecture: Architecture, setup: Setup, length: int) -> Operations:
    """Of one token in a sequence of `length` tokens, every one of them supervised.

    A frozen layer below the first trained one is computed forward only.
    """
    first = next((number for number, one in enumerate(architecture.layers) if one.is_trained), len(architecture.layers))
    head = Weights(rows=architecture.vocabulary, row_size=architecture.hidden, is_linear=False, is_trained=architecture.head_is_trained)
    weights, attention, again = _products([head], backward=True), 0.0, 0.0
    for number, (group, layer) in enumerate(zip(architecture.groups, architecture.layers, strict=True)):
        backward = number >= first
        weights += _products(group, backward=backward)
        attention += (3 if backward else 1) * attention_forward(layer, length)
        if setup.activation_checkpointing and backward:
            again += 2 * _matrices(group) + attention_forward(layer, length)
    return Operations(weights=weights, attention=attention, again=again)


def _matrices(group: list[Weights] | tuple[Weights, ...]) -> int:
    """Weights in matrix products: everything but vectors."""
    return sum(one.count for one in group if one.row_size > 1)


def _products(group: list[Weights] | tuple[Weights, ...], *, backward: bool) -> float:
    trained = sum(one.count for one in group if one.row_size > 1 and one.is_trained)
    return (4 if backward else 2) * _matrices(group) + 2 * trained


def attention_forward(layer: Layer, length: int) -> float:
    """Scores and their sum of values, for a token in the mean."""
    return 4 * layer.queries * mean_seen(length, layer.window)


def mean_seen(length: int, window: int | None) -> float:
    """Tokens that a token of a causal sequence sees in the mean, itself included.

    >>> mean_seen(4, None), mean_seen(4, 2)
    (2.5, 1.75)
    """
    reach = min(length, window or length)
    return (reach * (reach + 1) / 2 + (length - reach) * reach) / length


def sent_bytes(architecture: Architecture, setup: Setup, strategy: Strategy, processes: int) -> int:
    """By each process in a step, over a ring; it receives as many."""
    if processes == 1:
        return 0
    share = (processes - 1) / processes
    gradients = FLOAT32 * architecture.num_trained
    if strategy == "ddp":
        return round(2 * share * gradients)
    layers = sum(whole_bytes(group, setup) for group in architecture.groups)
    gathered = 2 * layers + whole_bytes(architecture.root, setup)
    return round(share * setup.num_micro_batches(processes) * (gathered + gradients))


def pace(
    architecture: Architecture,
    setup: Setup,
    strategy: Strategy,
    processes: int,
    *,
    length: int,
    rate: float | None,
    bandwidth: float | None,
) -> Pace:
    """A step of `processes`.

    Args:
        length: tokens of a sequence.
        rate: floating-point operations a process does in a second.
        bandwidth: bytes a process sends in a second while it receives as many.
    """
    tokens = setup.tokens_per_step or setup.tokens * processes
    work = operations(architecture, setup, length).total * tokens / processes
    sent = sent_bytes(architecture, setup, strategy, processes)
    sending = 0.0 if sent == 0 else None if bandwidth is None else sent / bandwidth
    return Pace(
        tokens=tokens,
        operations=work,
        sent_bytes=sent,
        compute_seconds=None if rate is None else work / rate,
        communication_seconds=sending,
    )


def measure_rate(device: str, itemsize: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Operations a second in square matrix products of this machine, in the compute type."""
    import torch

    dtype = torch.bfloat16 if itemsize == 2 else torch.float32
    a, b = (torch.ones(PROBE_SIZE, PROBE_SIZE, dtype=dtype, device=device) for _ in range(2))
    out = torch.empty_like(a)
    seconds = []
    for _ in range(PROBE_PRODUCTS + 1):
        started = clock()
        torch.mm(a, b, out=out)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(clock() - started)
    return 2 * PROBE_SIZE**3 / statistics.median(seconds[1:])  # the first one wakes the library up
