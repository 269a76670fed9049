"""Every setting, typed, documented in place, with its one default.

    >>> TrainConfig(model="smollm2-135m-instruct", data="prepared/faq", epochs=2).learning_rate
    >>> # None: resolved by method when the run starts, and the resolved value is what the run directory keeps

Settings are frozen; unknown keys are refused. The command line and the Python API both build these and pass them whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tunesmith.errors import ConfigError

Method = Literal["lora", "full", "freeze"]

DEFAULT_LEARNING_RATES: Mapping[str, float] = {"lora": 5e-4, "freeze": 1e-4, "full": 5e-5}
"""By method, for models under a billion parameters. LoRA wants about ten times the rate of full fine-tuning
(Schulman et al., "LoRA Without Regret", 2025, section on learning rate)."""


class Settings(BaseModel):
    """Base: frozen, unknown keys refused, the string under a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())


class PrepareConfig(Settings):
    """From files to a checked, split data set."""

    prompt_key: str | None = None
    """Column holding the prompt; None recognises it."""
    completion_key: str | None = None
    """Column holding the right answer; None recognises it."""
    input_key: str | None = None
    """Column holding extra input that follows the prompt (Alpaca's `input`); None recognises it."""
    template: str = "auto"
    """Prompt template: a name, a file, or `auto` (the model's own chat template, else `qa`)."""
    test_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Share of the examples held out for evaluation, never trained on."""
    validation_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share used during training to choose the best step."""
    seed: int = 0
    """Decides which examples are held out; the same seed and data give the same split."""
    on_invalid: Literal["stop", "drop"] = "stop"
    """What to do about a row that cannot be used: stop with its place, or drop it and count it in the report."""
    encoding: str = "utf-8"
    """Of text files; a byte-order mark is tolerated."""
    limit: int | None = Field(default=None, ge=1)
    """Use a seeded sample of this many rows; None uses all."""

    @model_validator(mode="after")
    def _leaves_something_to_train(self) -> PrepareConfig:
        if self.test_fraction + self.validation_fraction >= 1:
            raise ValueError("test_fraction and validation_fraction must leave examples to train on (sum below 1)")
        return self


class LoraConfig(Settings):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(default=16, ge=1)
    """Inner dimension of the update B·A."""
    alpha: float = Field(default=32.0, gt=0)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs zeroed in training."""
    targets: str = "all-linear"
    """`all-linear`, or comma-separated module names such as `q_proj,v_proj`."""


class TrainConfig(Settings):
    """One training run."""

    model: str
    """A named model, a hub id, a folder, a `.gguf` file, or an earlier run to continue from."""
    data: Path
    """A directory written by `tunesmith prepare`."""
    method: Method = "lora"
    """What trains: low-rank adapters, everything, or the last layers only."""
    template: str = "auto"
    """Prompt template; `auto` takes the data set's, and if that is `auto` too the model's chat template, else `qa`."""
    max_length: int | None = Field(default=None, ge=8)
    """Tokens per example; None means the model's context, at most 2,048."""
    over_length: Literal["refuse", "drop", "cut"] = "refuse"
    """Examples over `max_length`: refuse to train, leave them out, or cut the end of the prompt's text (never the answer)."""
    lora: LoraConfig = LoraConfig()
    trainable_layers: int = Field(default=4, ge=1)
    """For `freeze`: how many of the last layers train."""
    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training split."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimiser updates; None lets `epochs` decide."""
    examples_per_step: int = Field(default=8, ge=1)
    """Examples in one optimiser update."""
    tokens_per_step: int | None = Field(default=None, ge=1)
    """Fill a step up to this many tokens instead of counting examples; None counts examples."""
    tokens_per_micro_batch: int | None = Field(default=None, ge=1)
    """Most tokens in one forward and backward; a step with more accumulates gradients over several. None means 1,024
    on a CPU and 16,384 on a GPU."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak; None chooses by method (see DEFAULT_LEARNING_RATES)."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls from its peak to zero after the warm-up."""
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises linearly to its peak."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled (AdamW, Loshchilov and Hutter 2019)."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this global L2 norm; 0 leaves them."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between losses on the validation split (and checkpoints); None means twice an epoch."""
    patience: int = Field(default=4, ge=0)
    """Stop early after this many validations without a new best; 0 never stops early."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """How many of the latest checkpoints stay on disk."""
    seed: int = 0
    """Of the data order, the adapter's initial weights and dropout."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type; `auto` is bfloat16 where the device has it natively. Trained weights are always kept in float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class GenerateConfig(Settings):
    """How completions are produced."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Most tokens in a completion."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Most tokens in a prompt; None allows what the context leaves beside `max_new_tokens`."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy; above, tokens are sampled from the softened distribution."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the smallest set of tokens with this much probability (nucleus sampling, Holtzman et al. 2020)."""
    top_k: int | None = Field(default=None, ge=1)
    """Sample from this many most likely tokens; None allows all."""
    seed: int = 0
    """Of the sampling."""
    batch_size: int = Field(default=32, ge=1)
    """Prompts decoded together. Never changes the greedy text in float32."""


class EvaluateConfig(Settings):
    """Base against tuned on held-out examples."""

    split: Literal["test", "validation", "train"] = "test"
    limit: int | None = Field(default=None, ge=1)
    """Evaluate a seeded sample of this many examples; None evaluates all."""
    generation: GenerateConfig = GenerateConfig()
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    num_resamples: int = Field(default=5000, ge=100)
    """Bootstrap resamples."""
    right_threshold: float = Field(default=0.5, ge=0, le=1)
    """A completion counts as right, for the table of flips, when its token F1 against the reference reaches this."""
    seed: int = 0


class AnalyzeConfig(Settings):
    """Error groups and their thresholds."""

    length_ratio: float = Field(default=2.0, gt=1)
    """Too long: more words than this times the reference's; too short: fewer than its inverse."""
    repeated_share: float = Field(default=0.3, gt=0, lt=1)
    """Repetitive: more than this share of the 4-grams are repeats of earlier ones."""
    copied_share: float = Field(default=0.8, gt=0, le=1)
    """Copies the prompt: this share of the completion's 4-grams stand in the prompt."""
    shown: int = Field(default=3, ge=1)
    """Failures shown in full for each group."""


SettingsType = TypeVar("SettingsType", bound=Settings)


def build(kind: type[SettingsType], values: Mapping[str, Any], *, place: str = "settings") -> SettingsType:
    """Validate `values` into `kind`; options that are None keep the default.

    Raises:
        ConfigError: naming the key, what was given and what is allowed.
    """
    try:
        return kind(**{key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or kind.__name__
        if first["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            raise ConfigError(place, f"there is no setting {key!r}", expected=f"one of {known}", remedy="correct the name") from None
        what = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        found = f"{key} is {first['input']!r}" if first["loc"] else "the settings contradict each other"
        raise ConfigError(place, found, expected=what, remedy=f"change {key}") from None
