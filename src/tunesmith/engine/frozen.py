"""Below the first layer that trains nothing ever changes: run those layers once, keep what they give, reuse it.

>>> plan = plan_keeping(network, examples, tokens_per_pack=1024)
>>> kept = keep(network, plan)                      # one pass over the examples, in packs of its own
>>> with reusing(network, kept):
...     pack_loss(network, pack).total.backward()   # runs the upper layers alone, whichever pack the examples are in

What a causal decoder computes at a token depends on the tokens before it only, so it is found again by them, not by the
pack. The model is not re-implemented: its own forward pass runs, and in it the lower layers hand on what was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.engine.adapters import decoder_layers
from tunesmith.engine.attention import attending_by_segments, can_share, packed_hidden, packs_faithfully
from tunesmith.engine.packing import ROUND_TO, Pack, build_pack, plan_packs
from tunesmith.errors import first_line
from tunesmith.types import RenderedExample

TRIAL_TOKENS = 128
"""Enough for dropout to show: their hidden states are tens of thousands of numbers."""


@dataclass(frozen=True, kw_only=True)
class KeptActivations:
    """What enters the first layer that trains, for every token of some sequences; R rows."""

    states: Tensor
    """(R, E) in the compute type, on the CPU; in memory, or mapped from a file."""
    rows: Mapping[bytes, Tensor]
    """By a sequence's tokens (`_key`): (L,) which rows are its tokens'. What sequences begin with in common may be there once."""

    def of(self, pack: Pack) -> Tensor | None:
        """(1, T, E) for the positions of a pack, on its device; None when one of its sequences is not kept."""
        token_ids = pack.token_ids[0].cpu()
        index = torch.zeros(len(token_ids), dtype=torch.long)  # what fills the pack up is nobody's: any row will do
        for place in (place.cpu() for place in pack.places):
            rows = self.rows.get(_key(token_ids[place]))
            if rows is None:
                return None
            index[place] = rows  # where sequences share a position any of them will do: the last one, always
        return self.states.index_select(0, index)[None].to(pack.token_ids.device)


def _key(token_ids: Tensor) -> bytes:
    return bytes(token_ids.numpy().tobytes())


@dataclass(frozen=True, kw_only=True)
class KeepingPlan:
    """Which sequences are run together; the same examples give the same plan, and so the same bits."""

    examples: Sequence[RenderedExample]
    """No two of the same tokens."""
    packs: Sequence[Sequence[int]]
    share: bool
    row_bytes: int
    """Of one token: E numbers in the compute type."""
    num_rows: int
    """Tokens of all packs, what fills them up included."""

    def pack(self, members: Sequence[int], device: torch.device) -> Pack:
        return build_pack(self.examples, members, device, share=self.share, round_to=ROUND_TO)

    @property
    def num_bytes(self) -> int:
        return self.num_rows * self.row_bytes


def plan_keeping(network: PreTrainedModel, examples: Sequence[RenderedExample], tokens_per_pack: int, *, share: bool = True) -> KeepingPlan:
    """Lay out every different sequence once, in packs of at most so many tokens."""
    different = list({example.token_ids: example for example in examples}.values())
    share = share and can_share(network)
    packs = plan_packs([example.token_ids for example in different], tokens_per_pack, share=share)
    row_bytes = network.config.get_text_config().hidden_size * network.dtype.itemsize
    plan = KeepingPlan(examples=different, packs=packs, share=share, row_bytes=row_bytes, num_rows=0)
    sizes = [plan.pack(members, torch.device("cpu")).token_ids.shape[1] for members in packs]
    return replace(plan, num_rows=sum(sizes))


def layers_below(network: PreTrainedModel) -> tuple[list[nn.Module], list[nn.Module]]:
    """The decoder's layers before the first that trains, and the others from it on."""
    layers = list(decoder_layers(network))
    first = next((i for i, layer in enumerate(layers) if any(p.requires_grad for p in layer.parameters())), len(layers))
    return layers[:first], layers[first:]


def obstacle(network: PreTrainedModel, plan: KeepingPlan) -> str:
    """Why what enters the first layer that trains cannot be kept, in words; empty when it can.

    Tried on the shortest examples: in training and in evaluation the lower layers have to give the same, without gradient,
    and the upper layers alone have to make of it, to the last bit, what the whole model makes.
    """
    if not all(layers_below(network)):
        return "no layer lies below those that train"
    if not packs_faithfully(network):
        return "this architecture runs in padded batches"
    pack = plan.pack(_shortest(plan.examples), network.device)
    modes = [(module, module.training) for module in network.modules()]
    cuda = [network.device] if network.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), attending_by_segments(network):
        try:
            return _try(network, pack, plan.row_bytes)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
            return f"this architecture cannot run its upper layers alone ({first_line(error)})"
        finally:
            for module, training in modes:
                module.training = training


