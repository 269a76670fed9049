"""Sampling is what its settings say, repeatable, and blind to the rest of the batch; log-probabilities are the model's own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tests.engine.generation.test_generate import PROMPTS, by_transformers, complete
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation import sampling
from tunesmith.engine.generation.sampling import Sampler, choose, log_probabilities
from tunesmith.engine.loading import LoadedModel

LOGITS = (2.0, 1.5, 1.0, 1.0, 0.0, -1.0, -2.0, -6.0)


def test_the_same_seed_gives_the_same_text(loaded: LoadedModel) -> None:
    one, again, other = (complete(loaded.network, PROMPTS, temperature=1.0, seed=seed) for seed in (3, 3, 4))
    assert one == again
    assert one != other


@pytest.mark.parametrize("settings", [{}, {"top_p": 0.95}, {"top_k": 9, "min_p": 0.02, "repetition_penalty": 1.3}])
def test_companions_do_not_matter(loaded: LoadedModel, settings: dict[str, float]) -> None:
    whole = complete(loaded.network, PROMPTS, temperature=1.0, batch_size=10, **settings)
    for batch_size in (1, 3):
        assert complete(loaded.network, PROMPTS, temperature=1.0, batch_size=batch_size, **settings) == whole
    others = [PROMPTS[0], *[list(reversed(prompt)) for prompt in PROMPTS[1:]]]
    assert complete(loaded.network, others, temperature=1.0, batch_size=10, **settings)[0] == whole[0]


def test_equal_prompts_get_different_samples_and_neighbouring_seeds_share_none(loaded_llama: LoadedModel) -> None:
    first, second = ({c.token_ids for c in complete(loaded_llama.network, [PROMPTS[3]] * 6, temperature=1.5, seed=seed)} for seed in (0, 1))
    assert len(first) == len(second) == 6
    assert not first & second


def test_a_temperature_near_zero_is_greedy(loaded: LoadedModel) -> None:
    cold = complete(loaded.network, PROMPTS, temperature=1e-6)
    assert [c.token_ids for c in cold] == [c.token_ids for c in complete(loaded.network, PROMPTS)]


@pytest.mark.parametrize("temperature", [1e-320, 1e-40, 1e-38, 2e-6, 1e-5, 1e-4])
@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.9}, {"min_p": 0.1}])
def test_however_cold_a_token_is_drawn_from_the_vocabulary(temperature: float, settings: dict[str, float]) -> None:
    logits = torch.tensor([[90.0, 30.0, 88.0, -90.0], [-3.0, -90.0, -2.0, -1.0]])
    cold = Sampler(GenerateConfig(temperature=temperature, **settings))  # type: ignore[arg-type]
    assert choose(logits, [cold, Sampler(GenerateConfig(temperature=1.0, top_k=1))]) == [0, 3]
    assert choose(logits, [cold, cold]) == [0, 3]


@pytest.mark.parametrize("penalty", [0.01, 100.0])
def test_the_strongest_penalties_leave_something_to_draw(penalty: float) -> None:
    logits = torch.tensor([[90.0, 30.0, -90.0, -80.0]])
    for seen in ([0, 1], [2, 3], [0, 1, 2, 3]):
        sampler = Sampler(GenerateConfig(temperature=1e-5, repetition_penalty=penalty), prompt_ids=seen)
        assert choose(logits, [sampler])[0] < 4
    for beyond in (penalty / 1.01, penalty * 1.01):
        if not 0.01 <= beyond <= 100:
            with pytest.raises(ValueError, match="repetition_penalty"):
                GenerateConfig(repetition_penalty=beyond)


def test_a_penalty_is_transformers_own(network: PreTrainedModel) -> None:
    found = complete(network, PROMPTS, repetition_penalty=1.4)
    assert [list(c.token_ids) for c in found] == [by_transformers(network, prompt, repetition_penalty=1.4) for prompt in PROMPTS]
    assert [c.token_ids for c in found] != [c.token_ids for c in complete(network, PROMPTS)]


@pytest.mark.parametrize("candidates", [2, 1024], ids=["whole vocabulary sorted", "candidates suffice"])
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "min_p"),
    [
        (1.0, None, 1.0, 0.0),
        (0.5, None, 1.0, 0.0),
        (2.0, 2, 1.0, 0.0),
        (1.0, 3, 1.0, 0.0),  # the third and fourth are equally likely
        (1.0, None, 0.5, 0.0),
        (1.0, None, 0.75, 0.0),
        (0.7, 5, 0.8, 0.0),
        (1.0, 1, 1.0, 0.0),
        (1.0, None, 1e-9, 0.0),
        (1.0, 99, 0.9, 0.0),
        (1.0, None, 1.0, 0.3),
        (1.0, None, 1.0, 0.7),
        (2.0, 6, 0.9, 0.1),
    ],
)
def test_the_distribution(
    temperature: float, top_k: int | None, top_p: float, min_p: float, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frequencies of 4,000 draws against probabilities worked out by hand; neighbours in the batch have other settings."""
    monkeypatch.setattr(sampling, "CANDIDATES", candidates)
    expected = by_hand(LOGITS, temperature, top_k, top_p, min_p)
    one = Sampler(GenerateConfig(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p))
    others = [Sampler(config) for config in (GenerateConfig(temperature=3.0), GenerateConfig(), GenerateConfig(temperature=1, top_p=0.3))]
    draws = 4000
    rows = [one, *others] * draws
    counts = Counter(choose(torch.tensor(LOGITS).expand(len(rows), -1), rows)[::4])
    assert set(counts) <= {token for token, p in enumerate(expected) if p > 0}
    for token, p in enumerate(expected):
        assert abs(counts[token] / draws - p) <= 4 * math.sqrt(p * (1 - p) / draws)


