"""The preference losses against values worked out by hand from the papers' formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tunesmith.train.preferences import Answers, dpo, ipo, kto, orpo

NATS = torch.tensor([[8.0, 13.0], [12.0, 5.0]], dtype=torch.float64)


def answers(**changes: Any) -> Answers:
    """Log-ratios 2 and -1 of the first pair, -2 and 1 of the second."""
    values: dict[str, Any] = {
        "num_tokens": torch.tensor([[4.0, 2.0], [4.0, 2.0]], dtype=torch.float64),
        "reference": torch.tensor([[10.0, 12.0], [10.0, 6.0]], dtype=torch.float64),
        "desirable": torch.tensor([True, True]),
    }
    return Answers(**{**values, **changes})


def close(found: Tensor, *expected: float) -> None:
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_dpo() -> None:
    judged = dpo(NATS, answers(), beta=0.1)
    close(judged.losses, 0.554355, 0.854355)  # ln(1 + exp(-0.3)), ln(1 + exp(0.3))
    close(judged.figures["chosen_log_ratio"], 2.0, -2.0)
    close(judged.figures["rejected_log_ratio"], -1.0, 1.0)
    close(judged.figures["reward_accuracy"], 1.0, 0.0)
    close(judged.figures["preference_accuracy"], 1.0, 0.0)  # 2 against 6.5 nats per token; 3 against 2.5


def test_dpo_of_a_network_that_has_not_moved() -> None:
    judged = dpo(NATS, answers(reference=NATS), beta=0.1)
    close(judged.losses, math.log(2), math.log(2))
    close(judged.figures["reward_accuracy"], 0.0, 0.0)  # a tie is no preference


def test_ipo_averages_over_tokens() -> None:
    judged = ipo(NATS, answers(), beta=0.25)
    close(judged.losses, 1.0, 9.0)  # 0.5 + 0.5 and -0.5 - 0.5, against 1 / (2 · 0.25)
    close(judged.figures["chosen_log_ratio"], 0.5, -0.5)
    close(judged.figures["rejected_log_ratio"], -0.5, 0.5)


def test_kto() -> None:
    judged = kto(
        NATS[:, :1],
        answers(reference=torch.tensor([[10.0], [10.0]]).double(), desirable=torch.tensor([True, False]), divergence=0.5),
        beta=0.1,
        desirable_weight=1.0,
        undesirable_weight=2.0,
    )
    close(judged.losses, 0.462570, 2 * 0.437823)  # 1 - s(0.1 · (2 - 0.5)) and 2 · (1 - s(0.1 · (0.5 + 2)))
    close(judged.figures["reward_accuracy"], 1.0, 1.0)
    close(judged.figures["chosen_log_ratio"], 2.0)
    close(judged.figures["rejected_log_ratio"], -2.0)
    close(judged.figures["kl"], 0.5, 0.5)


def test_orpo() -> None:
    """Token probabilities 1/2 and 1/5: odds 1 and 1/4, so the log of the odds ratio is ln 4."""
    nats = torch.tensor([[4 * math.log(2), 2 * math.log(5)]], dtype=torch.float64)
    judged = orpo(nats, answers(num_tokens=torch.tensor([[4.0, 2.0]]).double()), orpo_lambda=0.1)
    close(judged.figures["log_odds_ratio"], 1.386294)
    close(judged.figures["sft_loss"], 0.693147)
    close(judged.losses, 0.693147 + 0.1 * 0.223144)  # ln(1 + 1/4)
    close(judged.figures["reward_accuracy"], 1.0)


@pytest.mark.parametrize("nats", [0.0, 1e-9, 1e-3, 0.7, 5.0, 300.0])
def test_orpo_has_a_finite_loss_and_gradient_at_any_probability(nats: float) -> None:
    both = torch.tensor([[nats, 2.0], [2.0, nats]], dtype=torch.float64, requires_grad=True)
    losses = orpo(both, answers(num_tokens=torch.ones(2, 2, dtype=torch.float64)), orpo_lambda=0.1).losses
    losses.sum().backward()
    assert both.grad is not None
    assert torch.isfinite(losses).all()
    assert torch.isfinite(both.grad).all()


def test_gradients_are_the_formulas_own() -> None:
    nats = NATS.clone().requires_grad_()
    one = NATS[:, :1].clone().requires_grad_()
    judged = answers(reference=torch.tensor([[10.0], [10.0]]).double(), desirable=torch.tensor([True, False]), divergence=0.5)
    assert torch.autograd.gradcheck(lambda x: dpo(x, answers(), beta=0.3).losses, nats)
    assert torch.autograd.gradcheck(lambda x: ipo(x, answers(), beta=0.3).losses, nats)
    assert torch.autograd.gradcheck(lambda x: orpo(x, answers(), orpo_lambda=0.3).losses, nats)
    assert torch.autograd.gradcheck(lambda x: kto(x, judged, beta=0.3, desirable_weight=1.0, undesirable_weight=2.0).losses, one)


def test_figures_carry_no_gradient() -> None:
    nats = NATS.clone().requires_grad_()
    for judged in (dpo(nats, answers(), beta=0.1), ipo(nats, answers(), beta=0.1), orpo(nats, answers(), orpo_lambda=0.1)):
        assert judged.losses.requires_grad
        assert not any(values.requires_grad for values in judged.figures.values())


def test_an_example_missing_its_reference_is_not_finite() -> None:
    unknown = torch.full((2, 2), torch.nan, dtype=torch.float64)
    assert dpo(NATS, answers(reference=unknown), beta=0.1).losses.isnan().all()
