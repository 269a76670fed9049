"""Continuous batching: requests of their own settings come and go at any time, and never disturb each other."""

from __future__ import annotations

import pytest
import torch

from tests.engine import reference
from tests.engine.generation.test_generate import HEAD, PROMPTS, WITH_HEADS, by_transformers, complete
from tunesmith.config import GenerateConfig
from tunesmith.engine.generation import slot_parity
from tunesmith.engine.generation.decoder import Decoder
from tunesmith.engine.generation.sequences import NewToken, Request
from tunesmith.engine.loading import LoadedModel


def request(prompt: list[int], sample: int = 0, **settings: object) -> Request:
    return Request(prompt_ids=prompt, config=GenerateConfig(**{"max_new_tokens": 8, **settings}), sample=sample, stop_ids=frozenset())


def run(decoder: Decoder) -> list[NewToken]:
    found = []
    while not decoder.is_idle:
        found += decoder.step()
    return found


def tokens(news: list[NewToken], number: int) -> list[int]:
    return [new.token for new in news if new.prompt == number]


def test_requests_enter_as_others_leave(loaded: LoadedModel) -> None:
    """Two slots; a finished sequence leaves and the next one enters with the very next step."""
    decoder = Decoder(loaded.network, context_length=128, batch_size=2)
    lengths = (2, 5, 3, 1)
    numbers = [decoder.submit(request(PROMPTS[i], max_new_tokens=length)) for i, length in enumerate(lengths)]
    assert (decoder.num_waiting, decoder.num_running) == (4, 0)
    steps = []
    while not decoder.is_idle:
        steps.append(decoder.step())
    assert [sorted(new.prompt for new in step) for step in steps] == [[0, 1], [0, 1], [1, 2], [1, 2], [1, 2], [3]]
    assert decoder.step() == []
    for number, prompt, length in zip(numbers, PROMPTS, lengths, strict=False):
        found = tokens([new for step in steps for new in step], number)
        assert found == by_transformers(loaded.network, prompt, length)


def test_requests_may_come_at_any_time_with_settings_of_their_own(loaded: LoadedModel) -> None:
    decoder = Decoder(loaded.network, context_length=128, batch_size=3)
    settings: list[dict[str, object]] = [{}, {"temperature": 1.0, "seed": 5}, {"repetition_penalty": 1.5}, {"temperature": 0.8, "top_k": 4}]
    news: list[NewToken] = []
    numbers = []
    for index in range(12):
        numbers.append(decoder.submit(request(PROMPTS[index % 10], index, max_new_tokens=3 + index, **settings[index % 4])))
        news += decoder.step()
    news += run(decoder)
    for index, number in enumerate(numbers):
        alone = Decoder(loaded.network, context_length=128)
        alone.submit(request(PROMPTS[index % 10], index, max_new_tokens=3 + index, **settings[index % 4]))
        assert tokens(news, number) == tokens(run(alone), 0)


def test_the_first_in_line_is_never_passed_over(loaded_llama: LoadedModel) -> None:
    """Packs gather similar prompts; the oldest one is in the first of them all the same."""
    decoder = Decoder(loaded_llama.network, context_length=128, batch_size=8, tokens_per_pack=64)
    for prompt in (PROMPTS[0], PROMPTS[5], PROMPTS[1], [*HEAD, *HEAD]):
        decoder.submit(request(prompt, max_new_tokens=1))
    seen = [{new.prompt for new in step} for step in iter(decoder.step, [])]
    assert 0 in seen[0]
    assert all(min(set().union(*seen[i:])) in seen[i] for i in range(len(seen)))
    assert set().union(*seen) == {0, 1, 2, 3}


@pytest.mark.parametrize("tokens_per_pack", [1, 40, 100_000])
def test_the_size_of_packs_does_not_matter(loaded: LoadedModel, tokens_per_pack: int) -> None:
    decoder = Decoder(loaded.network, context_length=128, batch_size=5, tokens_per_pack=tokens_per_pack)
    for prompt in WITH_HEADS:
        decoder.submit(request(prompt))
    news = run(decoder)
    assert [tokens(news, i) for i in range(len(WITH_HEADS))] == [by_transformers(loaded.network, prompt, 8) for prompt in WITH_HEADS]


def test_cancelled_requests_leave_at_once_and_free_their_slot(loaded: LoadedModel) -> None:
    decoder = Decoder(loaded.network, context_length=128, batch_size=2)
    numbers = [decoder.submit(request(prompt)) for prompt in PROMPTS[:5]]
    news = decoder.step()
    assert decoder.cancel(numbers[0])  # it runs
    assert decoder.cancel(numbers[3])  # it waits
    news += run(decoder)
    assert len(tokens(news, numbers[0])) == 1
    assert tokens(news, numbers[3]) == []
    for index in (1, 2, 4):
        assert tokens(news, numbers[index]) == by_transformers(loaded.network, PROMPTS[index], 8)
    assert not decoder.cancel(numbers[0])
    assert not decoder.cancel(numbers[1])
    assert not decoder.cancel(99)


def test_padded_batches_serve_the_same_requests(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """For architectures without slots: whole batches one after the other, cancelling included."""
    expected = complete(loaded.network, PROMPTS, max_new_tokens=8, temperature=0.9, logprobs=1)
    monkeypatch.setitem(slot_parity._reasons, loaded.network, "is pretended to be odd")
    found = complete(loaded.network, PROMPTS, max_new_tokens=8, temperature=0.9, logprobs=1, batch_size=4)
    assert [c.token_ids for c in found] == [c.token_ids for c in expected]

    decoder = Decoder(loaded.network, context_length=128, batch_size=3)
    assert decoder.why_padded == "is pretended to be odd"
    numbers = [decoder.submit(request(prompt)) for prompt in PROMPTS[:5]]
    news = decoder.step()
    decoder.cancel(numbers[1])
    news += run(decoder)
    assert len(tokens(news, numbers[1])) == 1
    for index in (0, 2, 3, 4):
        assert tokens(news, numbers[index]) == by_transformers(loaded.network, PROMPTS[index], 8)


def test_bfloat16_networks_take_slots_too() -> None:
    network = reference.tiny("gemma3_text", head_dim=8, sliding_window=8, query_pre_attn_scalar=8).to(torch.bfloat16)
    assert slot_parity.why_not_in_slots(network) == ""
    assert {len(c.token_ids) for c in complete(network, PROMPTS)} == {24}
