"""`tunesmith publish`: a prepared data set to the hub, or into the files that hosted tuners take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import Json
from tunesmith.cli.targets import refuse_given, show_hosted_files
from tunesmith.cli.terminal import print_json
from tunesmith.errors import ConfigError

HUB = "On the hub"


def publish(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="A directory written by `tunesmith prepare`.", show_default=False)],
    to: Annotated[
        Literal["hub", "openai", "together"],
        typer.Option(
            help="A data set repository on the hub, or checked files for a hosted tuner (nothing is sent).",
            rich_help_panel=NEEDED,
            show_default=False,
        ),
    ],
    *,
    repo: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="The repository, made if there is none.", rich_help_panel=HUB)
    ] = None,
    public: Annotated[
        bool,
        typer.Option("--public", help="Make a new repository public, or publish to a public one. [default: private]", rich_help_panel=HUB),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Take away what the repository holds, in the same commit. [default: refuse]", rich_help_panel=HUB),
    ] = False,
    licence: Annotated[str | None, typer.Option(metavar="ID", help="Licence for the card, such as cc-by-4.0.", rich_help_panel=HUB)] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For openai and together: the directory to write; it must not exist yet.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Publish a prepared data set, or write it for a hosted tuner.

    The test split goes to the hub with the others, so that colleagues compare on the same examples; hosted tuners get the
    training and validation splits only.
    """
    from tunesmith.data.storing.prepared import load_prepared

    if to == "hub":
        hub_id = _required(repo, "--repo", "owner/name")
        refuse_given("publish", {"--out": out}, "only with --to openai or together")
        from tunesmith.data.publishing.hub import find_repository
        from tunesmith.data.publishing.publish import publish_to_hub

        prepared = load_prepared(data)
        repository = find_repository(hub_id, repo_type="dataset", public=public, replace=replace)
        address = publish_to_hub(prepared, repository, licence=licence)
        if as_json:
            print_json({"address": address, "repository": hub_id, "fingerprint": prepared.fingerprint})
        else:
            print(f"published: {address}")
        return
    refuse_given("publish", {"--repo": repo, "--public": public, "--replace": replace, "--licence": licence}, "only with --to hub")
    from tunesmith.data.publishing.hosted import write_for_tuner

    files = write_for_tuner(load_prepared(data), to, Path(_required(None if out is None else str(out), "--out", "a new directory")))
    show_hosted_files(files, as_json=as_json)


def _required(value: str | None, option: str, expected: str) -> str:
    if value is None:
        raise ConfigError("publish", f"{option} is not given", expected=expected, remedy=f"add `{option}`")
    return value


command = verb(
    publish,
    "DIR --to hub|openai|together",
    "tunesmith publish prepared/faq --to hub --repo acme/faq --licence cc-by-4.0",
    "tunesmith publish prepared/faq --to openai --out faq-openai",
)
