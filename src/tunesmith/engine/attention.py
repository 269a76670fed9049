"""Attention within the segments of a pack, plugged into Hugging Face models through transformers' attention interface.

A token sees its own segment up to itself, and its ancestors. Most decoders honour position ids and a custom attention
function. One that adds position biases of its own (ALiBi) or logits that soak up attention (gpt-oss) would not complain,
and compute other numbers than alone; so each network is tried once before it is trusted with a pack.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from tunesmith.engine.bucket_attention import Scoring, bucket_attention
from tunesmith.engine.excerpt import excerpt
from tunesmith.engine.flex_attention import flex_segments
from tunesmith.engine.kernels import native
from tunesmith.engine.kernels.attention import forest_attention
from tunesmith.engine.packing import Pack, bare, build_pack
from tunesmith.engine.segments import Segments
from tunesmith.errors import first_line
from tunesmith.types import RenderedExample

IMPLEMENTATION = "tunesmith_segments"


def segment_attention(
    module: torch.nn.Module,
    query: Tensor,  # (1, H, T, D)
    key: Tensor,  # (1, K, T, D), K key and value heads
    value: Tensor,  # (1, K, T, D)
    attention_mask: Tensor | None,
    *,
    segments: Segments,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention within each segment and to its ancestors (transformers' attention interface). Returns (1, T, H, D)."""
    del module, attention_mask  # the segments say all there is to say
    how = Scoring(query.shape[-1] ** -0.5 if scaling is None else scaling, dropout, sliding_window, softcap)
    if query.is_cuda and not dropout:
        return flex_segments(query, key, value, segments, how.scaling, how.window, how.softcap).transpose(1, 2), None
    states = query[0], key[0], value[0]
    if not dropout and softcap is None and key.shape == value.shape:
        states = query[0].contiguous(), key[0].contiguous(), value[0].contiguous()  # as the kernel wants them
        if native.usable(*states):
            return forest_attention(*states, segments.paths, how.scaling, how.window)[None], None
    output = bucket_attention(*states, segments, how)  # (H, T, D)
    return output.transpose(0, 1)[None], None


AttentionInterface.register(IMPLEMENTATION, segment_attention)


class Faithfulness(NamedTuple):
    """Whether a pack of examples computes what the network computes on each of them alone."""

    reason: str
    """Why it does not, in words; empty when it does."""

    def __bool__(self) -> bool:
        return not self.reason


NO_INTERFACE = "does not attend through transformers' attention interface"
TRIAL_LENGTHS = (24, 17, 16, 3)
TRIAL_PREFIX = 20
"""Tokens of the longest trial sequence that another one begins with."""
TOLERANCE = 2e-3
"""Of a token's last hidden state, by length; float32 stays far below, and what goes wrong is off by 1e-2 and more."""

_known: WeakKeyDictionary[PreTrainedModel, Faithfulness] = WeakKeyDictionary()


def packs_faithfully(network: PreTrainedModel, say: Callable[[str], None] | None = None) -> Faithfulness:
    """Try a few random sequences in a pack and alone, on an excerpt in float32; found out once for a network.

    Args:
        say: is told, when it is found out that the network does not; by default a warning is given.
    """
    if network not in _known:
        _known[network] = _try(excerpt(network)) if network._can_set_attn_implementation() else Faithfulness(NO_INTERFACE)
        if reason := _known[network].reason:
            tell = say or (lambda sentence: warnings.warn(sentence, stacklevel=4))
            tell(f"{type(network).__name__} {reason}; it trains and is scored in padded batches, which takes longer")
    return _known[network]


def note_faithfulness(network: PreTrainedModel, known: Faithfulness) -> None:
    """Spare a network the trial, where it is known from another that runs the same code."""
    _known[network] = known


def can_share(network: PreTrainedModel) -> bool:
    """Whether packs for this network are worth building with shared prefixes: padded batches would compute them for every example."""
    return bool(packs_faithfully(network))


@torch.no_grad()
def _try(network: PreTrainedModel) -> Faithfulness:
    """Of a network in float32 and evaluation mode."""
    examples = _trial_examples(network.config.get_text_config().vocab_size)
    pack = build_pack(examples, range(len(examples)), network.device)
    alone = [network.get_decoder()(input_ids=pack.token_ids[:, place], use_cache=False).last_hidden_state[0] for place in pack.places]
    try:
        with _attention_of(network, IMPLEMENTATION):
            packed = packed_hidden(network, pack)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        return Faithfulness(f"cannot run several examples in one sequence ({first_line(error)})")
    off = torch.cat([_distance(packed[place], hidden) for place, hidden in zip(pack.places, alone, strict=True)])
    worst = float(off.max())
    if worst <= TOLERANCE:
        return Faithfulness("")
    return Faithfulness(f"computes something else for several examples in one sequence (off by up to {100 * worst:.1f} %)")


def _trial_examples(vocab_size: int) -> list[RenderedExample]:
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(vocab_size, (length,), generator=generator).tolist() for length in TRIAL_LENGTHS]
    sequences.append(sequences[0][:TRIAL_PREFIX] + sequences[1][:5])
    return [bare(sequence, supervised=True) for sequence in sequences]


def _distance(found: Tensor, expected: Tensor) -> Tensor:
    """(L,) relative to the length of what is expected; (L, E) each."""
    relative: Tensor = torch.linalg.vector_norm(found.float() - expected.float(), dim=-1) / torch.linalg.vector_norm(
        expected.float(), dim=-1
    )
    return relative


def packed_hidden(network: PreTrainedModel, pack: Pack) -> Tensor:
    """(T, E) last hidden states of a pack, for a network that attends by segments."""
    output = network.get_decoder()(input_ids=pack.token_ids, position_ids=pack.position_ids, use_cache=False, segments=pack.segments)
    hidden: Tensor = output.last_hidden_state[0]
    return hidden


@contextmanager
def _attention_of(network: PreTrainedModel, implementation: str) -> Iterator[None]:
    before = network.config._attn_implementation
    network.set_attn_implementation(implementation)
    try:
        yield
    finally:
        network.set_attn_implementation(before)


@contextmanager
def attending_by_segments(network: PreTrainedModel) -> Iterator[None]:
    """Within the block the model expects `segments=` in its forward call and builds no mask of its own.

    A network that does not pack faithfully is left as it is: see `engine/forward.py`.
    """
    if network.config._attn_implementation == IMPLEMENTATION or not packs_faithfully(network):
        yield
        return
    with _attention_of(network, IMPLEMENTATION):
        yield