def by_hand(logits: Sequence[float], temperature: float, top_k: int | None, top_p: float, min_p: float) -> list[float]:
    """Temperature, the k most likely, the smallest set with probability `top_p`, the fraction `min_p`; ties with the last stay."""
    weights = [math.exp(logit / temperature) for logit in logits]
    if top_k is not None and top_k < len(weights):
        least = sorted(weights, reverse=True)[top_k - 1]
        weights = [weight if weight >= least else 0.0 for weight in weights]
    total, reached, least = sum(weights), 0.0, 0.0
    for weight in sorted(weights, reverse=True):
        if reached >= top_p:
            break
        least = weight
        reached += weight / total
    least = max(least, min_p * max(weights))
    chosen = [weight if weight >= least else 0.0 for weight in weights]
    return [weight / sum(chosen) for weight in chosen]


def test_a_penalty_by_hand() -> None:
    """Positive logits of tokens seen are divided, negative ones multiplied, once however often they came."""
    sampler = Sampler(GenerateConfig(repetition_penalty=2.0), prompt_ids=[0, 0, 5])
    sampler.add(1)
    sampler.add(1)
    logits = torch.tensor([LOGITS])
    penalised = logits[0].clone()
    sampler.penalise(penalised)
    assert penalised.tolist() == [1.0, 0.75, 1.0, 1.0, 0.0, -2.0, -2.0, -6.0]
    assert choose(logits, [sampler]) == [0]  # 1.0 thrice: the first
    sampler.add(0)
    sampler.add(2)
    assert choose(logits, [sampler]) == [0]
    assert choose(logits, [Sampler(GenerateConfig(repetition_penalty=2.1), prompt_ids=[0, 1, 2])]) == [3]
    assert logits.tolist() == [list(LOGITS)], "the model's own logits stay"


def test_random_numbers_are_reproducible_and_even() -> None:
    one, again, other = (Sampler(GenerateConfig(temperature=1), sample=sample) for sample in (4, 4, 5))
    numbers = [one.number() for _ in range(1000)]
    assert numbers == [again.number() for _ in range(1000)]
    assert numbers[0] != other.number()
    assert 0 <= min(numbers) < 0.01
    assert 0.99 < max(numbers) < 1
    assert sum(numbers) / 1000 == pytest.approx(0.5, abs=0.04)


def test_no_token_that_was_cut_is_drawn_at_the_end_of_the_range() -> None:
    sampler = Sampler(GenerateConfig(temperature=1.0, top_k=1))
    sampler._numbers = [1 - 2**-53]
    assert choose(torch.tensor([LOGITS]), [sampler]) == [0]


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"temperature": 1.3, "top_k": 5, "repetition_penalty": 1.5}])
def test_logprobs_are_those_of_the_models_own_logits(loaded: LoadedModel, settings: dict[str, float]) -> None:
    found = complete(loaded.network, PROMPTS, logprobs=3, batch_size=4, max_new_tokens=9, **settings)
    for prompt, completion in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([[*prompt, *completion.token_ids]])
        expected = loaded.network(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        assert completion.logprobs is not None
        assert [one.token for one in completion.logprobs] == list(completion.token_ids)
        for one, row in zip(completion.logprobs, expected, strict=True):
            assert one.logprob == pytest.approx(float(row[one.token]), abs=1e-4)
            likeliest = row.topk(3)
            assert [value for _, value in one.top] == pytest.approx(likeliest.values.tolist(), abs=1e-4)
            assert [token for token, _ in one.top] == likeliest.indices.tolist()


def test_logprobs_only_where_asked_for() -> None:
    logits = torch.tensor([LOGITS] * 3)
    nothing, chosen, top = log_probabilities(logits, [1, 2, 4], [None, 0, 2])
    assert nothing is None
    assert chosen is not None
    assert chosen.top == ()
    assert chosen.logprob == pytest.approx(float(logits[1].log_softmax(-1)[2]))
    assert top is not None
    assert [token for token, _ in top.top] == [0, 1]
    assert complete(reference.tiny("llama"), [PROMPTS[0]])[0].logprobs is None
