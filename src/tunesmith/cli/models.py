"""`tunesmith models`: the models known by name, and their terms."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import verb_with_subverbs
from tunesmith.cli.options import Json
from tunesmith.cli.terminal import print_json, say, suggest, table
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.assets import ModelStatus


def models() -> None:
    """List the models known by name, with size, licence and what is on this machine; a hub id, a folder or a .gguf file works as well."""


def list_(as_json: Json = False) -> None:
    """List the models known by name."""
    from tunesmith.assets import cache_dir, list_models

    found = list_models()
    if as_json:
        print_json({"cache": str(cache_dir()), "models": [dataclasses.asdict(model) for model in found]})
        return
    head = ("name", "kind", "parameters", "download", "licence", "on this machine")
    rows = [
        (model.name, model.kind, f"{model.num_parameters / 1e6:,.0f} M", _size(model.download_bytes), model.licence, _state(model))
        for model in found
    ]
    print("\n".join(table(head, rows, right=(2, 3))))
    for model in found:
        if model.problem:
            say(f"{model.name}: {model.problem}")
        if not model.terms_accepted:
            suggest(["models", "accept", model.name])


def _state(model: ModelStatus) -> str:
    if model.problem:
        return "damaged"
    here = f"yes, {_size(model.disk_bytes)}" if model.disk_bytes is not None else "no"
    return here if model.terms_accepted else f"{here}; terms not accepted"


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"


def accept(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A named model.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Accept without being asked, for scripts.")] = False,
    as_json: Json = False,
) -> None:
    """Show a model's terms and record that you accept them."""
    from tunesmith.assets import accept_terms, terms_text

    text = terms_text(name)
    if text and not yes:
        say(text)
        _ask(name)
    accept_terms(name)
    if as_json:
        print_json({"name": name, "accepted": True, "terms": text})
    else:
        print(f"{name}: terms accepted" if text else f"{name}: nothing has to be accepted")


def _ask(name: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(
            "models accept", "no terminal to ask on", expected="a yes", remedy=f"run `tunesmith models accept {name} --yes` if you accept"
        )
    if not typer.confirm("Do you accept these terms?", err=True):
        say("not accepted, nothing was recorded")
        raise typer.Exit(1)


command = verb_with_subverbs(
    models,
    {"list": (list_, ""), "accept": (accept, "NAME")},
    "tunesmith models",
    "tunesmith models accept gemma3-270m",
    "tunesmith models --json",
)
