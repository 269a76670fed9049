"""Which rules of a file of settings stand before which model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tunesmith.errors import ConfigError
from tunesmith.runs import is_run
from tunesmith.serve.guarding import Guard
from tunesmith.serve.guardrails.rules import Guardrails
from tunesmith.serve.guardrails.settings import load_settings
from tunesmith.together import ServedModel


def open_guards(file: Path | None, models: Sequence[ServedModel], *, say: Callable[[str], None]) -> dict[str, Guard]:
    """The rules of a file, for each model they are for; a run's own data say what is on its subject.

    Raises:
        ConfigError: the file cannot be used, or names a model that is not served.
        DataError, RunError, AssetError: what a rule needs is gone.
    """
    if file is None:
        return {}
    config = load_settings(file)
    names = {model.name for model in models}
    if config.models is not None and (unknown := set(config.models) - names):
        expected = f"some of {', '.join(sorted(names))}"
        raise ConfigError(str(file), f"rules for {min(unknown)!r}, which is not served", expected=expected, remedy="correct models")
    guards: dict[str, Guard] = {}
    for model in models:
        if config.models is None or model.name in config.models:
            rails = Guardrails.from_config(config, run=_run_of(model, models), count_tokens=_counter(model))
            guards[model.name] = rails
            for note in rails.notes:
                say(f"{model.name}: {note}")
    return guards


def _run_of(model: ServedModel, models: Sequence[ServedModel]) -> str | None:
    """Its own run; of a base the one run on it, where there is one alone."""
    if is_run(model.reference):
        return model.reference
    runs = [one.reference for one in models if one.base is model.base and is_run(one.reference)]
    return runs[0] if len(runs) == 1 else None


def _counter(model: ServedModel) -> Callable[[str], int]:
    return lambda text: len(model.renderer.text_prompt_ids(text))
