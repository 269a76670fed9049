"""Batched generation equals single generation equals transformers' own; sampling is what its settings say."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tunesmith.config import GenerateConfig
from tunesmith.engine.generate import _sample, decode, generate
from tunesmith.engine.loading import LoadedModel
from tunesmith.types import Completion

DICE = random.Random(0)
PROMPTS = [[DICE.randrange(4, 420) for _ in range(length)] for length in (1, 40, 3, 17, 2, 60, 9, 8, 7, 25)]


def complete(
    network: PreTrainedModel, prompts: Sequence[Sequence[int]], *, stop_ids: Sequence[int] = (), context: int = 256, **settings: object
) -> list[Completion]:
    config = GenerateConfig(**{"max_new_tokens": 24, **settings})
    return generate(network, prompts, config, stop_ids=stop_ids, context_length=context, parse=lambda ids: " ".join(map(str, ids)))


def by_transformers(network: PreTrainedModel, prompt: Sequence[int], num_new: int = 24) -> list[int]:
    ids = network.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt)),
        max_new_tokens=num_new,
        do_sample=False,
        eos_token_id=-1,
        pad_token_id=0,
    )
    return ids[0, len(prompt) :].tolist()


def until_stop(ids: Sequence[int], stop_ids: Sequence[int]) -> list[int]:
    end = next((i + 1 for i, token in enumerate(ids) if token in stop_ids), len(ids))
    return list(ids[:end])


@pytest.fixture
def own_answers(loaded: LoadedModel) -> list[list[int]]:
    return [by_transformers(loaded.network, prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("live_share", [0.0, 0.75, 1.1], ids=["rows stay", "rows leave", "rows leave at once"])
def test_batched_equals_single_equals_transformers(
    loaded: LoadedModel, own_answers: list[list[int]], live_share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy, token for token; prompts of many lengths, several finishing early."""
    monkeypatch.setattr("tunesmith.engine.generate.LIVE_SHARE", live_share)
    stop_ids = [own_answers[i][at] for i, at in ((0, 3), (1, 7), (3, 1), (5, 15), (8, 9))]
    expected = [until_stop(answer, stop_ids) for answer in own_answers]
    assert len({len(answer) for answer in expected}) > 3
    for batch_size in (1, 3, 10):
        found = complete(loaded.network, PROMPTS, stop_ids=stop_ids, batch_size=batch_size)
        assert [list(completion.token_ids) for completion in found] == expected
        assert [c.finish_reason for c in found] == ["end_of_turn" if answer[-1] in stop_ids else "max_new_tokens" for answer in expected]
        assert [c.text for c in found] == [" ".join(map(str, answer)) for answer in expected]


def test_learnt_positions_end_at_the_context() -> None:
    """A finished row runs on beside longer ones; it must not ask for a position that the model does not have."""
    network = reference.tiny("gpt2", vocab_size=420, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    prompts = [PROMPTS[1], *PROMPTS[6:9]]
    found = complete(network, prompts, context=64, max_new_tokens=60)
    assert [c.finish_reason for c in found] == ["context_full"] * 4
    assert [len(p) + len(c.token_ids) for p, c in zip(prompts, found, strict=True)] == [64] * 4
    assert [complete(network, [p], context=64, max_new_tokens=60)[0] for p in prompts] == found


def test_max_new_tokens_and_stop_on_the_last_one(loaded_llama: LoadedModel) -> None:
    own = by_transformers(loaded_llama.network, PROMPTS[3], 6)
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


def test_decode_streams_token_by_token(loaded_llama: LoadedModel) -> None:
    config = GenerateConfig(max_new_tokens=4)
    stream = decode(loaded_llama.network, {7: PROMPTS[2]}, config, stop_ids=(), context_length=256)
    seen = list(stream)
    assert [new.token for new in seen] == by_transformers(loaded_llama.network, PROMPTS[2], 4)
    assert [new.finish_reason for new in seen] == [None, None, None, "max_new_tokens"]
    assert {new.prompt for new in seen} == {7}


class TestSampling:
    def test_the_same_seed_gives_the_same_text(self, loaded: LoadedModel) -> None:
        one, again, other = (complete(loaded.network, PROMPTS, temperature=1.0, seed=seed) for seed in (3, 3, 4))
        assert one == again
        assert one != other

    def test_companions_do_not_matter(self, loaded: LoadedModel) -> None:
        whole = complete(loaded.network, PROMPTS, temperature=1.0, top_p=0.95, batch_size=10)
        for batch_size in (1, 3):
            assert complete(loaded.network, PROMPTS, temperature=1.0, top_p=0.95, batch_size=batch_size) == whole
        others = [PROMPTS[0], *[list(reversed(prompt)) for prompt in PROMPTS[1:]]]
        assert complete(loaded.network, others, temperature=1.0, top_p=0.95, batch_size=10)[0] == whole[0]

    def test_equal_prompts_get_different_samples_and_neighbouring_seeds_share_none(self, loaded_llama: LoadedModel) -> None:
        first, second = (
            {c.token_ids for c in complete(loaded_llama.network, [PROMPTS[3]] * 6, temperature=1.5, seed=seed)} for seed in (0, 1)
        )
        assert len(first) == len(second) == 6
        assert not first & second

    def test_a_temperature_near_zero_is_greedy(self, loaded: LoadedModel) -> None:
        cold = complete(loaded.network, PROMPTS, temperature=1e-6)
        assert [c.token_ids for c in cold] == [c.token_ids for c in complete(loaded.network, PROMPTS)]

    LOGITS = (2.0, 1.5, 1.0, 1.0, 0.0, -1.0, -2.0, -6.0)

    @pytest.mark.parametrize(
        ("temperature", "top_k", "top_p"),
        [
            (1.0, None, 1.0),
            (0.5, None, 1.0),
            (2.0, 2, 1.0),
            (1.0, 3, 1.0),
            (1.0, None, 0.5),
            (0.7, 5, 0.8),
            (1.0, 1, 1.0),
            (1.0, None, 1e-9),
            (1.0, 99, 0.9),
        ],
    )
    def test_the_distribution(self, temperature: float, top_k: int | None, top_p: float) -> None:
        """Frequencies of 4,000 draws against probabilities worked out by hand."""
        expected = by_hand(self.LOGITS, temperature, top_k, top_p)
        config = GenerateConfig(temperature=temperature, top_k=top_k, top_p=top_p)
        generator = torch.Generator().manual_seed(0)
        draws = 4000
        counts = Counter(_sample(torch.tensor(self.LOGITS), config, generator) for _ in range(draws))
        assert set(counts) <= {token for token, p in enumerate(expected) if p > 0}
        for token, p in enumerate(expected):
            assert abs(counts[token] / draws - p) <= 4 * math.sqrt(p * (1 - p) / draws)


def by_hand(logits: Sequence[float], temperature: float, top_k: int | None, top_p: float) -> list[float]:
    """Temperature, then the k most likely (ties with the last one kept), then the smallest set with probability `top_p`."""
    weights = [math.exp(logit / temperature) for logit in logits]
    if top_k is not None and top_k < len(weights):
        least = sorted(weights, reverse=True)[top_k - 1]
        weights = [weight if weight >= least else 0.0 for weight in weights]
    total, reached, kept = sum(weights), 0.0, set()
    for token in sorted(range(len(weights)), key=lambda t: (-weights[t], t)):
        if reached >= top_p:
            break
        kept.add(token)
        reached += weights[token] / total
    chosen = [weight if token in kept else 0.0 for token, weight in enumerate(weights)]
    return [weight / sum(chosen) for weight in chosen]
