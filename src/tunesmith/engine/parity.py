"""Proof, on the very model, that the engine computes the model's own losses.

A network that cannot run several examples in one sequence runs in padded batches instead. One whose losses differ even
then does something to its logits that the engine does not know, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.attention import attending_by_segments, note_faithfulness, packs_faithfully
from tunesmith.engine.excerpt import excerpt
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import bare, build_pack
from tunesmith.errors import AssetError
from tunesmith.types import RenderedExample

LENGTHS = (24, 17, 3)
TOLERANCE = 2e-3
"""Of a token's loss, relative to one plus itself. Float32 stays below 1e-5; what goes wrong is off by 1e-2 and more."""


@torch.no_grad()
def refuse_unfaithful(network: PreTrainedModel, say: Callable[[str], None] | None = None) -> None:
    """Compare the engine's losses of a few random sequences with the model's own, both in float32 on an excerpt of the network.

    Args:
        say: is told, where the network has to run in padded batches.

    Raises:
        AssetError: they differ.
    """
    trial = excerpt(network)
    note_faithfulness(trial, packs_faithfully(network, say))
    examples = [_example(length, trial.config.get_text_config().vocab_size) for length in LENGTHS]
    with attending_by_segments(trial):
        found = pack_loss(trial, build_pack(examples, range(len(examples)), trial.device)).nats
    own = torch.cat([_nats(trial, example) for example in examples])
    worst = float(((found - own).abs() / (1 + own)).max())
    if not worst <= TOLERANCE:
        raise AssetError(
            str(network.name_or_path),
            f"{type(network).__name__} computes other losses than the engine finds (off by up to {100 * worst:.1f} %)",
            expected="an architecture whose logits are a linear layer over its last hidden states",
            remedy="name another model, such as a Llama, Qwen, Gemma, Mistral, Phi, OLMo or SmolLM",
        )


def _example(length: int, vocab_size: int) -> RenderedExample:
    return bare(torch.randint(vocab_size, (length,), generator=torch.Generator().manual_seed(length)).tolist(), supervised=True)


def _nats(network: PreTrainedModel, example: RenderedExample) -> Tensor:
    """(L - 1,) the model's own losses."""
    token_ids = torch.tensor([example.token_ids], device=network.device)
    logits = network(input_ids=token_ids, use_cache=False).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(logits, token_ids[0, 1:], reduction="none")
