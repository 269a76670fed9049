"""`tunesmith serve`: an OpenAI-compatible server of tuned models and their bases."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.group import check_engine
from tunesmith.cli.options import VLLM_OPTIONS, Device, Dtype, Json
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import print_json, say, table
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.config import ServeConfig
    from tunesmith.serve.run import Announcement

ADDRESS, ACCESS, DECODING, LIMITS = "Address", "Who may ask", "Answers", "Limits"
QUESTION = "How do I reset my password?"


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN_OR_MODEL...",
            help="Run directories, named models, hub ids or folders; the base of every run is served too.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Where to listen; any but this machine needs a key. [default: 127.0.0.1]", rich_help_panel=ADDRESS
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="0 takes a free one. [default: 8000]", rich_help_panel=ADDRESS)] = None,
    engine: Annotated[
        Literal["tunesmith", "vllm"] | None,
        typer.Option(help="Our own generation, or vLLM where it is installed. [default: tunesmith]", rich_help_panel=ADDRESS),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --engine vllm: print its command instead of starting it.", rich_help_panel=ADDRESS)
    ] = False,
    vllm_options: Annotated[str | None, typer.Option(metavar="TEXT", help=VLLM_OPTIONS, rich_help_panel=ADDRESS)] = None,
    make_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Make a key, print it this once, keep its hash, and serve nothing.", rich_help_panel=ACCESS),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where hashes of keys are kept; keys are asked for where it holds any. [default: the user's settings directory]",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let web pages of this origin ask, e.g. https://app.example; may come again. [default: none]",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name a proxy on this machine calls the server by; may come again. [default: none]",
            rich_help_panel=ACCESS,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="X", help="Of requests that name none; 0 is how evaluations ask. [default: 0]", rich_help_panel=DECODING),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens of one completion. [default: 1024]", rich_help_panel=DECODING)
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Sequences decoded together, on each base model. [default: 64]", rich_help_panel=DECODING),
    ] = None,
    guardrails: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Rules for prompts and answers, as `tunesmith guard` tries them. [default: none]", rich_help_panel=DECODING
        ),
    ] = None,
    queue_size: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Sequences that may wait; further ones are told to come again. [default: 256]", rich_help_panel=LIMITS
        ),
    ] = None,
    max_choices: Annotated[
        int | None, typer.Option(metavar="N", help="Most completions of one request. [default: 16]", rich_help_panel=LIMITS)
    ] = None,
    request_seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Most time for one request, waiting included. [default: 300]", rich_help_panel=LIMITS)
    ] = None,
    step_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Most time for one step of decoding before /health says it is stuck. [default: 120]", rich_help_panel=LIMITS
        ),
    ] = None,
    client_seconds: Annotated[
        float | None,
        typer.Option(metavar="S", help="Most time a client takes to send or to take something. [default: 15]", rich_help_panel=LIMITS),
    ] = None,
    grace_seconds: Annotated[
        float | None,
        typer.Option(metavar="S", help="Most time for what runs when the server is told to stop. [default: 30]", rich_help_panel=LIMITS),
    ] = None,
    max_body_bytes: Annotated[
        int | None, typer.Option(metavar="N", help="Of a request. [default: 1048576]", rich_help_panel=LIMITS)
    ] = None,
    max_connections: Annotated[
        int | None, typer.Option(metavar="N", help="Open at the same time. [default: 1024]", rich_help_panel=LIMITS)
    ] = None,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write prompts and answers into the log, too.")] = False,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Serve tuned models and their bases through OpenAI's API, chosen by name for each request."""
    if make_key is not None:
        _make_key(keys, make_key, as_json=as_json)
        return
    _check(models, engine, dry_run=dry_run)
    check_engine(engine, vllm_options)
    from tunesmith.config import ServeConfig, build

    settings = {
        "models": tuple(models or ()),
        "host": host,
        "port": port,
        "engine": engine,
        "vllm_options": vllm_options,
        "keys_file": keys,
        "allow_origins": tuple(allow_origin or ()),
        "allow_hosts": tuple(allow_host or ()),
        "temperature": temperature,
        "max_tokens": max_tokens,
        "batch_size": batch_size,
        "queue_size": queue_size,
        "max_choices": max_choices,
        "request_seconds": request_seconds,
        "step_seconds": step_seconds,
        "client_seconds": client_seconds,
        "grace_seconds": grace_seconds,
        "max_body_bytes": max_body_bytes,
        "max_connections": max_connections,
        "guardrails": guardrails,
        "log_prompts": log_prompts,
        "dtype": dtype,
        "device": device,
    }
    config = build(ServeConfig, settings, place="serve")
    if config.engine == "vllm":
        _hand_over(config, dry_run=dry_run, as_json=as_json)
        return
    with waiting("loading torch and transformers"):
        from tunesmith.serve.run import serve as run_server
    run_server(config, say=say, on_ready=lambda ready: _announce(ready, as_json=as_json))


