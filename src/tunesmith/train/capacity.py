"""What training a model takes of each process' memory: arithmetic on sizes, nothing measured and nothing loaded.

    >>> setup = Setup(method="lora", device="cuda", itemsize=2, tokens=8192)
    >>> memory(architecture, setup, "fsdp", 8).total / 1e9
    7.4

With P weights, T of them trained, F = P - T frozen, R processes, and b bytes a number of the compute type:

- one process, `ddp`: b P for the network, the float32 masters 4 T (2 T more bits on a CPU in bfloat16, none in float32), AdamW's
  moments 8 T (5 T on that CPU), gradients 4 T (Rajbhandari et al. 2020, "ZeRO", arXiv:1910.02054, section 3.1, whose 16 bytes a
  weight these are but for what stays in bfloat16).
- `fsdp`: each of these over R, by rows of every matrix as FSDP2 divides them (ZeRO stage 3, section 5.3; PyTorch's `fully_shard`):
  masters, gradients and moments of T in float32, F in its own type. On top: what lies outside the layers, gathered from the
  first forward to the last backward pass, two layers at a time (one computes, the next one arrives), and the gradients of one
  group in the compute type and as the float32 buffer of their reduction. Offloaded: the shards lie in the host's memory.
- activations, for each token and layer, are what `engine/kept.py` and the kernels keep: Korthikanti et al. 2022, arXiv:2205.05198,
  section 4, counted anew for gated layers with grouped-query attention whose norms' outputs and scores are computed again.
- logits exist in chunks (`engine/loss.py`): no term in tokens times vocabulary.

Two moments can be the highest: the end of the forward pass (all activations), and the end of the backward pass (all
gradients). What is not in here: fragments, files' pages, the workspaces of libraries beyond `PROCESS_BYTES`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from tunesmith.config import Method
from tunesmith.engine.loss import CHUNK_BYTES, TRAINING_CHUNK_SHARE
from tunesmith.train.architecture import Architecture, Layer, Weights

Strategy = Literal["alone", "ddp", "fsdp", "fsdp-offload"]
"""One process; each holds the model; each holds a share; each holds a share in the memory of its host."""

FOUR_BITS, SCALE_BYTES = 0.5, (1 + 4 / 256) / 64
"""Bytes of a weight in NF4, and of its share of the doubly quantised scales: 4.127 bits (Dettmers et al. 2023, arXiv:2305.14314,
section 3)."""
FLOAT32 = 4
MOMENTS, MOMENTS_IN_HALVES = 8, 5
"""Bytes of AdamW's two moments of a weight; where masters are kept in halves (`train/optimizer.py`)."""
LOW_HALF = 2
"""Bytes of a master beside the network's own bfloat16 weight, in halves."""
PROCESS_BYTES = {"cpu": 850_000_000, "cuda": 600_000_000}
"""On a CPU: Python, torch, the data set, compiled kernels and fragments; measured (docs/scale.md). On a GPU: its context, assumed."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How it is trained; what of it decides about memory."""

    method: Method
    device: Literal["cpu", "cuda"]
    itemsize: Literal[2, 4]
    """Bytes of a number of the compute type."""
    tokens: int
    """Most in one micro-batch of a process."""
    tokens_per_step: int | None = None
    """Of all processes together; None: one micro-batch of each."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    activation_checkpointing: bool = False

    @property
    def keeps_halves(self) -> bool:
        """As `train/optimizer.py` decides."""
        return self.device == "cpu" and self.itemsize == 2 and self.optimizer == "adamw" and self.method in ("full", "freeze")

    def tokens_at_once(self, processes: int) -> int:
        """Of a micro-batch."""
        return self.tokens if self.tokens_per_step is None else min(self.tokens, -(-self.tokens_per_step // processes))

    def num_micro_batches(self, processes: int) -> int:
        """Of a process in a step."""
        return 1 if self.tokens_per_step is None else max(1, -(-self.tokens_per_step // (processes * self.tokens)))


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Of one process, at its highest moment."""

    weights: int
    """As the network computes with them, as far as they lie there all the time."""
    masters: int
    gradients: int
    moments: int
    gathered: int
    """Weights of other processes' shares (fsdp)."""
    reduction: int
    """Gradients of one group on their way to the others (fsdp)."""
    activations: int
    working: int
    """Logits and their gradients, or the backward pass of one layer."""
    process: int
    host: int = 0
    """In the host's memory, beside the device's."""

    @property
    def total(self) -> int:
        """On the device that computes."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """By name, in the order of a table."""
        names = ("weights", "masters", "gradients", "moments", "gathered", "reduction", "activations", "working", "process")
        return {name: getattr(self, name) for name in names}


def memory(architecture: Architecture, setup: Setup, strategy: Strategy, processes: int) -> Memory:
    """At the highest moment of a step, on the rank with the largest share."""
    assert processes == 1 or strategy != "alone"
    is_sharded = strategy in ("fsdp", "fsdp-offload")
    moments = [_at_end_of_forward, _at_end_of_backward]
    found = max((moment(architecture, setup, processes, is_sharded) for moment in moments), key=lambda one: one.total)
    return found if strategy != "fsdp-offload" else _offloaded(found)


def _at_end_of_forward(architecture: Architecture, setup: Setup, processes: int, is_sharded: bool) -> Memory:
    """All activations and the chunk of logits, or the first layer of the backward pass; gradients of earlier micro-batches only."""
    tokens, several = setup.tokens_at_once(processes), setup.num_micro_batches(processes) > 1
    gradients = _gradients(architecture, setup, processes, is_sharded) if several else 0
    return _state(
        architecture,
        setup,
        processes,
        is_sharded,
        gradients=gradients,
        reduction=reduction_bytes(architecture.groups, setup) if is_sharded else 0,
        activations=activation_bytes(architecture, setup, tokens),
        working=max(logits_bytes(architecture, setup, tokens), layer_backward_bytes(architecture, setup, tokens)),
    )


def _at_end_of_backward(architecture: Architecture, setup: Setup, processes: int, is_sharded: bool) -> Memory:
    """All gradients, and of the activations the first trained layer's; on a CPU the buffers of the others' stay."""
    tokens = setup.tokens_at_once(processes)
    largest = max(layer_bytes(one, architecture, setup, tokens) for one in architecture.layers)
    return _state(
        architecture,
        setup,
        processes,
        is_sharded,
        gradients=_gradients(architecture, setup, processes, is_sharded),
        reduction=_reduction(architecture, setup, processes, is_sharded),
        activations=buffer_bytes(architecture, setup, tokens) + largest,
        working=layer_backward_bytes(architecture, setup, tokens),
    )


def _reduction(architecture: Architecture, setup: Setup, processes: int, is_sharded: bool) -> int:
    """After the backward pass: of the largest group of all; in ddp what came in bfloat16, beside its float32 copy."""
    if is_sharded:
        return reduction_bytes((architecture.root, *architecture.groups), setup)
    has_copy = processes > 1 and setup.keeps_halves and setup.num_micro_batches(processes) == 1
    return setup.itemsize * architecture.num_trained if has_copy else 0


def _state(
    architecture: Architecture,
    setup: Setup,
    processes: int,
    is_sharded: bool,
    *,
    gradients: int,
    reduction: int,
    activations: int,
    working: int,
) -> Memory:
    """What is there at every moment, and the rest."""
    every = list(architecture.weights)
    trained = [one for one in every if one.is_trained]
    shares = processes if is_sharded else 1
    frozen = sum(_frozen_share(one, setup, shares) for one in every if not one.is_trained)
    return Memory(
        weights=frozen + (0 if is_sharded else setup.itemsize * sum(one.count for one in trained)),
        masters=sum(_share(one, _master_bytes(setup, is_sharded), shares) for one in trained),
        gradients=gradients,
        moments=sum(_moments(one, setup, shares, is_sharded) for one in trained),
        gathered=gathered_bytes(architecture, setup) if is_sharded else 0,
        reduction=reduction,
        activations=activations,
        working=working,
        process=PROCESS_BYTES[setup.device],
    )


def _offloaded(found: Memory) -> Memory:
    """The shards of weights, masters, gradients and moments in the host's memory."""
    host = found.weights + found.masters + found.gradients + found.moments
    rest = {name: size for name, size in found.parts().items() if name not in ("weights", "masters", "gradients", "moments")}
    return Memory(weights=0, masters=0, gradients=0, moments=0, host=host, **rest)


