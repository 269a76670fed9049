"""The one switch between whole packs, their upper layers alone, and padded batches: last hidden states of a pack."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.attention import packed_hidden, packs_faithfully
from tunesmith.engine.frozen import reused_states, upper_hidden
from tunesmith.engine.packing import Pack
from tunesmith.engine.padded import padded_hidden


def decoder_hidden(network: PreTrainedModel, pack: Pack) -> Tensor:
    """(T, E) last hidden states at every position of the pack. Call inside `attending_by_segments(network)`."""
    entering = reused_states(network, pack)
    if entering is not None:
        return upper_hidden(network, pack, entering)
    return packed_hidden(network, pack) if packs_faithfully(network) else padded_hidden(network, pack)
