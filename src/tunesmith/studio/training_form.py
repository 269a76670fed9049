"""The settings of `tunesmith train` that the New run page shows, and the command that they make.

    >>> words = train_words(data="prepared/faq", model="smollm2-135m-instruct", runs_dir="runs", name="faq", values={"epochs": 2.0})
    >>> shlex.join(["tunesmith", *words])
    'tunesmith train prepared/faq --model=smollm2-135m-instruct --epochs=2 --runs-dir=runs --name=faq'

Every value is one word, `--flag=value`: nothing that is typed can become another option, and no shell ever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tunesmith.config import LoraConfig, Settings, TrainConfig, build

Kind = Literal["choice", "whole", "number", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One setting on the page."""

    name: str
    """Of `TrainConfig`, `lora_rank` for a nested one."""
    label: str
    kind: Kind
    default: str
    """What no entry means, in words."""
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


def _choice(name: str, label: str) -> Field:
    of = TrainConfig.model_fields[name]
    choices = tuple(one for one in get_args(of.annotation) if isinstance(one, str))
    return Field(name=name, label=label, kind="choice", default=str(of.default), choices=choices)


def _entry(name: str, label: str, kind: Kind, otherwise: str = "") -> Field:
    nested = name.removeprefix("lora_")
    settings: type[Settings] = TrainConfig if name in TrainConfig.model_fields else LoraConfig
    default = settings.model_fields[name if settings is TrainConfig else nested].default
    return Field(name=name, label=label, kind=kind, default=otherwise or str(default))


FIELDS = (
    _choice("method", "Method"),
    _choice("objective", "Objective"),
    _entry("epochs", "Epochs", "number", "by the number of examples"),
    _entry("max_steps", "Most steps", "whole", "the epochs decide"),
    _entry("learning_rate", "Learning rate", "number", "by method"),
    _entry("lora_rank", "Adapter rank", "whole", "by the number of examples"),
    _entry("examples_per_step", "Examples in a step", "whole", "by the number of examples"),
    _entry("max_length", "Tokens in an example", "whole", "the model's context, at most 2,048"),
    _choice("over_length", "Longer examples"),
    _entry("evaluate_every", "Steps between validations", "whole", "twice an epoch"),
    _entry("patience", "Patience, in validations", "whole"),
    _choice("schedule", "Schedule"),
    _entry("seed", "Seed", "whole"),
    _choice("dtype", "Compute type"),
)
"""In the order of the page; every other setting keeps its default, or is given on the command line."""


def parse(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was entered as values; empty entries and defaults of choices are left out.

    Raises:
        ValueError: an entry is no number; the message names its label.
    """
    found: dict[str, Any] = {}
    for field in FIELDS:
        value = given.get(field.name)
        if value is None or value == "" or (field.kind == "choice" and value == field.default):
            continue
        try:
            found[field.name] = int(value) if field.kind == "whole" else float(value) if field.kind == "number" else str(value)
        except (TypeError, ValueError):
            raise ValueError(f"{field.label}: {str(value)[:80]!r} is no {'whole number' if field.kind == 'whole' else 'number'}") from None
    return found


def check(data: str, model: str, values: Mapping[str, Any]) -> TrainConfig:
    """The settings as training will read them.

    Raises:
        ConfigError: a value is out of range, or some contradict each other.
    """
    lora = {name.removeprefix("lora_"): value for name, value in values.items() if name.startswith("lora_")}
    plain = {name: value for name, value in values.items() if not name.startswith("lora_")}
    return build(TrainConfig, {"data": data, "model": model, **plain, "lora": lora or None}, place="new run")


def setting_words(model: str, values: Mapping[str, Any]) -> list[str]:
    """Model and settings as words of a command line."""
    flags = {field.name: field.flag for field in FIELDS}
    return [
        f"--model={model}",
        *(f"{flags[name]}={value:.12g}" if isinstance(value, float) else f"{flags[name]}={value}" for name, value in values.items()),
    ]


def train_words(*, data: str, model: str, runs_dir: str, name: str, values: Mapping[str, Any]) -> list[str]:
    """The whole command, without `tunesmith`."""
    return ["train", data, *setting_words(model, values), f"--runs-dir={runs_dir}", f"--name={name}"]
