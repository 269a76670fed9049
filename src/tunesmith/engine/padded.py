"""Last hidden states of a pack's examples by right-padded batches, for networks that cannot attend by segments.

Each example runs whole under the network's own attention; what a pack shares is computed once for every example that has
it, so packs for such a network are better built without sharing.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.packing import Pack

BATCH_RATIO = 0.7
"""Examples share a batch with the longest of them when they are at least this fraction of its length."""


def padded_hidden(network: PreTrainedModel, pack: Pack) -> Tensor:
    """(T, E) at the pack's own positions; of a shared one, what its first example computes. Carries the gradient."""
    lengths = [len(place) for place in pack.places]  # longest first
    edges = [0]
    for member, length in enumerate(lengths):
        if length < BATCH_RATIO * lengths[edges[-1]]:
            edges.append(member)
    states = torch.cat([_run(network, pack, range(*edge)) for edge in pairwise([*edges, len(lengths)])])  # (sum of lengths, E)
    return states.index_select(0, _first_owners(pack))


def _run(network: PreTrainedModel, pack: Pack, members: range) -> Tensor:
    """(sum of the members' lengths, E) one example after another."""
    sizes = torch.tensor([len(pack.places[member]) for member in members])
    is_token = (torch.arange(int(sizes.max()))[None, :] < sizes[:, None]).to(pack.token_ids.device)  # (B, L)
    token_ids = pack.token_ids.new_zeros(is_token.shape)
    token_ids[is_token] = pack.token_ids[0, torch.cat([pack.places[member] for member in members])]
    hidden = network.get_decoder()(input_ids=token_ids, attention_mask=is_token.long(), use_cache=False).last_hidden_state
    states: Tensor = hidden.flatten(0, 1).index_select(0, is_token.flatten().nonzero().squeeze(1))
    return states


def _first_owners(pack: Pack) -> Tensor:
    """(T,) for each position of the pack the first of the examples' tokens, one example after another, that lies there."""
    places = torch.cat(pack.places)
    order = torch.arange(len(places), device=places.device)
    last = len(places) - 1  # what fills a pack up has no owner, and its state no use
    return torch.full((pack.token_ids.shape[1],), last, device=places.device).scatter_reduce(0, places, order, "amin")
