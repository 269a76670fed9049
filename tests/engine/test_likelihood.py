"""Log-likelihoods of continuations: as the plain forward pass gives them, each shared token computed once."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence

import pytest
import torch
from transformers import PreTrainedModel

from tests.engine import reference
from tunesmith.engine.attention import packs_faithfully
from tunesmith.engine.likelihood import LikelihoodRequest, log_likelihoods, rolling_log_likelihoods, rolling_requests
from tunesmith.engine.loading import LoadedModel
from tunesmith.errors import DataError

CONTEXT = 256


def ask(context: Sequence[int], continuation: Sequence[int]) -> LikelihoodRequest:
    return LikelihoodRequest(context_ids=tuple(context), continuation_ids=tuple(continuation))


def random_ids(dice: random.Random, length: int, vocabulary: int) -> list[int]:
    return [dice.randrange(4, vocabulary) for _ in range(length)]


def multiple_choice(vocabulary: int, *, num_questions: int = 5, seed: int = 0) -> list[LikelihoodRequest]:
    """A few-shot prefix, questions behind it, endings of one and of many tokens behind each."""
    dice = random.Random(seed)
    prefix = random_ids(dice, 40, vocabulary)
    requests = []
    for _ in range(num_questions):
        question = prefix + random_ids(dice, dice.randrange(3, 30), vocabulary)
        requests += [ask(question, random_ids(dice, length, vocabulary)) for length in (1, 1, 2, 25)]
    return requests


@torch.no_grad()
def plain(network: PreTrainedModel, request: LikelihoodRequest) -> tuple[list[float], bool]:
    """Log-probability of every token of the continuation, and whether all are the likeliest, by the model's own forward pass."""
    token_ids = torch.tensor([request.context_ids + request.continuation_ids])
    rows = network(input_ids=token_ids, use_cache=False).logits[0, len(request.context_ids) - 1 : -1].float()
    labels = torch.tensor(request.continuation_ids)
    return rows.log_softmax(-1).gather(1, labels[:, None]).squeeze(1).tolist(), bool((rows.argmax(-1) == labels).all())


