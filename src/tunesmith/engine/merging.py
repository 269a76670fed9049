"""Folding an adapter into the weights, with proof that the merged network is the same function.

>>> merged = merge(network)                 # plain weights; raises if its logits are not the adapter's
"""

from __future__ import annotations

import peft
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.engine.adapters import without_deprecations
from tunesmith.engine.quantize import dequantize, is_quantized
from tunesmith.errors import AssetError

PROBES, PROBE_LENGTH = 4, 24
"""Sequences of random tokens, and tokens in each."""
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest difference of a logit, relative to the largest logit, by the type of the weights. Float32 stays below 1e-5; in
bfloat16 a merged weight is rounded once more. A forgotten scale or magnitude is off by as much as the adapter does."""


@torch.no_grad()
def merge(network: peft.PeftModel) -> PreTrainedModel:
    """Fold the adapter into the weights, in place, and check that the function stayed the same.

    Four-bit weights are brought back to the type of the others first: merged with the adapter they are no four-bit numbers
    any more, and quantising them again would change what was trained. The result is as large as an unquantised model.

    Raises:
        AssetError: the merged network computes something else.
    """
    network.eval()
    expected = probe_logits(network)
    merged: PreTrainedModel = (_unquantized(network) if is_quantized(network.get_base_model()) else network).merge_and_unload()
    check_merged(expected, merged)
    return merged


@torch.no_grad()
def probe_logits(network: PreTrainedModel | peft.PeftModel) -> Tensor:
    """(PROBES, PROBE_LENGTH, V) float32 logits of a few sequences, always the same ones."""
    vocab_size = network.get_input_embeddings().weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.randint(vocab_size, (PROBES, PROBE_LENGTH), generator=generator).to(network.device)
    token_ids[:, -1] = vocab_size - 1  # where new tokens are
    logits: Tensor = network(input_ids=token_ids, use_cache=False).logits
    return logits.float()


def check_merged(expected: Tensor, merged: PreTrainedModel) -> None:
    """Compare a merged network with `probe_logits` of the one with the adapter.

    Raises:
        AssetError: a logit is off by more than TOLERANCE.
    """
    found = probe_logits(merged)
    off = float((found - expected).abs().max() / expected.abs().max())
    if not off <= TOLERANCE[merged.dtype]:
        raise AssetError(
            str(merged.name_or_path),
            f"merged with its adapter it computes other logits (off by up to {100 * off:.2g} %)",
            expected=f"at most {100 * TOLERANCE[merged.dtype]:.2g} %",
            remedy="merge in float32, or use the adapter unmerged",
        )


def _unquantized(network: peft.PeftModel) -> peft.PeftModel:
    """The same adapter on the base's weights brought back from four bits."""
    settings, state = network.peft_config["default"], peft.get_peft_model_state_dict(network, save_embedding_layers=False)
    base = network.unload()
    dequantize(base)
    with without_deprecations():
        plain = peft.get_peft_model(base, settings, autocast_adapter_dtype=False)
    result = peft.set_peft_model_state_dict(plain, state)
    assert not result.unexpected_keys, result.unexpected_keys
    return plain.eval()
