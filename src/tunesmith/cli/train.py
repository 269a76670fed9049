"""`tunesmith train`: a prepared data set and a model -> runs/NAME with a tuned model in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.group import Processes, start_group
from tunesmith.cli.options import RUNS_DIR, Json
from tunesmith.cli.progress import Watch, waiting
from tunesmith.cli.terminal import print_json, suggest
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.runs import RunDirectory

WHAT, OBJECTIVE, LENGTH, STEPS, UPDATES, RUN = "What trains", "What is learnt", "Prompts and lengths", "Steps", "Updates", "Run"
NOT_SETTINGS = frozenset({"resume", "name", "runs_dir", "as_json", "processes"})
"""Parameters of the verb that are not fields of `TrainConfig`."""


def train(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A directory written by `tunesmith prepare`.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A named model, a hub id, a folder, a .gguf file, or an earlier run to go on from.",
            show_default=False,
            rich_help_panel=NEEDED,
        ),
    ] = None,
    method: Annotated[
        Literal["lora", "qlora", "full", "freeze"] | None,
        typer.Option(
            help="Low-rank adapters, adapters on a base in four bits, all weights, or the last layers only. [default: lora]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    lora_rank: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Inner dimension of the adapters. [default: 16, more from 50,000 examples on]", rich_help_panel=WHAT
        ),
    ] = None,
    lora_alpha: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Adapters are scaled by alpha / rank. [default: 32, with --rslora 2 x sqrt(rank)]", rich_help_panel=WHAT
        ),
    ] = None,
    lora_dropout: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share of the adapters' inputs zeroed in training. [default: 0]", rich_help_panel=WHAT),
    ] = None,
    lora_targets: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Layers with adapters: all-linear, or names such as q_proj,v_proj. [default: all-linear]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    lora_rslora: Annotated[
        bool | None,
        typer.Option("--rslora", help="Scale adapters by alpha / sqrt(rank), for large ranks. [default: off]", rich_help_panel=WHAT),
    ] = None,
    lora_dora: Annotated[
        bool | None, typer.Option("--dora", help="Train a magnitude beside each adapter (DoRA). [default: off]", rich_help_panel=WHAT)
    ] = None,
    new_tokens: Annotated[
        str | None,
        typer.Option(
            metavar="TOKENS",
            help="Add these to the vocabulary, with commas between them, and train their embeddings. [default: none]",
            rich_help_panel=WHAT,
        ),
    ] = None,
    trainable_layers: Annotated[
        int | None, typer.Option(metavar="N", help="For freeze: how many of the last layers train. [default: 4]", rich_help_panel=WHAT)
    ] = None,
    objective: Annotated[
        Literal["auto", "sft", "dpo", "kto", "orpo"] | None,
        typer.Option(
            help="Right answers (sft), the better answers of pairs (dpo, orpo), or desirable answers (kto); auto is by the data: "
            "pairs dpo, answers with a label kto, everything else sft. [default: auto]",
            rich_help_panel=OBJECTIVE,
        ),
    ] = None,
    dpo_loss: Annotated[
        Literal["sigmoid", "ipo"] | None,
        typer.Option(help="For dpo: the logistic loss, or the squared one of IPO. [default: sigmoid]", rich_help_panel=OBJECTIVE),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="For dpo and kto: larger stays closer to the starting model. [default: 0.1]", rich_help_panel=OBJECTIVE
        ),
    ] = None,
    desirable_weight: Annotated[
        float | None, typer.Option(metavar="X", help="For kto: weight of desirable answers. [default: 1]", rich_help_panel=OBJECTIVE)
    ] = None,
    undesirable_weight: Annotated[
        float | None, typer.Option(metavar="X", help="For kto: weight of undesirable answers. [default: 1]", rich_help_panel=OBJECTIVE)
    ] = None,
    orpo_lambda: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="For orpo: weight of the odds ratio beside the supervised loss. [default: 0.1]", rich_help_panel=OBJECTIVE
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Prompt template: auto (the data set's, else the model's own, else qa), chat, qa, alpaca, or a file. [default: auto]",
            rich_help_panel=LENGTH,
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens per example. [default: the model's context, at most 2,048]", rich_help_panel=LENGTH),
    ] = None,
    over_length: Annotated[
        Literal["refuse", "drop", "cut"] | None,
        typer.Option(
            help="Longer examples: refuse to train, leave them out, or cut the prompt's end (never the answer). [default: refuse]",
            rich_help_panel=LENGTH,
        ),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Passes over the training split. [default: 3, more over under 34 examples, fewer over more than 8,333]",
            rich_help_panel=STEPS,
        ),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(metavar="N", help="Stop after this many updates. [default: the epochs decide]", rich_help_panel=STEPS)
    ] = None,
    examples_per_step: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Examples in one update. [default: 8, from 10,000 examples on 16 for lora and qlora, else 32]",
            rich_help_panel=STEPS,
        ),
    ] = None,
    tokens_per_step: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Fill an update up to this many tokens instead. [default: examples are counted]", rich_help_panel=STEPS
        ),
    ] = None,
    tokens_per_micro_batch: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Most tokens at a time; fewer need less memory. [default: 1,024 on a CPU, 16,384 on a GPU]",
            rich_help_panel=STEPS,
        ),
    ] = None,
    share_prefixes: Annotated[
        bool | None,
        typer.Option(
            " /--no-share-prefixes",
            help="Compute what examples begin with in common anew for each. [default: once for all]",
            rich_help_panel=STEPS,
        ),
    ] = None,
    activation_checkpointing: Annotated[
        bool | None,
        typer.Option("--activation-checkpointing", help="Less memory for about a third more time. [default: off]", rich_help_panel=STEPS),
    ] = None,
    strategy: Annotated[
        Literal["auto", "ddp", "fsdp"] | None,
        typer.Option(
            help="Of several processes each holds the whole model (ddp) or a part of every weight (fsdp). [default: auto]",
            rich_help_panel=STEPS,
        ),
    ] = None,
    cpu_offload: Annotated[
        bool | None,
        typer.Option(
            "--cpu-offload",
            help="With fsdp on GPUs: what is not at work lies in the CPU's memory. [default: off]",
            rich_help_panel=STEPS,
        ),
    ] = None,
    cache_activations: Annotated[
        bool | None,
        typer.Option(
            " /--no-cache-activations",
            help="For freeze: compute the frozen layers anew in every step. [default: once]",
            rich_help_panel=STEPS,
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(metavar="N", help="Steps between validations and checkpoints. [default: twice an epoch]", rich_help_panel=STEPS),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Stop early after this many validations without a new best; 0: never. [default: 4]", rich_help_panel=STEPS
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Peak. [default: 5e-4 for lora, 5e-4 for qlora, 1e-4 for freeze, 5e-5 for full]",
            rich_help_panel=UPDATES,
        ),
    ] = None,
    schedule: Annotated[
        Literal["cosine", "linear", "constant"] | None,
        typer.Option(help="How the learning rate falls after the warm-up. [default: cosine]", rich_help_panel=UPDATES),
    ] = None,
    warmup_fraction: Annotated[
        float | None, typer.Option(metavar="X", help="Share of the steps in which it rises. [default: 0.05]", rich_help_panel=UPDATES)
    ] = None,
    optimizer: Annotated[
        Literal["adamw", "adafactor"] | None, typer.Option(help="Adafactor needs less memory. [default: adamw]", rich_help_panel=UPDATES)
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(metavar="X", help="Decoupled weight decay. [default: 0]", rich_help_panel=UPDATES)
    ] = None,
    max_grad_norm: Annotated[
        float | None,
        typer.Option(metavar="X", help="Gradients are scaled down to this norm; 0: never. [default: 1]", rich_help_panel=UPDATES),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of data order, first adapter weights and dropout. [default: 0]", rich_help_panel=UPDATES),
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"] | None,
        typer.Option(help="Compute type; auto is bfloat16 where the device has it. [default: auto]", rich_help_panel=UPDATES),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        typer.Option(help="Where to compute; auto is the GPU if there is one. [default: auto]", rich_help_panel=UPDATES),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the run. [default: date, data and model]", rich_help_panel=RUN)
    ] = None,
    runs_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Where runs are kept. [default: runs]", rich_help_panel=RUN)] = None,
    keep_checkpoints: Annotated[
        int | None, typer.Option(metavar="N", help="How many of the latest checkpoints stay. [default: 2]", rich_help_panel=RUN)
    ] = None,
    estimate: Annotated[
        bool | None,
        typer.Option(
            " /--no-estimate", help="Do not measure time and memory before the first step. [default: measure]", rich_help_panel=RUN
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with an interrupted run, with its own settings; only --processes may be given beside it.",
            rich_help_panel=RUN,
        ),
    ] = None,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Tune a model on a prepared data set and keep the weights of the best validation.

    Before the first step every example's tokens are checked; Ctrl-C finishes the step, saves, and says how to go on.
    """
    start_group(context, processes)
    given = {key: value for key, value in context.params.items() if value is not None and (value or key != "as_json")}
    run = _resume(resume, given) if resume else _train(given, name=name, runs_dir=runs_dir or RUNS_DIR)
    if as_json:
        print_json({"path": str(run.path), "model": str(run.model_dir), **run.manifest()})
        return
    print(f"the tuned model is in {run.model_dir}")
    suggest(["evaluate", run.path], ["generate", run.path])