def _share(weights: Weights, num_bytes: float, shares: int) -> int:
    """Of the process with most rows: `fully_shard` divides the first dimension, rounded up."""
    return round(-(-weights.rows // shares) * weights.row_size * num_bytes)


def _frozen_bytes(weights: Weights, setup: Setup) -> float:
    """Of a weight; in four bits without what the bits mean, which every process keeps whole."""
    return FOUR_BITS if setup.method == "qlora" and weights.is_linear else setup.itemsize


def _frozen_share(weights: Weights, setup: Setup, shares: int) -> int:
    num_bytes = _frozen_bytes(weights, setup)
    return _share(weights, num_bytes, shares) + (round(weights.count * SCALE_BYTES) if num_bytes == FOUR_BITS else 0)


def _master_bytes(setup: Setup, is_sharded: bool) -> int:
    """Sharded, the float32 masters are the parameters; else they lie beside the network's."""
    if is_sharded:
        return FLOAT32
    return 0 if setup.itemsize == FLOAT32 else LOW_HALF if setup.keeps_halves else FLOAT32


def _gradients(architecture: Architecture, setup: Setup, processes: int, is_sharded: bool) -> int:
    """In float32, where they are added up over micro-batches or processes; on halves those of one micro-batch stay as they came."""
    shares = processes if is_sharded else 1
    as_they_came = setup.keeps_halves and processes == 1 and not is_sharded and setup.num_micro_batches(1) == 1
    return sum(_share(one, setup.itemsize if as_they_came else FLOAT32, shares) for one in architecture.weights if one.is_trained)


def _moments(weights: Weights, setup: Setup, shares: int, is_sharded: bool) -> int:
    rows = -(-weights.rows // shares)
    if setup.optimizer == "adafactor":  # one number for each row and column, of a matrix
        return FLOAT32 * (rows + weights.row_size if weights.row_size > 1 else rows)
    return rows * weights.row_size * (MOMENTS_IN_HALVES if setup.keeps_halves and not is_sharded else MOMENTS)


def gathered_bytes(architecture: Architecture, setup: Setup) -> int:
    """Whole weights of other processes' shares: what is outside the layers, and two layers, one of them underway.

    On the fast way also the widest matrix that is put together of layers with one input (`engine/linear.py`): gate and up.
    """
    layers = 2 * max(whole_bytes(group, setup) for group in architecture.groups)
    joint = max(_widths(one) * one.intermediate * one.hidden for one in architecture.layers) if architecture.is_fused else 0
    return whole_bytes(architecture.root, setup) + layers + setup.itemsize * joint


def whole_bytes(group: Iterable[Weights], setup: Setup) -> int:
    """Of a group's weights as the network computes with them."""
    return round(sum(one.count * (setup.itemsize if one.is_trained else _frozen_bytes(one, setup)) for one in group))


def reduction_bytes(groups: Iterable[Iterable[Weights]], setup: Setup) -> int:
    """Of the largest group: its gradients as they come, and the float32 buffer that goes to the other processes."""
    return max((setup.itemsize + FLOAT32) * sum(one.count for one in group if one.is_trained) for group in groups)


def activation_bytes(architecture: Architecture, setup: Setup, tokens: int) -> int:
    """What the forward pass keeps for the backward pass, from the first trained layer on.

    With activation checkpointing each layer's input, and one layer whole (Chen et al. 2016, arXiv:1604.06174).
    """
    layers = _from_first_trained(architecture)
    ends = tokens * 2 * architecture.hidden * setup.itemsize  # what the last norm is made of, and what it gives
    whole = [layer_bytes(one, architecture, setup, tokens) for one in layers]
    if not setup.activation_checkpointing:
        return ends + sum(whole)
    return ends + sum(tokens * one.hidden * setup.itemsize for one in layers) + max(whole, default=0)


def _from_first_trained(architecture: Architecture) -> list[Layer]:
    """Below it nothing needs a gradient."""
    first = next((number for number, one in enumerate(architecture.layers) if one.is_trained), len(architecture.layers))
    return list(architecture.layers[first:])


def layer_bytes(layer: Layer, architecture: Architecture, setup: Setup, tokens: int) -> int:
    """Of one layer: inputs of norms, queries, keys, values, attention's result, gate and up, adapters' inner values.

    Off the engine's fast way also the norms' outputs and what the activation gives and makes.
    """
    normalised = layer.queries + layer.keys if layer.normalises_heads else 0
    attention = 2 * layer.queries + 2 * layer.keys + normalised
    kept = layer.norms * layer.hidden + attention + _widths(layer) * layer.intermediate + layer.adapter_ranks
    if not architecture.is_fused:
        kept += 2 * layer.hidden + _widths(layer) * layer.intermediate
    per_row = layer.heads + layer.norms  # float32: the scores' normaliser, and the norms' scale
    return tokens * (kept * setup.itemsize + FLOAT32 * per_row)


def _widths(layer: Layer) -> int:
    return 2 if layer.is_gated else 1


def buffer_bytes(architecture: Architecture, setup: Setup, tokens: int) -> int:
    """On a CPU gate and up lie in buffers that stay for the next pass (`engine/kept.py`)."""
    if setup.device != "cpu" or not architecture.is_fused or setup.activation_checkpointing:
        return 0
    layers = _from_first_trained(architecture)
    return sum(tokens * _widths(one) * one.intermediate * setup.itemsize for one in layers)


def layer_backward_bytes(architecture: Architecture, setup: Setup, tokens: int) -> int:
    """Gradients that flow through one layer at the same time; in four bits also its largest matrix brought back."""
    flowing = max(tokens * setup.itemsize * (2 * one.intermediate + 4 * one.hidden) for one in architecture.layers)
    matrices = (one.count for group in architecture.groups for one in group if one.is_linear)
    return flowing + (setup.itemsize * max(matrices, default=0) if setup.method == "qlora" else 0)


def logits_bytes(architecture: Architecture, setup: Setup, tokens: int) -> int:
    """One chunk, its copies in float32 where there are any, the predicting states and their gradients; every token supervised."""
    row = architecture.vocabulary * setup.itemsize
    head = architecture.vocabulary * architecture.hidden
    trains = architecture.head_is_trained
    most = max(CHUNK_BYTES, TRAINING_CHUNK_SHARE * head * setup.itemsize) if trains else CHUNK_BYTES
    rows = max(1, min(tokens, most // row))
    copies = 2 * FLOAT32 if setup.device == "cuda" else 0
    copies += FLOAT32 * ((architecture.scales_logits or architecture.caps_logits) + 3 * architecture.caps_logits)
    states = 2 * tokens * architecture.hidden * setup.itemsize
    gradient = 0 if not trains else head * (setup.itemsize if rows == tokens else FLOAT32 + setup.itemsize)
    return rows * (row + architecture.vocabulary * copies) + states + gradient
