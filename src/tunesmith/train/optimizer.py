"""The optimiser of a run, and what it and the masters it works on take.

Adapters, float32 and Adafactor: torch's optimisers over float32 masters. AdamW on whole layers in bfloat16 on a CPU:
`SplitAdamW`, whose masters are the network's weights and 16 more bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tunesmith.config import ADAPTER_METHODS, TrainConfig
from tunesmith.engine.kernels.adamw import AdamW, Moments, adamw_, narrowed, new_moments
from tunesmith.engine.masters import TrainedWeights


def keeps_halves(config: TrainConfig, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether the masters are the network's weights and 16 more bits. Adapters are few, and torch's fused update suits them."""
    is_whole = config.method not in ADAPTER_METHODS and config.optimizer == "adamw"
    return is_whole and dtype == torch.bfloat16 and device.type == "cpu"


def make_optimizer(weights: TrainedWeights, config: TrainConfig) -> torch.optim.Optimizer:
    """As the settings name it, over the masters; the learning rate is set before every step."""
    if weights.in_halves:
        return SplitAdamW(weights, weight_decay=config.weight_decay)
    masters = list(weights.masters.values())
    if config.optimizer == "adafactor":
        return torch.optim.Adafactor(masters, lr=1.0, weight_decay=config.weight_decay)
    return torch.optim.AdamW(masters, lr=1.0, weight_decay=config.weight_decay, fused=True)


class SplitAdamW(torch.optim.Optimizer):
    """AdamW on masters in halves: one pass reads and writes weights, moments and gradients, and frees the latter as it goes."""

    def __init__(self, weights: TrainedWeights, *, weight_decay: float) -> None:
        super().__init__(weights.parameters.values(), {"lr": 1.0, "weight_decay": weight_decay})
        self.weights = weights
        for parameter in weights.parameters.values():
            # Side by side, or else they would lie between the activations of the first step.
            self.state[parameter] = {"step": torch.zeros(()), **_named(new_moments(parameter))}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient, and take the gradients away."""
        del closure
        (group,) = self.param_groups
        settings = AdamW(rate=group["lr"], weight_decay=group["weight_decay"], scale=self.weights.gradient_scale)
        for name, gradient in self.weights.take_gradients():
            state = self.state[self.weights.parameters[name]]
            state["step"] += 1
            moments = Moments(*(state[key] for key in KEYS))
            adamw_(self.weights.halves(name), moments, gradient.contiguous(), int(state["step"]), settings)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take moments as they are; those that an earlier version kept in float32 are rounded."""
        names = list(self.weights.parameters)
        for index, saved in state_dict["state"].items():
            moments = Moments(*(saved[key] for key in KEYS)) if KEYS[-1] in saved else narrowed(saved[KEYS[0]], saved[KEYS[1]])
            state = self.state[self.weights.parameters[names[index]]]
            for key, value in {"step": saved["step"], **_named(moments)}.items():
                state[key].copy_(value)


KEYS = ("exp_avg", "exp_avg_sq", "exp_avg_sq_low")
"""Of `Moments`, as they are saved: torch's names."""


def _named(moments: Moments) -> dict[str, Tensor]:
    return dict(zip(KEYS, moments, strict=True))


def optimizer_state(optimizer: torch.optim.Optimizer, weights: TrainedWeights) -> dict[str, Tensor]:
    """`NAME|exp_avg` and so on of every weight that has been updated, for saving."""
    names = list(weights.parameters)
    return {
        f"{names[index]}|{key}": value.contiguous()
        for index, moments in optimizer.state_dict()["state"].items()
        for key, value in moments.items()
        if isinstance(value, Tensor) and moments["step"] > 0
    }


def load_optimizer_state(optimizer: torch.optim.Optimizer, weights: TrainedWeights, tensors: Mapping[str, Tensor]) -> None:
    """Take back what `optimizer_state` gave."""
    index_of = {name: index for index, name in enumerate(weights.parameters)}
    state: dict[int, dict[str, Any]] = {}
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition("|")
        state.setdefault(index_of[name], {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def moments_bytes(weights: TrainedWeights, optimizer: str) -> int:
    """AdamW keeps two float32 numbers for each weight, on halves in five bytes; Adafactor one for each row and column."""
    sizes = [_factored(p) if optimizer == "adafactor" else (5 if weights.in_halves else 8) * p.numel() for p in weights.parameters.values()]
    return sum(sizes)


def _factored(weight: Tensor) -> int:
    """Of anything but a matrix Adafactor keeps one number for each weight."""
    return 4 * (weight.numel() if weight.dim() < 2 else weight.numel() // weight.shape[-1] + weight.numel() // weight.shape[-2])


def gradient_bytes(weights: TrainedWeights, *, several: bool) -> int:
    """Added up in float32; on halves those of a single micro-batch stay as they came.

    Args:
        several: whether a step has more than one micro-batch.
    """
    return (2 if weights.in_halves and not several else 4) * weights.num_parameters
