"""What is chosen for settings that were left open, and that what was set stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from tunesmith.config import DEFAULT_LEARNING_RATES, LEARNING_RATE_FACTORS, LoraConfig, Method, TrainConfig
from tunesmith.train import defaults
from tunesmith.train.defaults import fill_defaults

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"


def config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"model": "m", "data": Path("d"), **settings})


def test_the_common_case() -> None:
    filled = fill_defaults(config(), objective="sft", num_examples=1000)
    assert (filled.config.learning_rate, filled.config.epochs, filled.config.examples_per_step) == (5e-4, 3.0, 8)
    assert (filled.config.lora.rank, filled.config.lora.alpha) == (16, 32.0)
    assert filled.chosen.keys() == {"learning_rate", "epochs", "examples_per_step", "lora.rank", "lora.alpha"}
    assert all(one.reason and one.source for one in filled.chosen.values())
    assert filled.record()["epochs"] == {"value": 3.0, "reason": filled.chosen["epochs"].reason, "source": defaults.COOKBOOK}


def test_what_was_set_stays() -> None:
    own = config(learning_rate=1e-3, epochs=0.5, examples_per_step=3, lora=LoraConfig(rank=4, alpha=1.0))
    filled = fill_defaults(own, objective="dpo", num_examples=10**6)
    assert filled.config == own
    assert filled.chosen == {}


def test_without_adapters_nothing_is_said_of_them() -> None:
    filled = fill_defaults(config(method="full"), objective="sft", num_examples=1000)
    assert filled.config.lora == LoraConfig()
    assert filled.chosen.keys() == {"learning_rate", "epochs", "examples_per_step"}


@pytest.mark.parametrize(
    ("num_examples", "epochs"),
    [(1, 25), (4, 25), (5, 20), (33, 3), (34, 3), (1000, 3), (8333, 3), (8334, 2), (12_500, 2), (12_501, 1), (10**6, 1)],
)
def test_epochs(num_examples: int, epochs: float) -> None:
    assert defaults.epochs(num_examples).value == epochs


@pytest.mark.parametrize(("num_examples", "rank"), [(1, 16), (50_000, 16), (50_001, 64), (200_000, 64), (200_001, 128)])
def test_rank(num_examples: int, rank: int) -> None:
    assert defaults.lora_rank(num_examples).value == rank


@pytest.mark.parametrize(("num_examples", "rank"), [(1000, None), (100_000, None), (1000, 7)])
def test_rslora_starts_with_the_scale_of_plain_lora(num_examples: int, rank: int | None) -> None:
    lora = fill_defaults(config(lora=LoraConfig(rank=rank, rslora=True)), objective="sft", num_examples=num_examples).config.lora
    assert lora.rank is not None
    assert lora.alpha is not None
    plain = fill_defaults(config(), objective="sft", num_examples=1000).config.lora
    assert plain.alpha is not None
    assert plain.rank is not None
    assert lora.alpha / lora.rank**0.5 == pytest.approx(plain.alpha / plain.rank)


def test_an_alpha_for_rslora_that_was_set_stays() -> None:
    assert fill_defaults(config(lora=LoraConfig(alpha=5.0, rslora=True)), objective="sft", num_examples=9).config.lora.alpha == 5.0


@pytest.mark.parametrize("method", get_args(Method))
def test_examples_per_step(method: str) -> None:
    assert defaults.examples_per_step(method, 9999).value == 8
    assert defaults.examples_per_step(method, 10_000).value == (16 if "lora" in method else 32)


@pytest.mark.parametrize("objective", LEARNING_RATE_FACTORS)
@pytest.mark.parametrize("method", get_args(Method))
def test_learning_rates(method: str, objective: str) -> None:
    rate = defaults.learning_rate(method, objective).value
    assert rate == pytest.approx(DEFAULT_LEARNING_RATES[method] * LEARNING_RATE_FACTORS[objective])
    assert defaults.learning_rate("lora", objective).value == pytest.approx(10 * defaults.learning_rate("full", objective).value)


def test_the_guide_has_the_very_numbers() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    table = text[text.index("| setting left open |") :].split("\n\n")[0]
    for method, rate in DEFAULT_LEARNING_RATES.items():
        shown = re.search(rf"`{method}` ([\d.e-]+)", table)
        assert shown, method
        assert float(shown[1]) == rate
    for number in ("34", "8,334", "12,500", "10,000", "50,000", "200,000"):
        assert number in table