def _train(given: Mapping[str, Any], *, name: str | None, runs_dir: Path) -> RunDirectory:
    for key, what in (("data", "DIR"), ("model", "--model")):
        if key not in given:
            remedy = "see `tunesmith train --help`"
            raise ConfigError("tunesmith train", f"{what} is missing", expected="DIR and --model MODEL, or --resume RUN", remedy=remedy)
    from tunesmith.config import TrainConfig, build

    config = build(TrainConfig, settings(given), place="train")
    with waiting("loading torch and transformers"):
        from tunesmith.train.train import train as train_model
    return train_model(config, runs_dir=runs_dir, name=name, observer=Watch())


def _resume(path: Path, given: Mapping[str, Any]) -> RunDirectory:
    others = [key for key in given if key not in ("resume", "processes", "as_json")]
    if others:
        raise ConfigError(
            "train --resume",
            f"{', '.join(_as_typed(key) for key in others)} beside it",
            expected="--resume alone: a run goes on with the settings it was started with",
            remedy=f"leave them out, or start a new run from this one with --model {path}",
        )
    with waiting("loading torch and transformers"):
        from tunesmith.train.train import resume
    return resume(path, observer=Watch())


def _as_typed(key: str) -> str:
    plain = key.removeprefix("lora_") if key in ("lora_rslora", "lora_dora") else key
    return "DIR" if key == "data" else f"--{plain.replace('_', '-')}"


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as `TrainConfig` nests them."""
    plain = {key: value for key, value in given.items() if key not in NOT_SETTINGS and not key.startswith("lora_")}
    lora = {key.removeprefix("lora_"): value for key, value in given.items() if key.startswith("lora_")}
    if "new_tokens" in plain:
        plain["new_tokens"] = tuple(plain["new_tokens"].split(","))
    return {**plain, "lora": lora} if lora else plain


command = verb(
    train,
    "DIR --model MODEL",
    "tunesmith train prepared/faq --model smollm2-135m-instruct",
    "tunesmith train prepared/faq --model smollm2-135m-instruct --method full --epochs 2 --name faq-full",
    "tunesmith train prepared/more-faq --model runs/faq        # go on from an earlier run with more data",
    "tunesmith train prepared/pairs --model runs/faq --objective dpo --beta 0.1",
    "tunesmith train --resume runs/faq                         # after Ctrl-C or a crash",
    "tunesmith train prepared/faq --model smollm2-135m-instruct --processes 2",
)
