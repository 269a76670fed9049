"""The preference losses, as their papers write them: pure functions of the answers' nats.

>>> dpo(nats, answers, beta=0.1).losses       # nats (E, 2): chosen and rejected answer of each pair
tensor([0.6931, …])

E = examples, W = answers an example has (2 for a pair: chosen first; else 1). Nats are sums of -log p(token) over an
answer's supervised tokens, float64. A log-ratio is log p(answer) under the network minus the same under the starting
network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

LOG_ONE = -1e-8
"""Mean log-probabilities are held below this: at probability one the odds are infinite."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What is known of the examples' answers besides their nats under the network."""

    num_tokens: Tensor
    """(E, W) float64, supervised tokens of each answer."""
    reference: Tensor
    """(E, W) float64, nats under the starting network; NaN where the objective needs none."""
    desirable: Tensor
    """(E,) bool; of pairs all True."""
    divergence: float = 0.0
    """KTO's z: by how many nats the network has left the starting one, on answers to other prompts of the step."""

    def take(self, rows: Tensor) -> Answers:
        """Some of the examples, in the order of `rows`."""
        return Answers(
            num_tokens=self.num_tokens[rows],
            reference=self.reference[rows],
            desirable=self.desirable[rows],
            divergence=self.divergence,
        )


class Judged(NamedTuple):
    """What a loss says of some examples."""

    losses: Tensor
    """(E,) float64, with the gradient; a step's loss is their mean over the step."""
    figures: Mapping[str, Tensor]
    """Detached values by name, one for each example that has one; shown as means over the step."""


def dpo(nats: Tensor, answers: Answers, *, beta: float) -> Judged:
    """Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290, eq. 7)."""
    log_ratios = answers.reference - nats
    margins = beta * (log_ratios[:, 0] - log_ratios[:, 1])
    return Judged(-logsigmoid(margins), _figures_of_pairs(log_ratios, nats, answers))


def ipo(nats: Tensor, answers: Answers, *, beta: float) -> Judged:
    """Identity preference optimisation (Azar et al. 2023, arXiv:2310.12036, eq. 17; `beta` is its tau).

    Log-ratios are means over an answer's tokens, as in TRL, whose authors have this from the paper's.
    """
    log_ratios = (answers.reference - nats) / answers.num_tokens
    losses = (log_ratios[:, 0] - log_ratios[:, 1] - 1 / (2 * beta)) ** 2
    return Judged(losses, _figures_of_pairs(log_ratios, nats, answers))


def kto(nats: Tensor, answers: Answers, *, beta: float, desirable_weight: float, undesirable_weight: float) -> Judged:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306, eq. 8): lambda_y - v(x, y)."""
    log_ratios = (answers.reference - nats)[:, 0]
    gain = torch.where(answers.desirable, log_ratios - answers.divergence, answers.divergence - log_ratios)
    weights = torch.where(answers.desirable, desirable_weight, undesirable_weight).to(nats.dtype)
    seen = log_ratios.detach()
    figures = {
        "reward_accuracy": (gain.detach() > 0).double(),
        "chosen_log_ratio": seen[answers.desirable],
        "rejected_log_ratio": seen[~answers.desirable],
        "kl": seen.new_full((len(seen),), answers.divergence),
    }
    return Judged(weights * torch.sigmoid(-beta * gain), figures)


def orpo(nats: Tensor, answers: Answers, *, orpo_lambda: float) -> Judged:
    """Odds-ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691, eq. 6 and 7).

    An answer's log-probability is the mean over its tokens (eq. 1), so the supervised part is the chosen answer's nats
    per token, its prompt left out.
    """
    mean_log = (-nats / answers.num_tokens).clamp(max=LOG_ONE)
    log_odds = mean_log - _log_one_minus_exp(mean_log)
    log_odds_ratio = log_odds[:, 0] - log_odds[:, 1]
    supervised = nats[:, 0] / answers.num_tokens[:, 0]
    seen = mean_log.detach()
    figures = {
        "reward_accuracy": (seen[:, 0] > seen[:, 1]).double(),
        "log_odds_ratio": log_odds_ratio.detach(),
        "sft_loss": supervised.detach(),
        "chosen_log_probability": seen[:, 0],
        "rejected_log_probability": seen[:, 1],
    }
    return Judged(supervised - orpo_lambda * logsigmoid(log_odds_ratio), figures)


def _figures_of_pairs(log_ratios: Tensor, nats: Tensor, answers: Answers) -> dict[str, Tensor]:
    seen = log_ratios.detach()
    return {
        "reward_accuracy": (seen[:, 0] > seen[:, 1]).double(),
        "preference_accuracy": prefers_chosen(nats.detach(), answers.num_tokens),
        "chosen_log_ratio": seen[:, 0],
        "rejected_log_ratio": seen[:, 1],
    }


def prefers_chosen(nats: Tensor, num_tokens: Tensor) -> Tensor:
    """(E,) 1.0 where the network itself gives the chosen answer more probability per token than the rejected one."""
    per_token = nats / num_tokens
    return (per_token[:, 0] < per_token[:, 1]).double()


def _log_one_minus_exp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, precise at both ends (Maechler 2012, "Accurately computing log(1 - exp(-|a|))", eq. 7)."""
    near_zero = x > -math.log(2)
    return torch.where(near_zero, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))
