"""Proof, on the very model, that a pack of examples computes what the model computes on each of them alone.

Most decoders honour position ids and a custom attention function. One that adds position biases of its own (ALiBi) or
logits that soak up attention (gpt-oss) would not complain, and train on other numbers than it generates with.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.attention import attending_by_segments
from tunesmith.engine.loss import pack_loss
from tunesmith.engine.packing import build_pack
from tunesmith.errors import AssetError
from tunesmith.types import Example, RenderedExample

LENGTHS = (24, 17, 16, 3)
TOLERANCE = 2e-3
"""Of a token's loss, relative to one plus itself. Float32 stays below 1e-5; what goes wrong is off by 1e-2 and more."""


@torch.no_grad()
def refuse_unfaithful(network: PreTrainedModel) -> None:
    """Compare the packed loss of a few random sequences with the model's own; wants float32 and evaluation mode.

    Raises:
        AssetError: they differ, or the model cannot run packed at all.
    """
    examples = [_example(length, network.config.get_text_config().vocab_size) for length in LENGTHS]
    pack = build_pack(examples, range(len(examples)), network.device)
    try:
        with attending_by_segments(network):
            packed = pack_loss(network, pack).nats
    except Exception as error:
        raise _unfaithful(network, f"cannot run several examples in one sequence ({error})") from error
    alone = torch.cat([_nats(network, example) for example in examples])
    worst = float(((packed - alone).abs() / (1 + alone)).max())
    if not worst <= TOLERANCE:
        raise _unfaithful(network, f"computes other losses for several examples in one sequence (off by up to {100 * worst:.1f} %)")


def _example(length: int, vocab_size: int) -> RenderedExample:
    token_ids = torch.randint(vocab_size, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    nothing = Example(id="", source="", group="", text="")
    return RenderedExample(example=nothing, token_ids=tuple(token_ids), supervised=(True,) * length)


def _nats(network: PreTrainedModel, example: RenderedExample) -> Tensor:
    """(L - 1,) the model's own losses."""
    token_ids = torch.tensor([example.token_ids], device=network.device)
    logits = network(input_ids=token_ids, use_cache=False).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(logits, token_ids[0, 1:], reduction="none")


def _unfaithful(network: PreTrainedModel, found: str) -> AssetError:
    return AssetError(
        str(network.name_or_path),
        f"{type(network).__name__} {found}",
        expected="an architecture that attends through transformers' attention interface",
        remedy="name another model, such as a Llama, Qwen, Gemma, Mistral, Phi, OLMo or SmolLM",
    )