@pytest.fixture
def tokens_read(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many tokens each forward pass was given, none of them filling up."""
    monkeypatch.setattr("tunesmith.engine.likelihood.ROUND_TO", 1)
    assert packs_faithfully(loaded.network)  # found out now, so that its trial is not counted
    seen: list[int] = []
    hook = loaded.network.get_decoder().register_forward_pre_hook(
        lambda _, __, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    yield seen
    hook.remove()


@pytest.mark.parametrize("tokens_per_pack", [1, 90, 8192])
def test_same_as_the_plain_forward_pass(loaded: LoadedModel, tokens_per_pack: int) -> None:
    requests = multiple_choice(loaded.network.config.vocab_size)
    random.Random(1).shuffle(requests)
    found = log_likelihoods(loaded.network, requests, context_length=CONTEXT, tokens_per_pack=tokens_per_pack, per_token=True)
    for request, likelihood in zip(requests, found, strict=True):
        expected, is_greedy = plain(loaded.network, request)
        assert likelihood.token_log_probabilities == pytest.approx(expected, abs=1e-4)
        assert likelihood.log_probability == pytest.approx(sum(expected), abs=1e-4)
        assert likelihood.is_greedy == is_greedy
        assert (likelihood.num_tokens, likelihood.num_cut_tokens) == (len(request.continuation_ids), 0)


def test_a_request_that_another_begins_with(loaded: LoadedModel) -> None:
    ids = random_ids(random.Random(0), 60, loaded.network.config.vocab_size)
    requests = [
        ask(ids[:30], ids[30:]),
        ask(ids[:30], ids[30:45]),
        ask(ids[:20], ids[20:31]),
        ask(ids[:30], ids[30:31]),
        ask(ids[:1], ids[1:]),
    ]
    for request, likelihood in zip(requests, log_likelihoods(loaded.network, requests, context_length=CONTEXT), strict=True):
        assert likelihood.log_probability == pytest.approx(sum(plain(loaded.network, request)[0]), abs=1e-4)


def test_greedy_is_what_greedy_decoding_says(loaded: LoadedModel) -> None:
    context = random_ids(random.Random(3), 8, loaded.network.config.vocab_size)
    token_ids = list(context)
    for _ in range(5):
        token_ids.append(int(loaded.network(input_ids=torch.tensor([token_ids])).logits[0, -1].argmax()))
    follows = token_ids[8:]
    off = [*follows[:2], (follows[2] + 1) % loaded.network.config.vocab_size, *follows[3:]]
    right, wrong = log_likelihoods(loaded.network, [ask(context, follows), ask(context, off)], context_length=CONTEXT)
    assert right.is_greedy
    assert not wrong.is_greedy


def test_letters_after_one_question_are_one_sequence(loaded: LoadedModel, tokens_read: list[int]) -> None:
    question = random_ids(random.Random(0), 50, loaded.network.config.vocab_size)
    letters = log_likelihoods(loaded.network, [ask(question, [letter]) for letter in (10, 11, 12, 13)], context_length=CONTEXT)
    assert tokens_read == [50]
    assert len({letter.log_probability for letter in letters}) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_probabilities_of_all_tokens_add_up_to_one(network: PreTrainedModel, dtype: torch.dtype) -> None:
    """In bfloat16 too: the softmax is in float32."""
    vocabulary = network.config.vocab_size
    context = random_ids(random.Random(0), 20, vocabulary)
    found = log_likelihoods(network.to(dtype), [ask(context, [token]) for token in range(vocabulary)], context_length=CONTEXT)
    assert sum(math.exp(likelihood.log_probability) for likelihood in found) == pytest.approx(1, abs=1e-5)
    assert [likelihood.is_greedy for likelihood in found].count(True) == 1


def test_a_common_prefix_and_a_repeated_request_are_computed_once(loaded: LoadedModel, tokens_read: list[int]) -> None:
    dice = random.Random(0)
    vocabulary = loaded.network.config.vocab_size
    prefix = random_ids(dice, 80, vocabulary)
    requests = [ask(prefix, [first, *random_ids(dice, 9, vocabulary)]) for first in (4, 5, 6)]
    done: list[int] = []
    first, *_, again = log_likelihoods(loaded.network, [*requests, requests[0]], context_length=CONTEXT, on_progress=done.append)
    assert tokens_read == [80 + 3 * 9]
    assert first == again
    assert done == [4]


def test_chunks_do_not_matter(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = multiple_choice(loaded.network.config.vocab_size)
    whole = log_likelihoods(loaded.network, requests, context_length=CONTEXT)
    monkeypatch.setattr("tunesmith.engine.likelihood.CHUNK_BYTES", 3 * 4 * loaded.network.config.vocab_size)
    for one, other in zip(whole, log_likelihoods(loaded.network, requests, context_length=CONTEXT), strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-5)
        assert one.is_greedy == other.is_greedy


@pytest.mark.parametrize(("kind", "settings"), [("gemma2", {"head_dim": 8}), ("cohere", {"logit_scale": 0.5})])
def test_what_architectures_do_to_their_logits(kind: str, settings: dict[str, float]) -> None:
    network = reference.tiny(kind, **settings)
    requests = multiple_choice(100, num_questions=2)
    for request, likelihood in zip(requests, log_likelihoods(network, requests, context_length=128), strict=True):
        assert likelihood.log_probability == pytest.approx(sum(plain(network, request)[0]), abs=1e-4)


def test_too_long_a_request_loses_the_beginning_of_its_context(loaded: LoadedModel) -> None:
    ids = random_ids(random.Random(0), 50, loaded.network.config.vocab_size)
    fits, too_long, only_just = log_likelihoods(
        loaded.network, [ask(ids[20:], ids[:3]), ask(ids, ids[:3]), ask(ids[:1], ids[:32])], context_length=32
    )
    assert too_long.log_probability == pytest.approx(fits.log_probability, abs=1e-5)
    assert [fits.num_cut_tokens, too_long.num_cut_tokens, only_just.num_cut_tokens] == [0, 20, 0]


@pytest.mark.parametrize(
    ("context", "continuation", "what"),
    [([], [1], "empty context"), ([1], [], "continuation of 0 tokens"), ([1], range(9), "continuation of 9 tokens")],
)
def test_requests_that_mean_nothing(loaded_llama: LoadedModel, context: list[int], continuation: Sequence[int], what: str) -> None:
    with pytest.raises(DataError, match=rf"request 2: an? {what}"):
        log_likelihoods(loaded_llama.network, [ask([1], [2]), ask(context, continuation)], context_length=8)


def test_no_requests(loaded_llama: LoadedModel) -> None:
    assert log_likelihoods(loaded_llama.network, [], context_length=8) == []


def test_no_gradient_is_kept(network: PreTrainedModel) -> None:
    log_likelihoods(network, multiple_choice(network.config.vocab_size), context_length=CONTEXT)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 15, 16, 17, 30])
def test_windows_predict_every_token_once_from_as_much_as_fits(length: int) -> None:
    text = list(range(100, 100 + length))
    windows = rolling_requests(text, prefix_id=1, context_length=8)
    assert [token for window in windows for token in window.continuation_ids] == text
    seen = 0
    for number, window in enumerate(windows):
        inputs = window.context_ids + window.continuation_ids[:-1]
        assert len(inputs) <= 8
        assert len(inputs) == 8 or number == 0
        before = text[:seen]
        assert list(window.context_ids) == ([1] if number == 0 else before[-len(window.context_ids) :])
        seen += len(window.continuation_ids)


@pytest.mark.parametrize("length", [1, 8, 9, 30])
def test_windows_are_those_of_the_harness(length: int) -> None:
    utils = pytest.importorskip("lm_eval.utils", reason="the extra tunesmith[bench] is not installed")
    text = list(range(100, 100 + length))
    theirs = map(utils.make_disjoint_window, utils.get_rolling_token_windows(text, prefix_token=1, max_seq_len=8, context_len=1))
    ours = rolling_requests(text, prefix_id=1, context_length=8)
    assert [(list(window.context_ids), list(window.continuation_ids)) for window in ours] == list(theirs)


def test_rolling_adds_up_its_windows(loaded: LoadedModel) -> None:
    dice = random.Random(0)
    texts = [random_ids(dice, length, loaded.network.config.vocab_size) for length in (70, 0, 16, 5)]
    found = rolling_log_likelihoods(loaded.network, texts, prefix_id=1, context_length=16, per_token=True)
    for text, likelihood in zip(texts, found, strict=True):
        expected = [nats for window in rolling_requests(text, prefix_id=1, context_length=16) for nats in plain(loaded.network, window)[0]]
        assert likelihood.token_log_probabilities == pytest.approx(expected, abs=1e-4)
        assert likelihood.log_probability == pytest.approx(sum(expected), abs=1e-4)
        assert likelihood.num_tokens == len(text)
