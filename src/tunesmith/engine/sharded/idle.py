"""A pass of a rank that has nothing to do, while others have: gathering a layer takes all of them."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import ROUND_TO, bare, build_pack

NOBODYS = bare([0, 0], supervised=True)


def idle_pass(network: PreTrainedModel) -> None:
    """Run tokens of nobody whose loss counts nothing: forward, and backward where gradients are computed; these are zeros.

    Call inside `attending_by_segments(network)`, in the place of any pass that the others make.
    """
    pack = build_pack([NOBODYS], [0], network.device, round_to=ROUND_TO)
    total = pack_loss(network, pack, weight=0.0).total
    if torch.is_grad_enabled():
        total.backward()
