"""Batched generation equals single generation equals transformers' own, greedy, token for token."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation import slot_runner, slots
from tunesmith.engine.generation.generate import decode, generate
from tunesmith.engine.generation.slot_parity import why_not_in_slots
from tunesmith.engine.loading import LoadedModel
from tunesmith.errors import DataError
from tunesmith.types import Completion

DICE = random.Random(0)
PROMPTS = [[DICE.randrange(4, 100) for _ in range(length)] for length in (1, 40, 3, 17, 2, 60, 9, 8, 7, 25)]
HEAD = [DICE.randrange(4, 100) for _ in range(30)]
WITH_HEADS = [*PROMPTS, HEAD, [*HEAD, 5], [*HEAD, 5, 6, 7], [*HEAD[:20], 9], PROMPTS[1], PROMPTS[1]]
"""Some are the beginning of others, some share theirs, some are equal."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma3_text": {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "gemma2": {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "mistral": {"sliding_window": 8},
    "gpt_neox": {},
    "phi": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}
PADDED: dict[str, dict[str, Any]] = {
    "bloom": {"n_layer": 2, "n_head": 4},
    "falcon": {"alibi": True, "new_decoder_architecture": False},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "stablelm": {},
}
"""Architectures that slots cannot serve."""


def complete(
    network: PreTrainedModel, prompts: Sequence[Sequence[int]], *, stop_ids: Sequence[int] = (), context: int = 128, **settings: object
) -> list[Completion]:
    config = GenerateConfig(**{"max_new_tokens": 24, **settings})
    return generate(network, prompts, config, stop_ids=stop_ids, context_length=context, parse=lambda ids: " ".join(map(str, ids)))


def by_transformers(network: PreTrainedModel, prompt: Sequence[int], num_new: int = 24, **settings: object) -> list[int]:
    ids = network.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt)),
        max_new_tokens=num_new,
        **{"do_sample": False, "eos_token_id": -1, "pad_token_id": 0, **settings},
    )
    return ids[0, len(prompt) :].tolist()


def until_stop(ids: Sequence[int], stop_ids: Sequence[int]) -> list[int]:
    end = next((i + 1 for i, token in enumerate(ids) if token in stop_ids), len(ids))
    return list(ids[:end])


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_slots_equal_transformers(kind: str) -> None:
    """More prompts than slots, mixed lengths, shared heads, several finishing early, windows shorter than the sequences."""
    network = reference.tiny(kind, **ARCHITECTURES[kind])
    assert why_not_in_slots(network) == ""
    own = [by_transformers(network, prompt) for prompt in WITH_HEADS]
    stop_ids = [own[i][at] for i, at in ((0, 3), (1, 7), (3, 1), (5, 15), (8, 9))]
    expected = [until_stop(answer, stop_ids) for answer in own]
    assert len({len(answer) for answer in expected}) > 3
    for batch_size in (1, 3, 16):
        found = complete(network, WITH_HEADS, stop_ids=stop_ids, batch_size=batch_size)
        assert [list(completion.token_ids) for completion in found] == expected
        assert [c.finish_reason for c in found] == ["end_of_turn" if answer[-1] in stop_ids else "max_new_tokens" for answer in expected]
        assert [c.text for c in found] == [" ".join(map(str, answer)) for answer in expected]