def _check(models: list[str] | None, engine: str | None, *, dry_run: bool) -> None:
    if not models:
        raise ConfigError("serve", "no model", expected="at least one RUN_OR_MODEL", remedy="name a run; `tunesmith runs` lists yours")
    if dry_run and engine != "vllm":
        raise ConfigError("serve", "--dry-run without --engine vllm", expected="a command to print", remedy="leave it out")


def _make_key(file: Path | None, name: str, *, as_json: bool) -> None:
    from tunesmith.serve.keys import default_keys_file, make_key

    where = file or default_keys_file()
    key = make_key(where, name)
    if as_json:
        print_json({"name": name, "key": key, "file": str(where)})
        return
    print(key)
    say(f"This is the key {name!r}; it is not shown again. Its hash is in {where}: delete its entry there, and it is worth nothing.")


def _hand_over(config: ServeConfig, *, dry_run: bool, as_json: bool) -> None:
    with waiting("loading torch and transformers"):
        from tunesmith.serve.vllm import hand_over, vllm_command
    command = vllm_command(config, say=say)
    if not dry_run:
        say(shlex.join(command))
        hand_over(command, config)
    elif as_json:
        print_json({"command": command})
    else:
        print(shlex.join(command))


def _announce(ready: Announcement, *, as_json: bool) -> None:
    if as_json:
        _print_now(json.dumps(_document(ready), ensure_ascii=False, indent=2))
        return
    rows = [[f"  {model.name}", "base model" if model.adapter is None else "adapter", model.reference] for model in ready.models]
    lines = [f"Serving at {ready.address}/v1", "", *table(["  model", "kind", "from"], rows), ""]
    lines.append(
        "Every request needs a key (`tunesmith serve --make-key NAME` makes one)."
        if ready.needs_key
        else "No key is needed: only this machine can reach the address."
    )
    if ready.guarded:
        lines.append(f"Guardrails stand before {', '.join(ready.guarded)}.")
    if ready.logs_prompts:
        lines.append("Prompts and answers are written into the log (--log-prompts).")
    _print_now("\n".join([*lines, "", *_examples(ready), "", "Ctrl-C lets running requests finish; a second one cuts them off."]))


def _print_now(text: str) -> None:
    """Whoever waits for it may read from a pipe."""
    print(text, flush=True)


def _document(ready: Announcement) -> dict[str, Any]:
    models = [{"id": model.name, "from": model.reference, "is_adapter": model.adapter is not None} for model in ready.models]
    return {"address": ready.address, "base_url": f"{ready.address}/v1", "models": models, "needs_key": ready.needs_key}


def _examples(ready: Announcement) -> list[str]:
    """How to ask, ready to be copied."""
    name = ready.models[0].name
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": QUESTION}]})
    header = " -H 'Authorization: Bearer KEY'" if ready.needs_key else ""
    key = "KEY" if ready.needs_key else "none"
    return [
        f"curl {ready.address}/v1/chat/completions{header} -H 'Content-Type: application/json' -d {shlex.quote(body)}",
        "",
        "from openai import OpenAI",
        f'client = OpenAI(base_url="{ready.address}/v1", api_key="{key}")',
        f'answer = client.chat.completions.create(model="{name}", messages=[{{"role": "user", "content": "{QUESTION}"}}])',
        "print(answer.choices[0].message.content)",
    ]


command = verb(
    serve,
    "RUN_OR_MODEL...",
    "tunesmith serve runs/faq",
    "tunesmith serve runs/faq runs/support --port 9000 --temperature 0.7",
    "tunesmith serve --make-key laptop",
    "tunesmith serve runs/faq --host 0.0.0.0 --allow-origin https://app.example",
    "tunesmith serve runs/faq --engine vllm --dry-run",
)
