"""Operations of a token and bytes between processes, against closed forms."""

from __future__ import annotations

import itertools

import pytest

from tests.train.capacities import architecture, setup
from tunesmith.train.pace import mean_seen, measure_rate, operations, pace, sent_bytes

EIGHT, EMBEDDING = 8_030_261_248, 128_256 * 4096
NORMS = (2 * 32 + 1) * 4096
PRODUCTS = EIGHT - EMBEDDING - NORMS
"""Weights in matrix products: all but the embedding and the norms."""
ADAPTERS = 41_943_040
ATTENTION = 4 * 4096 * 2049 / 2 * 32
"""Forward, for a token in the mean of a sequence of 2,048."""


def test_six_operations_a_weight_in_full_training() -> None:
    found = operations(architecture("llama-3.1-8b", "full"), setup("full"), 2048)
    assert found.weights == 6 * PRODUCTS
    assert found.attention == 3 * ATTENTION
    assert found.again == 0


def test_four_under_adapters_and_six_in_them() -> None:
    found = operations(architecture("llama-3.1-8b", "lora"), setup("lora"), 2048)
    assert found.weights == 4 * PRODUCTS + 6 * ADAPTERS


def test_frozen_layers_are_computed_forward_only() -> None:
    found = operations(architecture("llama-3.1-8b", "freeze"), setup("freeze"), 2048)
    layer = (PRODUCTS - EMBEDDING) // 32
    assert found.weights == 28 * 2 * layer + 4 * 6 * layer + 4 * EMBEDDING
    assert found.attention == pytest.approx(ATTENTION / 32 * (28 + 4 * 3))


def test_checkpointing_computes_the_layers_once_more() -> None:
    found = operations(architecture("llama-3.1-8b", "full"), setup("full", activation_checkpointing=True), 2048)
    assert found.again == 2 * (PRODUCTS - EMBEDDING) + ATTENTION


@pytest.mark.parametrize(("length", "window"), list(itertools.product((1, 2, 7, 40), (None, 1, 3, 40, 100))))
def test_tokens_seen(length: int, window: int | None) -> None:
    seen = [min(place + 1, window or length) for place in range(length)]
    assert mean_seen(length, window) == pytest.approx(sum(seen) / length)


def test_gradients_go_round_twice() -> None:
    described = architecture("llama-3.1-8b", "full")
    assert sent_bytes(described, setup("full"), "ddp", 8) == 2 * 7 * 4 * EIGHT // 8
    assert sent_bytes(described, setup("full"), "alone", 1) == sent_bytes(described, setup("full"), "fsdp", 1) == 0


def test_shares_are_gathered_twice_and_gradients_reduced_once_for_every_micro_batch() -> None:
    described = architecture("llama-3.1-8b", "full")
    root = 2 * EMBEDDING + 4096
    once = 7 * (2 * 2 * (EIGHT - root) + 2 * root + 4 * EIGHT) // 8
    assert sent_bytes(described, setup("full"), "fsdp", 8) == once
    assert sent_bytes(described, setup("full", tokens_per_step=8 * 4096 * 3), "fsdp", 8) == 3 * once


def test_adapters_send_little() -> None:
    assert sent_bytes(architecture("llama-3.1-8b", "lora"), setup("lora"), "ddp", 2) == 4 * ADAPTERS


def test_a_step() -> None:
    described, how = architecture("llama-3.1-8b", "full"), setup("full")
    found = pace(described, how, "ddp", 4, length=2048, rate=1e14, bandwidth=1e10)
    assert found.tokens == 4 * 4096
    assert found.compute_seconds == pytest.approx(operations(described, how, 2048).total * 4096 / 1e14)
    assert found.communication_seconds == pytest.approx(found.sent_bytes / 1e10)
    after, meanwhile = found.tokens_per_second or (0.0, 0.0)
    assert after == pytest.approx(found.tokens / (found.compute_seconds + found.communication_seconds))
    assert meanwhile == pytest.approx(found.tokens / max(found.compute_seconds, found.communication_seconds))


def test_what_is_not_known_is_not_made_up() -> None:
    described, how = architecture("llama-3.2-1b", "lora"), setup("lora")
    assert pace(described, how, "ddp", 4, length=2048, rate=1e14, bandwidth=None).tokens_per_second is None
    assert pace(described, how, "alone", 1, length=2048, rate=None, bandwidth=None).tokens_per_second is None
    assert pace(described, how, "alone", 1, length=2048, rate=1e14, bandwidth=None).communication_seconds == 0


def test_a_measured_rate() -> None:
    ticks = itertools.count()
    assert measure_rate("cpu", 4, clock=lambda: float(next(ticks))) == 2 * 2048**3
