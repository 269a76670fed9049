"""Losses of examples under a model, packed, logits only where a token is supervised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from tunesmith.engine.attention import attending_by_segments, can_share
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import ROUND_TO, build_pack, plan_packs
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
    """Loss of each example, in the order given.

    `on_progress` is called with the number of examples done.
    """
    totals = [0.0] * len(examples)
    done = 0
    with attending_by_segments(network):
        share = can_share(network)
        for members in plan_packs([e.token_ids for e in examples], tokens_per_pack, share=share):
            pack = build_pack(examples, members, network.device, share=share, round_to=ROUND_TO)
            nats = pack_loss(network, pack).nats.double()
            sums = torch.zeros(len(pack.members), dtype=torch.float64, device=nats.device).index_add_(0, pack.segment_of_label, nats)
            for index, total in zip(pack.members, sums.tolist(), strict=True):
                totals[index] = total
            done += len(members)
            if on_progress:
                on_progress(done)
    return [ExampleLoss(total=t, num_supervised=e.num_predicted) for t, e in zip(totals, examples, strict=True)]


def mean_loss(losses: Sequence[ExampleLoss]) -> float:
    """Nats per supervised token over all examples: a sum over a sum, never a mean of means."""
    return sum(loss.total for loss in losses) / sum(loss.num_supervised for loss in losses)