def _shortest(examples: Sequence[RenderedExample]) -> list[int]:
    """Indices of those that fit into `TRIAL_TOKENS`, one at least."""
    chosen: list[int] = []
    used = 0
    for index in sorted(range(len(examples)), key=lambda i: (len(examples[i].token_ids), i)):
        used += len(examples[index].token_ids)
        if chosen and used > TRIAL_TOKENS:
            break
        chosen.append(index)
    return chosen


def _try(network: PreTrainedModel, pack: Pack, row_bytes: int) -> str:
    network.train()
    in_training = _entering(network, pack)
    network.eval()
    with torch.no_grad():
        entering = _entering(network, pack)
        if entering.shape[:2] != pack.token_ids.shape or entering[0, 0].nbytes != row_bytes:
            return "more than a hidden state for each token goes from layer to layer"
        whole, alone = packed_hidden(network, pack), upper_hidden(network, pack, entering)
    if in_training.requires_grad:
        return "something below the layers trains as well"
    if not torch.equal(in_training, entering):
        return "dropout is active below the layers that train"
    return "" if torch.equal(whole, alone) else "this architecture cannot run its upper layers alone"


def _entering(network: PreTrainedModel, pack: Pack) -> Tensor:
    """(1, T, E) what enters the first layer that trains; the layers from there on do not run."""
    entered: list[Tensor] = []

    def remember(hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        entered.append(hidden)
        return hidden

    with _forward_of(layers_below(network)[1], remember):
        packed_hidden(network, pack)
    return entered[0]


def upper_hidden(network: PreTrainedModel, pack: Pack, entering: Tensor) -> Tensor:
    """(T, E) last hidden states, from what enters the first layer that trains. Call inside `attending_by_segments(network)`."""
    with _forward_of(layers_below(network)[0], lambda *_, **__: entering):
        return packed_hidden(network, pack)


@contextmanager
def _forward_of(layers: Sequence[nn.Module], forward: Callable[..., Tensor]) -> Iterator[None]:
    """Within the block the layers do this instead; their attributes, which the model may read, stay theirs."""
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = forward
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            del layer.forward
            if own is not None:
                layer.forward = own


@torch.no_grad()
def keep(network: PreTrainedModel, plan: KeepingPlan, file: Path | None = None) -> KeptActivations:
    """Run the lower layers over the plan's packs, in evaluation mode and in their order.

    Args:
        file: where to keep the states, mapped into memory as they are read; None keeps them in memory.

    Raises:
        OSError: the disk is full.
    """
    network.eval()
    rows: dict[bytes, Tensor] = {}
    width = plan.row_bytes // network.dtype.itemsize
    states = torch.empty((plan.num_rows if file is None else 0, width), dtype=network.dtype)
    start = 0
    with ExitStack() as stack:
        stack.enter_context(attending_by_segments(network))
        out = stack.enter_context(file.open("wb")) if file else None
        for members in plan.packs:
            pack = plan.pack(members, network.device)
            entering = _entering(network, pack)[0].cpu()
            if out:  # written, not mapped: a full disk is then an error and not the end of the process
                out.write(entering.contiguous().view(torch.uint8).numpy().data)
            else:
                states[start : start + len(entering)] = entering
            token_ids = pack.token_ids[0].cpu()
            rows |= {_key(token_ids[place]): place + start for place in (place.cpu() for place in pack.places)}
            start += len(entering)
    assert start == plan.num_rows
    if file:
        states = torch.from_file(str(file), shared=False, size=start * width, dtype=network.dtype).view(start, width)
    return KeptActivations(states=states, rows=rows)


_reused: WeakKeyDictionary[PreTrainedModel, KeptActivations] = WeakKeyDictionary()


@contextmanager
def reusing(network: PreTrainedModel, kept: KeptActivations) -> Iterator[None]:
    """Within the block packs whose sequences are all kept run the upper layers only (see `engine/forward.py`).

    What is kept holds as long as the lower layers have the weights that they had when it was computed.
    """
    _reused[network] = kept
    try:
        yield
    finally:
        del _reused[network]


def reused_states(network: PreTrainedModel, pack: Pack) -> Tensor | None:
    """(1, T, E) what enters the first layer that trains; None where it is not kept, or not all of it."""
    kept = _reused.get(network)
    return kept.of(pack) if kept else None
