"""From a verb's function to a command whose help is plain, grouped and ends in examples.

    command = verb(prepare, "FILES... --out DIR", "tunesmith prepare faq.csv --out prepared/faq")

typer's own help is drawn by rich, which takes 90 ms to import; this one is text (measured: 65 against 155 ms for one option).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

SETTINGS: dict[str, Any] = {"max_content_width": 110}
NEEDED = "Arguments"
"""Heading of what a verb cannot do without; as `rich_help_panel`, options can stand there too."""


class VerbCommand(TyperCommand):
    """Plain help: options under the headings given as `rich_help_panel`, examples as they are typed."""

    usage = ""
    """What follows the name in the usage line, but for the options that may be left out."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        del ctx
        return [piece for piece in (self.usage, "[OPTIONS]") if piece]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            heading = NEEDED if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
            name, text = parameter.get_help_record(ctx) or ("", "")
            name = name.removeprefix(" / ")  # a flag that only switches off
            record = (str(parameter.metavar) if is_argument else name, text.replace("  [", " [").removesuffix(" [required]"))
            sections.setdefault(heading, []).append(record)
        for heading in sorted(sections, key=lambda heading: (heading != NEEDED, heading == "Options")):
            with formatter.section(heading):
                formatter.write_dl(sections[heading], col_max=34)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        del ctx
        _write_examples(self.epilog, formatter)


class Group(TyperGroup):
    """A group that stays quick."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option --help, False when it is not given: typer sends any other value through pydantic, 90 ms to import."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


class SubVerbs(Group):
    """A verb with verbs of its own; when none is named `list`, or help where there is no such one."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [f"[{'|'.join(self.list_commands(ctx))}]", "[OPTIONS]"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        names_one = bool(args) and not args[0].startswith("-")
        if names_one or "--help" in args:
            return super().parse_args(ctx, args)
        return super().parse_args(ctx, ["list", *args] if "list" in self.list_commands(ctx) else ["--help"])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        del ctx
        _write_examples(self.epilog, formatter)


def _write_examples(epilog: str | None, formatter: Any) -> None:
    if epilog:
        with formatter.section("Examples"):
            for line in epilog.splitlines():
                formatter.write(f"  {line}\n")


def verb(function: Callable[..., None], usage: str, *examples: str) -> Any:
    """The command of a verb; its name, help and options are the function's."""
    app = _app()
    app.command(function.__name__, cls=VerbCommand, epilog="\n".join(examples), context_settings=SETTINGS)(function)
    command: Any = typer.main.get_command(app)
    command.usage = usage
    return command


def verb_with_subverbs(group: Callable[..., None], subverbs: dict[str, tuple[Callable[..., None], str]], *examples: str) -> Any:
    """The command of a verb with sub-verbs; `group` gives the name and the help, each sub-verb has its usage."""
    app = _app()
    app.callback(cls=SubVerbs, epilog="\n".join(examples))(group)
    for name, (function, _) in subverbs.items():
        app.command(name, cls=VerbCommand, context_settings=SETTINGS)(function)
    command: Any = typer.main.get_command(app)
    for name, (_, usage) in subverbs.items():
        command.commands[name].usage = usage
    return command


def _app() -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=SETTINGS)


def usage_error_type() -> type[Exception]:
    """typer's exception for a command line that cannot be parsed; which module defines it depends on typer's version."""
    error: type[Exception] = typer.BadParameter.__mro__[1]
    return error
