"""Settings that are left open, filled in by method, objective and number of examples, each with its reason and source.

    >>> filled = fill_defaults(TrainConfig(model="m", data=Path("d")), objective="sft", num_examples=1000)
    >>> filled.config.epochs
    3.0
    >>> filled.chosen["epochs"].source
    'OpenAI Cookbook, "Data preparation and analysis for chat model fine-tuning"'

Pure functions: the same settings and number of examples always give the same values. What was chosen is kept in `run.json`
under `defaults`; what the user set is never touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tunesmith.config import ADAPTER_METHODS, DEFAULT_LEARNING_RATES, LEARNING_RATE_FACTORS, TrainConfig

SCHULMAN = 'Schulman et al. 2025, "LoRA Without Regret", thinkingmachines.ai/blog/lora'
COOKBOOK = 'OpenAI Cookbook, "Data preparation and analysis for chat model fine-tuning"'
CAPACITY = "Allen-Zhu and Li 2024, arXiv:2404.05405 (2 bits a weight); " + SCHULMAN
PREFERENCES = "Rafailov et al. 2023, arXiv:2305.18290; Ethayarajh et al. 2024, arXiv:2402.01306; Hong et al. 2024, arXiv:2403.07691"
RSLORA = "Kalajdzievski 2023, arXiv:2312.03732"
SMALL_BATCHES = "Masters and Luschi 2018, arXiv:1804.07612: 2 to 32 examples generalise best"
OWN = "our own choice, between LoRA and full training; not measured"

USUAL_EPOCHS = 3
FEWEST_PASSES, MOST_PASSES = 100, 25_000
"""Examples times epochs: small sets are seen more often until the first, large ones less often down to the second."""
MOST_EPOCHS = 25
RANKS = ((50_000, 16), (200_000, 64))
"""Up to this many examples, this rank."""
HIGHEST_RANK = 128
ALPHA = 32.0
RSLORA_SCALE = ALPHA / RANKS[0][1]
"""Where rsLoRA starts from: the scale of plain LoRA at the usual rank."""
EXAMPLES_PER_STEP = 8
LARGE_SET = 10_000
"""Examples from which on a step of more examples still leaves a thousand updates."""
EXAMPLES_PER_STEP_LARGE: Mapping[str, int] = {"lora": 16, "qlora": 16, "freeze": 32, "full": 32}


@dataclass(frozen=True, kw_only=True, slots=True)
class Default:
    """A value chosen for a setting that was left open."""

    value: float
    reason: str
    source: str

    def record(self) -> dict[str, Any]:
        return {"value": self.value, "reason": self.reason, "source": self.source}


class Filled(NamedTuple):
    """Settings without gaps, and how they were closed."""

    config: TrainConfig
    chosen: dict[str, Default]
    """By field, `lora.rank` for a nested one."""

    def record(self) -> dict[str, Any]:
        """For `run.json`."""
        return {field: default.record() for field, default in self.chosen.items()}


def fill_defaults(config: TrainConfig, *, objective: str, num_examples: int) -> Filled:
    """Choose what `config` leaves open.

    Args:
        config: settings as the user gave them.
        objective: `sft`, `dpo`, `kto` or `orpo`.
        num_examples: in the training split; of long texts the windows they are cut into.
    """
    chosen: dict[str, Default] = {}
    own: dict[str, Any] = {}
    for field, default in {
        "epochs": epochs(num_examples),
        "examples_per_step": examples_per_step(config.method, num_examples),
        "learning_rate": learning_rate(config.method, objective),
    }.items():
        if getattr(config, field) is None:
            own[field], chosen[field] = default.value, default
    lora: dict[str, Any] = {}
    if config.method in ADAPTER_METHODS:
        rank = lora_rank(num_examples)
        alpha = rslora_alpha(config.lora.rank or int(rank.value)) if config.lora.rslora else lora_alpha()
        for field, default in {"rank": rank, "alpha": alpha}.items():
            if getattr(config.lora, field) is None:
                lora[field], chosen[f"lora.{field}"] = default.value, default
    return Filled(config.model_copy(update={**own, "lora": config.lora.model_copy(update=lora)}), chosen)


def epochs(num_examples: int) -> Default:
    """Three passes; more over few examples, fewer over many."""
    if num_examples * USUAL_EPOCHS < FEWEST_PASSES:
        value = min(MOST_EPOCHS, FEWEST_PASSES // num_examples)
        return Default(value=float(value), reason=f"few examples: about {FEWEST_PASSES} passes over one in all", source=COOKBOOK)
    if num_examples * USUAL_EPOCHS > MOST_PASSES:
        value = max(1, MOST_PASSES // num_examples)
        return Default(value=float(value), reason="many examples: what they have in common is learnt in fewer passes", source=COOKBOOK)
    reason = "three passes; validation keeps the best weights should the last ones be worse"
    return Default(value=float(USUAL_EPOCHS), reason=reason, source=COOKBOOK)


def examples_per_step(method: str, num_examples: int) -> Default:
    """Small steps: with little data the number of updates counts, and adapters take large batches badly."""
    if num_examples < LARGE_SET:
        reason = "with little data many small updates learn more than a few large ones"
        return Default(value=EXAMPLES_PER_STEP, reason=reason, source=SMALL_BATCHES)
    value = EXAMPLES_PER_STEP_LARGE[method]
    if method in ADAPTER_METHODS:
        return Default(value=value, reason="enough updates; LoRA loses more than full training when batches grow", source=SCHULMAN)
    return Default(value=value, reason="enough updates; larger batches keep a processor busier", source=SMALL_BATCHES)


def learning_rate(method: str, objective: str) -> Default:
    """The method's rate, times the objective's factor."""
    value = DEFAULT_LEARNING_RATES[method] * LEARNING_RATE_FACTORS[objective]
    value = float(f"{value:.3g}")  # 5e-4 x 0.1 is 5e-5 and not 5.0000000000000002e-05
    if objective != "sft":
        reason = f"{LEARNING_RATE_FACTORS[objective]:g} of the {method} rate of supervised training: preferences want smaller steps"
        return Default(value=value, reason=reason, source=PREFERENCES)
    if method in ADAPTER_METHODS:
        return Default(value=value, reason="ten times the rate of full training", source=SCHULMAN)
    if method == "freeze":
        return Default(value=value, reason="twice the rate of full training: the last layers alone have to move further", source=OWN)
    return Default(value=value, reason="a tenth of LoRA's rate", source=SCHULMAN)


def lora_rank(num_examples: int) -> Default:
    """Room for what the examples hold: at 16, SmolLM2-135M's adapters store about ten million bits, an answer about a hundred."""
    for most, rank in RANKS:
        if num_examples <= most:
            return Default(value=rank, reason=f"room for what up to {most:,} answers hold", source=CAPACITY)
    return Default(value=HIGHEST_RANK, reason=f"room for what more than {RANKS[-1][0]:,} answers hold", source=CAPACITY)


def lora_alpha() -> Default:
    """One for all ranks."""
    return Default(
        value=ALPHA, reason="with the update scaled by alpha / rank, the best learning rate hardly depends on the rank", source=SCHULMAN
    )


def rslora_alpha(rank: int) -> Default:
    """Divided by sqrt(rank) it is the same scale for every rank."""
    reason = f"divided by sqrt(rank) this is {RSLORA_SCALE:g} for every rank, as strong as plain LoRA's at rank {RANKS[0][1]}"
    return Default(value=RSLORA_SCALE * math.sqrt(rank), reason=reason, source=RSLORA)