@pytest.mark.parametrize("live_share", [0.0, 0.75, 1.1], ids=["rows stay", "rows leave", "rows leave at once"])
@pytest.mark.parametrize("kind", PADDED)
def test_the_odd_ones_are_padded_and_say_so(kind: str, live_share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.engine.generation.padded_runner.LIVE_SHARE", live_share)
    network = reference.tiny(kind, **PADDED[kind])
    expected = [by_transformers(network, prompt, 12) for prompt in PROMPTS]
    stop_ids = [expected[1][4], expected[6][2]]
    with pytest.warns(UserWarning, match="generates in padded batches"):
        found = complete(network, PROMPTS, max_new_tokens=12, batch_size=4, stop_ids=stop_ids)
    assert [list(completion.token_ids) for completion in found] == [until_stop(answer, stop_ids) for answer in expected]


def test_the_attention_of_before_is_left_behind() -> None:
    network = reference.tiny("llama")
    before = network.config._attn_implementation
    for new in decode(network, {0: PROMPTS[0], 1: PROMPTS[1]}, GenerateConfig(max_new_tokens=3), stop_ids=(), context_length=128):
        assert network.config._attn_implementation == before
        assert len(by_transformers(network, PROMPTS[2], 2)) == 2, "the network is free between two tokens"
        assert new.prompt in {0, 1}


def test_the_cache_grows(monkeypatch: pytest.MonkeyPatch, loaded: LoadedModel) -> None:
    expected = complete(loaded.network, WITH_HEADS, batch_size=4)
    monkeypatch.setattr(slots, "GROWTH", 3)
    assert complete(loaded.network, WITH_HEADS, batch_size=4) == expected


def test_shared_heads_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_runner, "ROUND_TO", 4)  # a fourth of it for few rows: nothing is filled up
    network = reference.tiny("llama")
    why_not_in_slots(network)
    num_tokens: list[int] = []
    network.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: num_tokens.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    prompts = [[*HEAD, *HEAD, number] for number in range(5)]
    found = complete(network, prompts, max_new_tokens=2)
    assert num_tokens == [68, 5]  # 65 filled up to a multiple of four
    assert [list(c.token_ids) for c in found] == [by_transformers(network, prompt, 2) for prompt in prompts]


def test_learnt_positions_end_at_the_context() -> None:
    network = reference.tiny("gpt2", **ARCHITECTURES["gpt2"] | {"n_positions": 64})
    prompts = [PROMPTS[1], *PROMPTS[6:9]]
    found = complete(network, prompts, context=64, max_new_tokens=60)
    assert [c.finish_reason for c in found] == ["context_full"] * 4
    assert [len(p) + len(c.token_ids) for p, c in zip(prompts, found, strict=True)] == [64] * 4
    assert [complete(network, [p], context=64, max_new_tokens=60)[0] for p in prompts] == found


def test_max_new_tokens_and_stop_on_the_last_one(loaded_llama: LoadedModel) -> None:
    own = by_transformers(loaded_llama.network, PROMPTS[3])
    (one,) = complete(loaded_llama.network, [PROMPTS[3]], max_new_tokens=1)
    assert (list(one.token_ids), one.finish_reason) == (own[:1], "max_new_tokens")
    at = next(i for i, token in enumerate(own) if token not in own[:i] and i >= 2)
    (stopped,) = complete(loaded_llama.network, [PROMPTS[3]], max_new_tokens=at + 1, stop_ids=[own[at]])
    assert (list(stopped.token_ids), stopped.finish_reason) == (own[: at + 1], "end_of_turn")


def test_context_full_counts_the_prompt_of_each(loaded_llama: LoadedModel) -> None:
    found = complete(loaded_llama.network, [PROMPTS[1], PROMPTS[3]], context=45)
    assert [(len(c.token_ids), c.finish_reason) for c in found] == [(5, "context_full"), (24, "max_new_tokens")]


def test_no_prompts_and_progress(loaded_llama: LoadedModel) -> None:
    assert complete(loaded_llama.network, []) == []
    done: list[int] = []
    config = GenerateConfig(max_new_tokens=3, batch_size=4)
    generate(loaded_llama.network, PROMPTS, config, stop_ids=(), context_length=256, parse=str, on_progress=done.append)
    assert done == list(range(1, 11))


@pytest.mark.parametrize(("prompt", "found"), [([], "0 tokens"), ([5] * 129, "129 tokens")])
def test_a_prompt_that_cannot_be(loaded_llama: LoadedModel, prompt: list[int], found: str) -> None:
    with pytest.raises(DataError, match=found):
        complete(loaded_llama.network, [prompt])


def test_decode_streams_token_by_token(loaded_llama: LoadedModel) -> None:
    config = GenerateConfig(max_new_tokens=4)
    stream = decode(loaded_llama.network, {7: PROMPTS[2]}, config, stop_ids=(), context_length=256)
    seen = list(stream)
    assert [new.token for new in seen] == by_transformers(loaded_llama.network, PROMPTS[2], 4)
    assert [new.finish_reason for new in seen] == [None, None, None, "max_new_tokens"]
    assert {new.prompt for new in seen} == {7}
