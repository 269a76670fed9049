"""Proof, on the very model, that decoding in slots computes what the model computes by itself; otherwise, why not.

Most decoders hand every layer's queries, keys and values to the attention function, and say which layer it is. One that
shares keys between layers, hides its sliding window in a mask, or adds position biases of its own, would not complain.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tunesmith.config import GenerateConfig
from tunesmith.engine.generation.adapter_switch import AS_IT_IS
from tunesmith.engine.generation.sampling import Sampler
from tunesmith.engine.generation.sequences import Request, Running
from tunesmith.engine.generation.slot_runner import SlotRunner
from tunesmith.engine.generation.slots import SeenCalls
from tunesmith.errors import first_line

LENGTHS = (11, 6)
NUM_DECODED = 3
TOLERANCES = {torch.float32: 2e-3}
ROUNDED_TOLERANCE = 5e-2
"""Of a token's loss, relative to one plus itself; float32 stays below 1e-5, bfloat16 below 2e-2."""

_reasons: WeakKeyDictionary[PreTrainedModel, str] = WeakKeyDictionary()


def why_not_in_slots(network: PreTrainedModel) -> str:
    """Empty when the network can be decoded in slots; else the reason, in words. Found out once for a network."""
    if network not in _reasons:
        _reasons[network] = _find_reason(network)
        if _reasons[network]:
            warnings.warn(f"{type(network).__name__} {_reasons[network]}; it generates in padded batches, which takes longer", stacklevel=2)
    return _reasons[network]


@torch.inference_mode()
def _find_reason(network: PreTrainedModel) -> str:
    vocab_size = network.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(vocab_size, (length,), generator=generator).tolist() for length in LENGTHS]
    try:
        runner = SlotRunner(network, num_slots=len(sequences), tokens_per_pack=sum(LENGTHS))
        seen: SeenCalls = []
        runner.seen = seen
        found = _decoded(runner, sequences)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError) as error:
        return f"cannot attend to a cache of ours ({first_line(error)})"
    if reason := _unlike(network, seen):
        return reason
    expected = torch.stack([_own(network, sequence) for sequence in sequences])
    worst = float(((found - expected).abs() / (1 + expected.abs())).max())
    if not worst <= TOLERANCES.get(network.dtype, ROUNDED_TOLERANCE):
        return f"computes other probabilities with a cache of ours (off by up to {100 * worst:.1f} %)"
    return ""


def _decoded(runner: SlotRunner, sequences: Sequence[Sequence[int]]) -> Tensor:
    """(S, NUM_DECODED) log-probabilities of each sequence's last tokens; a sequence enters while the one before it runs."""
    under_way = [_begin(number, sequence[:-NUM_DECODED]) for number, sequence in enumerate(sequences)]
    found: list[list[Tensor]] = [[] for _ in sequences]
    for step in range(_num_steps()):
        entering = [one for one in under_way if one.id == step]
        running = [one for one in under_way if one.id < step and one.num_new < NUM_DECODED]
        for one, logprobs in zip((*entering, *running), runner.logits(entering, running).log_softmax(-1), strict=True):
            one.last_token = sequences[one.id][one.num_tokens]
            one.num_new += 1
            found[one.id].append(logprobs[one.last_token])
            if one.num_new == NUM_DECODED:
                runner.release(one)
    return torch.stack([torch.stack(logprobs) for logprobs in found])


def _num_steps() -> int:
    return NUM_DECODED + len(LENGTHS) - 1


def _unlike(network: PreTrainedModel, seen: SeenCalls) -> str:
    """What the settings say about the layers against what the attention function was told."""
    config = network.config.get_text_config()
    times = Counter(layer for layer, _ in seen)
    if times.keys() != set(range(config.num_hidden_layers)) or len(set(times.values())) > 1 or min(times.values()) < _num_steps():
        return "does not attend with keys and values of its own in every layer"
    default = "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    kinds = getattr(config, "layer_types", None) or [default] * config.num_hidden_layers
    expected = {"full_attention": False, "sliding_attention": True}
    if any(expected.get(kinds[layer]) != (window is not None) for layer, window in seen):
        return "does not tell an attention function how far back a layer looks"
    return ""


def _begin(number: int, prompt_ids: Sequence[int]) -> Running:
    config = GenerateConfig()
    request = Request(prompt_ids=prompt_ids, config=config, stop_ids=frozenset(), adapter=AS_IT_IS)
    return Running(id=number, request=request, sampler=Sampler(config), text=None)


def _own(network: PreTrainedModel, sequence: Sequence[int]) -> Tensor:
    """(NUM_DECODED,) log-probabilities of the last tokens by the model alone."""
    token_ids = torch.tensor([sequence], device=network.device)
    logprobs: Tensor = network(input_ids=token_ids, use_cache=False).logits[0, -NUM_DECODED - 1 : -1].float().log_softmax(-1)
    return logprobs.gather(1, token_ids[0, -NUM_DECODED:, None])[:, 0]
