"""`tunesmith export`: a tuned model in the formats that other programs run, each checked against what it was made from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import Device, Json
from tunesmith.cli.targets import refuse_given, show_hosted_files
from tunesmith.cli.terminal import print_json, print_wrapped, say, table
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.export.export import Exported

HUB, OLLAMA, PARITY = "On the hub", "For Ollama", "Comparison"
TARGETS = Literal["merged", "gguf", "ollama", "hub", "openai-data"]


def export(
    model: Annotated[str, typer.Argument(metavar="RUN_OR_MODEL", help="A run directory, or any model.", show_default=False)],
    to: Annotated[
        TARGETS,
        typer.Option(
            help="A folder for transformers, a file for llama.cpp, both it and a Modelfile, a hub repository, or the run's data as chats.",
            rich_help_panel=NEEDED,
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The directory to write; it must not exist yet. [default: exports/NAME-FORMAT]")
    ] = None,
    dtype: Annotated[
        Literal["base", "float32", "bfloat16", "float16"] | None,
        typer.Option(help="Type of the merged weights; `base` is that of the base model's files. [default: base]"),
    ] = None,
    gguf_type: Annotated[
        Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m"] | None,
        typer.Option("--type", help="Type of the weights in GGUF; those of four bits need llama.cpp's llama-quantize. [default: f16]"),
    ] = None,
    repo: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="The repository, made if there is none.", rich_help_panel=HUB)
    ] = None,
    adapter: Annotated[
        bool | None, typer.Option("--adapter", help="Push the adapter alone, for PEFT. [default: the merged model]", rich_help_panel=HUB)
    ] = None,
    public: Annotated[
        bool,
        typer.Option("--public", help="Make a new repository public, or push to a public one. [default: private]", rich_help_panel=HUB),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Take away what the repository holds, in the same commit. [default: refuse]", rich_help_panel=HUB),
    ] = False,
    licence: Annotated[
        str | None, typer.Option(metavar="ID", help="Licence for the card, such as apache-2.0. [default: the base model's]")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="X", help="Where a request names none. [default: 0]", rich_help_panel=OLLAMA)
    ] = None,
    num_ctx: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tokens of context. [default: the model's, at most 8,192]", rich_help_panel=OLLAMA),
    ] = None,
    parity_examples: Annotated[
        int | None, typer.Option(metavar="N", help="Held-out prompts that both models answer. [default: 20]", rich_help_panel=PARITY)
    ] = None,
    parity_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most new tokens in each answer. [default: 32]", rich_help_panel=PARITY)
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Export a tuned model for transformers, llama.cpp, Ollama or the hub, and check that it is still the same model.

    The exported model answers held-out prompts in its own runtime, where that is installed; prompt tokens, greedy answers and
    log-probabilities are compared with the run's. A mismatch ends with exit code 3 and keeps the export under a name ending in `.failed`.
    """
    from tunesmith.config import ExportConfig, build

    compared = {"--licence": licence, "--parity-examples": parity_examples, "--parity-tokens": parity_tokens}
    for targets, options, why in (
        ({"hub"}, {"--repo": repo, "--public": public, "--replace": replace, "--adapter": adapter}, "only with --to hub"),
        ({"gguf", "ollama"}, {"--type": gguf_type}, "only with --to gguf or ollama; --dtype is for merged weights"),
        ({"merged", "hub"}, {"--dtype": dtype}, "only with --to merged or hub; --type is for GGUF"),
        ({"ollama"}, {"--temperature": temperature, "--num-ctx": num_ctx}, "only with --to ollama"),
        ({"merged", "gguf", "ollama", "hub"}, compared, "only with exports of a model"),
    ):
        if to not in targets:
            refuse_given(f"export --to {to}", options, why)
    if to == "openai-data":
        from tunesmith.export.export import export_data

        show_hosted_files(export_data(model, out), as_json=as_json)
        return
    if to == "hub" and repo is None:
        raise ConfigError("export --to hub", "--repo is not given", expected="owner/name", remedy="add `--repo`")
    values = {"dtype": dtype, "gguf_type": gguf_type, "adapter": adapter, "temperature": temperature, "num_ctx": num_ctx}
    config = build(ExportConfig, {**values, "parity_examples": parity_examples, "parity_tokens": parity_tokens}, place="export")
    from tunesmith.data.publishing.hub import find_repository

    kind = ("adapter" if config.adapter else "merged") if to == "hub" else to
    repository = find_repository(repo, repo_type="model", public=public, replace=replace) if repo is not None else None
    from tunesmith.export.export import export_model, push

    exported = export_model(model, kind, config, out=out, licence=licence, device=device, say=say)
    if repository is not None:
        exported = push(exported, repository)
    _show(exported, as_json=as_json)


def _show(exported: Exported, *, as_json: bool) -> None:
    if as_json:
        parity = {"passed": exported.parity.passed, **dataclasses.asdict(exported.parity)}
        files = [{"name": name, "bytes": size} for name, size in exported.files]
        print_json(
            {
                "kind": exported.kind,
                "directory": str(exported.directory),
                "files": files,
                "parity": parity,
                "address": exported.address,
            }
        )
        return
    print(f"written: {exported.directory}")
    print("\n".join(f"  {line}" for line in table(("file", "bytes"), [(name, f"{size:,}") for name, size in exported.files], right=(1,))))
    for line in exported.parity.lines:
        print_wrapped(line, label="checked: " if not line.startswith("not checked") else "")
    if exported.address:
        print(f"pushed: {exported.address}")


command = verb(
    export,
    "RUN_OR_MODEL --to merged|gguf|ollama|hub|openai-data",
    "tunesmith export runs/faq --to merged",
    "tunesmith export runs/faq --to gguf --type q8_0",
    "tunesmith export runs/faq --to ollama --out exports/faq-ollama",
    "tunesmith export runs/faq --to hub --repo acme/faq --adapter",
    "tunesmith export runs/faq --to openai-data --out faq-openai",
)
