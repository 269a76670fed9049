"""The plain way, one example at a time through transformers' own forward pass, to compare the engine with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peft
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tunesmith.config import LoraConfig
from tunesmith.engine.adapters import add_lora
from tunesmith.types import RenderedExample

TINY = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny(kind: str, **settings: Any) -> PreTrainedModel:
    """A random model of an architecture, its weights large enough that attention is not uniform."""
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**TINY, **settings}), dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4 if parameter.ndim > 1 else 1)
    return network


def with_adapter(network: PreTrainedModel, base_reference: str = "base", **settings: object) -> peft.PeftModel:
    """The network under a LoRA adapter that does something: B is random, which peft starts at zero."""
    torch.manual_seed(0)
    adapted = add_lora(network, LoraConfig(**{"rank": 4, "alpha": 8, **settings}), base_reference)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return adapted


def nats(network: nn.Module, example: RenderedExample) -> Tensor:
    """(M,) losses of the supervised tokens but the first of all."""
    token_ids = torch.tensor([example.token_ids])
    logits = network(input_ids=token_ids, use_cache=False).logits[0, :-1].float()
    losses = functional.cross_entropy(logits, token_ids[0, 1:], reduction="none")
    return losses[torch.tensor(example.supervised[1:], dtype=torch.bool)]


@torch.no_grad()
def total_nats(network: nn.Module, example: RenderedExample) -> float:
    return float(nats(network, example).sum())


def mean_loss(network: nn.Module, examples: Sequence[RenderedExample]) -> Tensor:
    """Nats per supervised token; carries the gradient."""
    return torch.cat([nats(network, example) for example in examples]).mean()


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Copies of the gradients there are, which are then forgotten."""
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad(set_to_none=True)
    return found


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-4) -> None:
    """Every parameter's gradient agrees to `tolerance` of its largest entry."""
    assert found.keys() == expected.keys()
    assert expected
    for name, gradient in expected.items():
        difference = float((found[name] - gradient).abs().max())
        assert difference <= tolerance * (float(gradient.abs().max()) + 1e-5), f"{name}: off by {difference}"
