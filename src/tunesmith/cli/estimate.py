"""`tunesmith estimate`: what `tunesmith train` with the same options would take: measured, or from a configuration alone."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from tunesmith.cli import train as train_verb
from tunesmith.cli.capacity import OWN, Bandwidth, FlopsPerSecond, MemoryPerProcess, estimate_from_config
from tunesmith.cli.command import verb
from tunesmith.cli.progress import Watch, duration, waiting
from tunesmith.cli.terminal import print_json, suggest, table
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.train.forecast import Forecast, Range
    from tunesmith.train.train import Ready

LEFT_OUT = frozenset({"name", "runs_dir", "resume", "estimate"})
"""Options of `train` that have no bearing on what it takes."""


def estimate(context: typer.Context, **options: Any) -> None:
    """Say how long a training run would take and how much memory it would need.

    With DIR from a few measured micro-batches; a run that cannot fit into memory is refused, with the settings that would make
    it fit. Without DIR from the model's config.json alone, for any number of processes: what fits where, and how fast it could be.
    Takes the options of `tunesmith train`. Nothing is trained and no run is made.
    """
    del options
    given = {key: value for key, value in context.params.items() if value is not None and (value or key != "as_json")}
    if "model" not in given:
        expected = "--model MODEL, and DIR to measure on it"
        raise ConfigError("tunesmith estimate", "--model is missing", expected=expected, remedy="see `tunesmith estimate --help`")
    if "data" not in given:
        estimate_from_config(given)
        return
    _require_one_process(given)
    from tunesmith.config import TrainConfig, build

    config = build(TrainConfig, train_verb.settings(given), place="estimate")
    with waiting("loading torch and transformers"):
        from tunesmith.train.train import estimate as estimate_run
    with waiting("measuring a few micro-batches"):
        ready, forecast = estimate_run(config, observer=Watch())
    if given.get("as_json"):
        print_json(document(ready, forecast))
        return
    for line in lines(ready, forecast):
        print(line)
    suggest(["train", given["data"], "--model", given["model"]])


def _require_one_process(given: Mapping[str, Any]) -> None:
    """What is measured is measured in this process."""
    others = [key for key in given if key in OWN or (key == "processes" and given[key] > 1)]
    if others:
        words = ", ".join(f"--{key.replace('_', '-')}" for key in others)
        remedy = f"leave out {words} to measure, or DIR to reckon from the model's configuration"
        raise ConfigError("tunesmith estimate", f"{words} beside DIR", expected="DIR alone: it is measured in one process", remedy=remedy)


def document(ready: Ready, forecast: Forecast) -> Mapping[str, Any]:
    """The JSON document."""
    config = ready.task.config.model_dump(mode="json")
    return {"config": config, "defaults": ready.filled.record(), "cost": ready.cost.record(), "estimate": forecast.record()}


def lines(ready: Ready, forecast: Forecast) -> list[str]:
    """What was measured, time, memory, and the settings that were chosen."""
    from tunesmith.train.forecast import gigabytes

    shares = [[part, gigabytes(size)] for part, size in forecast.parts.items()]
    peak = [["peak", f"{gigabytes(forecast.peak_bytes)} of {gigabytes(forecast.room_bytes)}"]]
    chosen = [[field, f"{default.value:g}", default.reason] for field, default in ready.filled.chosen.items()]
    return [
        *measured_lines(forecast),
        "",
        *table(["time", "expected", "at best", "at worst"], time_rows(forecast), right=(1, 2, 3)),
        "",
        *table(["memory", ""], [*shares, *peak], right=(1,)),
        *(["", *table(["chosen by default", "", "because"], chosen, right=(1,))] if chosen else []),
        "",
        forecast.sentence(),
    ]


def measured_lines(forecast: Forecast) -> list[str]:
    """The three micro-batches."""
    from tunesmith.train.forecast import gigabytes, in_words

    measurement = forecast.measurement
    rows = []
    for name, one in (("shortest", measurement.short), ("typical", measurement.typical), ("worst", measurement.worst)):
        is_reckoned = name == "worst" and measurement.worst_is_reckoned
        rows.append(
            [
                name + (" (reckoned: it would not fit)" if is_reckoned else ""),
                f"{one.tokens:,}",
                in_words(one.first_seconds),
                in_words(one.seconds),
                gigabytes(one.peak_bytes),
            ]
        )
    head = ["measured micro-batch", "tokens", "first time", "again", "memory meanwhile"]
    return [*table(head, rows, right=(1, 2, 3, 4)), f"measuring took {duration(measurement.seconds)}"]


def time_rows(forecast: Forecast) -> list[list[str]]:
    """Expected, at best and at worst."""
    from tunesmith.train.forecast import in_words

    def row(name: str, seconds: Range) -> list[str]:
        return [name, in_words(seconds.expected), in_words(seconds.low), in_words(seconds.high)]

    rows = [row("a step", forecast.step_seconds)]
    if forecast.num_validations:
        rows.append(row("a validation", forecast.validation_seconds))
    rows.append(row("an epoch", forecast.epoch_seconds))
    return [*rows, row(f"in all, {forecast.num_steps:,} steps", forecast.seconds)]


def _take_options_of_train() -> None:
    """One table of options for both verbs, and this one's own."""
    signature = inspect.signature(train_verb.train, eval_str=True)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in LEFT_OUT]
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = {"memory_per_process": MemoryPerProcess, "flops_per_second": FlopsPerSecond, "bandwidth": Bandwidth}
    kept[-1:-1] = [inspect.Parameter(name, keyword, default=None, annotation=kind) for name, kind in own.items()]
    estimate.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    estimate.__annotations__ = {parameter.name: parameter.annotation for parameter in kept}


_take_options_of_train()

command = verb(
    estimate,
    "[DIR] --model MODEL",
    "tunesmith estimate prepared/faq --model smollm2-135m-instruct",
    "tunesmith estimate prepared/faq --model smollm2-135m-instruct --method full --tokens-per-micro-batch 512 --json",
    "tunesmith estimate --model llama-3.1-8b/config.json --processes 8 --device cuda --memory-per-process 80GB",
    "tunesmith estimate --model meta-llama/Llama-3.1-70B --method full --processes 64 --device cuda --memory-per-process 80GB",
)
