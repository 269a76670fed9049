"""`tunesmith estimate`: what `tunesmith train` with the same options would take, measured and nothing trained."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from tunesmith.cli import train as train_verb
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
    """Say how long a training run would take and how much memory it would need, from a few measured micro-batches.

    Takes the options of `tunesmith train`. Nothing is trained and no run is made. A run that cannot fit into memory is refused,
    with the settings that would make it fit.
    """
    del options
    given = {key: value for key, value in context.params.items() if value is not None and (value or key != "as_json")}
    for key, what in (("data", "DIR"), ("model", "--model")):
        if key not in given:
            remedy = "see `tunesmith estimate --help`"
            raise ConfigError("tunesmith estimate", f"{what} is missing", expected="DIR and --model MODEL", remedy=remedy)
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
    """One table of options for both verbs."""
    signature = inspect.signature(train_verb.train, eval_str=True)
    kept = [parameter for name, parameter in signature.parameters.items() if name not in LEFT_OUT]
    estimate.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    estimate.__annotations__ = {parameter.name: parameter.annotation for parameter in kept}


_take_options_of_train()

command = verb(
    estimate,
    "DIR --model MODEL",
    "tunesmith estimate prepared/faq --model smollm2-135m-instruct",
    "tunesmith estimate prepared/faq --model smollm2-135m-instruct --method full --tokens-per-micro-batch 512 --json",
)
