"""Losses of examples under a model, packed, logits only where a token is supervised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from tunesmith.distributed.group import current_group
from tunesmith.engine.attention import attending_by_segments, can_share
from tunesmith.engine.dealing import plan_own_packs
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import ROUND_TO, build_pack
from tunesmith.engine.sharded.calling import is_sharded
from tunesmith.engine.sharded.idle import idle_pass
from tunesmith.types import ExampleLoss, RenderedExample

TOKENS_PER_PACK = 2048


@torch.no_grad()
def score(
    network: PreTrainedModel,
    examples: Sequence[RenderedExample],
    *,
    tokens_per_pack: int = TOKENS_PER_PACK,
    on_progress: Callable[[int], None] | None = None,
) -> list[ExampleLoss]:
    """Loss of each example, in the order given. Ranks of a group share the work, and every one gets all of it.

    `on_progress` is called with the number of examples done, by ranks of a group with how many those are if all are as quick.
    """
    totals: dict[int, float] = {}
    group = current_group()
    with attending_by_segments(network):
        share = can_share(network)
        for members in plan_own_packs([e.token_ids for e in examples], tokens_per_pack, group, share=share, in_step=is_sharded(network)):
            if not members:
                idle_pass(network)
                continue
            pack = build_pack(examples, members, network.device, share=share, round_to=ROUND_TO)
            nats = pack_loss(network, pack).nats.double()
            sums = torch.zeros(len(pack.members), dtype=torch.float64, device=nats.device).index_add_(0, pack.segment_of_label, nats)
            totals |= zip(pack.members, sums.tolist(), strict=True)
            if on_progress:
                on_progress(min(len(examples), len(totals) * group.size))
    everyones = group.gather_parts(totals)
    return [ExampleLoss(total=everyones[i], num_supervised=e.num_predicted) for i, e in enumerate(examples)]


def mean_loss(losses: Sequence[ExampleLoss]) -> float:
    """Nats per supervised token over all examples: a sum over a sum, never a mean of means."""
    return sum(loss.total for loss in losses) / sum(loss.num_supervised for loss in losses)
