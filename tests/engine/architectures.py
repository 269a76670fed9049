"""Tiny random networks of many architectures, and sequences with common beginnings to run through them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tests.samples import rendered
from tunesmith.types import RenderedExample

WINDOW = 8

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma2": {
        "head_dim": 8,
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 8,
        "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": 2.0,
    },
    "gemma3_text": {
        "head_dim": 8,
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "qwen3": {"head_dim": 8, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "mistral": {"sliding_window": WINDOW},
    "gpt_neox": {"num_key_value_heads": None},
    "phi": {},  # a bias in the output layer
    "phi3": {"sliding_window": WINDOW},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 3.0, "attention_multiplier": 0.3},
    "olmo2": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "attn_pdrop": 0.0},
}

WITH_A_WINDOW = [kind for kind, settings in ARCHITECTURES.items() if "sliding_window" in settings]


def network_of(kind: str) -> PreTrainedModel:
    """In float32, evaluation mode, with biases that matter."""
    network = reference.tiny(kind, **ARCHITECTURES[kind])
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "bias" in name:
                parameter.normal_(std=0.5)
    return network


def relatives(vocabulary: int, seed: int = 0) -> list[RenderedExample]:
    """Under one system message: a pair, a question with four endings, two equal ones, one that others begin with; and a stranger."""
    dice = random.Random(seed)

    def some(length: int) -> list[int]:
        return [dice.randrange(4, vocabulary) for _ in range(length)]

    system, prompt, question = some(18), some(20), some(25)
    tails = [*([*prompt, *some(n)] for n in (9, 14)), *([*question, *some(n)] for n in (1, 2, 3, 5)), some(11), question, some(30)]
    sequences = [*([*system, *tail] for tail in tails), some(40)]
    sequences.append(sequences[6])
    return [rendered(tokens, [dice.random() < 0.5 for _ in tokens[:-1]] + [True]) for tokens in sequences]


def num_tokens(examples: Sequence[RenderedExample]) -> int:
    return sum(len(example.token_ids) for example in examples)
