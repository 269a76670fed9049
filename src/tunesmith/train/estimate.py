"""What a run will cost, in words and numbers, before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from tunesmith.config import TrainConfig
from tunesmith.distributed.group import current_group
from tunesmith.engine.quantize import count_weights
from tunesmith.render.preflight import Preflight
from tunesmith.train.objectives import Split
from tunesmith.train.optimizer import gradient_bytes, moments_bytes
from tunesmith.train.plan import tokens_per_micro_batch
from tunesmith.train.start import Trainee


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Sizes known before the first step; activations come on top and are measured while training."""

    num_parameters: int
    num_trainable: int
    state_bytes: int
    """Weights, float32 masters, gradients and optimiser moments: of each process."""
    flops_per_step: float
    """Floating-point operations of matrix products in a mean step, forward and backward."""
    num_steps: int
    tokens_per_step: float
    supervised_per_step: float

    def record(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def sentences(self, config: TrainConfig, count: int, noun: str = "examples") -> list[str]:
        """For the screen, before step 1.

        Args:
            count: what an epoch goes through.
            noun: what these are: examples, or windows of texts.
        """
        share = 100 * self.num_trainable / self.num_parameters
        unit = f"{config.examples_per_step} {noun}" if config.tokens_per_step is None else f"up to {config.tokens_per_step:,} tokens"
        return [
            f"{config.method}: {self.num_trainable:,} of {self.num_parameters:,} parameters train ({share:.2f} %)",
            f"memory: {self.state_bytes / 1e9:.2f} GB for weights, gradients and optimiser, plus activations",
            f"a step: {unit}, on average {self.tokens_per_step:,.0f} tokens of which {self.supervised_per_step:,.0f} supervised, "
            f"{self.flops_per_step / 1e12:.2f} TFLOP",
            f"{count:,} {noun} x {config.epochs:g} epochs = {self.num_steps:,} steps"
            if self.num_steps != config.max_steps
            else f"{self.num_steps:,} steps, as set, over {count:,} {noun}",
        ]


def estimate_cost(trainee: Trainee, preflight: Preflight, steps: list[list[int]], config: TrainConfig) -> Cost:
    """Count parameters, bytes and operations (Kaplan et al. 2020, arXiv:2001.08361, section 2.1: 2 per weight and token forward)."""
    sides = [preflight.rendered, *([preflight.rejected] if preflight.rejected else [])]
    lengths = Split(rendered=preflight.rendered, rejected=preflight.rejected).lengths
    used = [index for step in steps for index in step]
    tokens = sum(lengths[i] for i in used) / len(steps)
    supervised = sum(int(side.num_supervised[used].sum()) for side in sides) / len(steps)
    body, head = _matrix_weights(trainee)
    compute_bytes = sum(p.numel() * p.element_size() for p in trainee.network.parameters())
    weights = trainee.weights
    trainable = weights.num_parameters
    largest = max(sum(lengths[i] for i in step) for step in steps)
    several = largest > tokens_per_micro_batch(config, trainee.network.device.type) or not current_group().is_alone
    updating = weights.masters_bytes + moments_bytes(weights, config.optimizer) + gradient_bytes(weights, several=several)
    return Cost(
        num_parameters=trainee.num_parameters,
        num_trainable=trainable,
        state_bytes=round(weights.share * (compute_bytes + updating)),
        flops_per_step=4 * (tokens * body + supervised * head) + 2 * tokens * min(trainable, body),
        num_steps=len(steps),
        tokens_per_step=tokens,
        supervised_per_step=supervised,
    )


def forward_share(trainee: Trainee, cost: Cost) -> float:
    """Of a step's operations, those of the forward pass: what a validation costs for each token."""
    body, _ = _matrix_weights(trainee)
    of_weights = 2 * cost.tokens_per_step * min(cost.num_trainable, body)  # their gradients
    return (cost.flops_per_step - of_weights) / 2 / cost.flops_per_step


def _matrix_weights(trainee: Trainee) -> tuple[int, int]:
    """Weights in matrix products: of the body, and of the output head."""
    head: Any = trainee.network.get_output_embeddings()
    head = next((m for m in head.modules() if isinstance(m, nn.Linear)), head)  # rows of new tokens may be around it
    body = sum(count_weights(m.weight) for m in trainee.network.modules() if isinstance(m, nn.Linear | Conv1D) and m is not head)
    return body, head.weight.numel()
