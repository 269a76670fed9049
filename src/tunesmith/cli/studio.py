"""`tunesmith studio`: web pages over runs and data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Json
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import print_json, say
from tunesmith.errors import ConfigError

WHERE = "Where it listens"


def studio(
    runs: Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Where runs are kept. [default: runs]")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Where prepared data sets are kept. [default: prepared]")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on; any that others can reach asks for a token. [default: 127.0.0.1]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="N", help="Port to listen on; 0 takes a free one. [default: 8080]", rich_help_panel=WHERE)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A further name by which browsers call it, such as a proxy's, which then asks for a token. [default: none]",
            rich_help_panel=WHERE,
        ),
    ] = None,
    open: Annotated[
        bool | None, typer.Option("--open/--no-open", help="Open the first page in a browser. [default: no-open]", rich_help_panel=WHERE)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show runs and data sets in the browser, follow training live, start and stop runs. Ctrl-C ends it; what it started goes on."""
    from tunesmith.config import StudioConfig, build

    given = {"runs": runs, "data": data, "host": host, "port": port, "open": open}
    config = build(StudioConfig, {**given, "allow_host": tuple(allow_host) if allow_host else None}, place="studio")
    with waiting("loading the studio"):
        _require_nicegui()
        from tunesmith.studio.app import run_studio
    run_studio(config, say=say, announce=print_json if as_json else None)


def _require_nicegui() -> None:
    try:
        import nicegui  # noqa: F401
    except ImportError as error:
        if error.name != "nicegui":
            raise
        raise ConfigError(
            "tunesmith studio",
            "NiceGUI, which draws the pages, is not installed",
            expected="the extra `studio`",
            remedy="pip install 'tunesmith[studio]'",
        ) from None


command = verb(
    studio,
    "",
    "tunesmith studio",
    "tunesmith studio --runs /data/runs --data /data/prepared --port 9000 --open",
    "tunesmith studio --host 0.0.0.0        # for others in the network; prints an address with a token",
)
