"""Losses of examples, in the order given, whatever they are packed with."""

from __future__ import annotations

import math

import pytest
from transformers import PreTrainedModel

from tests.engine import reference
from tests.samples import random_examples, rendered
from tunesmith.engine.loading import LoadedModel
from tunesmith.engine.score import mean_loss, score
from tunesmith.types import ExampleLoss


def test_order_progress_and_pack_size_do_not_matter(loaded: LoadedModel) -> None:
    examples = random_examples([3, 40, 1, 17, 8, 40, 25], loaded.network.config.vocab_size)
    done: list[int] = []
    whole = score(loaded.network, examples, on_progress=done.append)
    assert done == [7]
    for size in (1, 50, 90):
        done.clear()
        parts = score(loaded.network, examples, tokens_per_pack=size, on_progress=done.append)
        assert [p.total for p in parts] == pytest.approx([w.total for w in whole], rel=1e-5, abs=1e-6)
        assert [p.num_supervised for p in parts] == [w.num_supervised for w in whole]
        assert done[-1] == 7
        assert done == sorted(done)


def test_a_single_token_and_a_supervised_first_token(loaded: LoadedModel) -> None:
    one, first = rendered([5], [1]), rendered([5, 6, 7], [1, 0, 1])
    only_last = rendered([5, 6, 7], [0, 0, 1])
    losses = score(loaded.network, [one, first, only_last])
    assert losses[0] == ExampleLoss(total=0.0, num_supervised=0)
    assert losses[1] == losses[2]
    assert losses[1].num_supervised == 1
    assert losses[1].total == pytest.approx(reference.total_nats(loaded.network, only_last), rel=1e-5)


def test_no_examples(loaded_llama: LoadedModel) -> None:
    assert score(loaded_llama.network, []) == []


def test_no_gradient_is_kept(network: PreTrainedModel) -> None:
    score(network, random_examples([9, 5], network.config.vocab_size))
    assert all(p.grad is None for p in network.parameters())


def test_mean_loss_is_a_sum_over_a_sum() -> None:
    assert mean_loss([ExampleLoss(total=1.0, num_supervised=1), ExampleLoss(total=9.0, num_supervised=3)]) == 2.5


def test_an_untrained_model_is_near_chance(loaded_llama: LoadedModel) -> None:
    examples = random_examples([60] * 20, loaded_llama.network.config.vocab_size)
    assert mean_loss(score(loaded_llama.network, examples)) > 0.9 * math.log(loaded_llama.network.config.vocab_size)
