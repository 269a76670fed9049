"""`tunesmith generate`: a prompt, a file of prompts, or a chat."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Device, Dtype, Json
from tunesmith.cli.progress import stages, waiting
from tunesmith.cli.terminal import harmless, is_terminal, print_json, say
from tunesmith.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tunesmith.cli.prompts import Prompt
    from tunesmith.config import GenerateConfig
    from tunesmith.tuned import OpenedModel
    from tunesmith.types import Completion, TokenLogprob

PROMPTS, DECODING = "Prompts", "Decoding"


def generate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RUN_OR_MODEL",
            help="A run directory, a named model, a hub id, a folder or a .gguf file.",
            show_default=False,
        ),
    ],
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to answer; without it, a chat in a terminal, else standard input.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="One prompt a line, or JSON Lines with prompt, question, instruction or messages.",
            rich_help_panel=PROMPTS,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For --file: write JSON Lines here; never overwritten. [default: standard output]", rich_help_panel=PROMPTS
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Prompt template; a run has its own. [default: auto]", rich_help_panel=PROMPTS),
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System message before the prompt.", rich_help_panel=PROMPTS)] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Use the model the run started from, with the run's template.", rich_help_panel=PROMPTS)
    ] = False,
    max_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens in a completion. [default: 256]", rich_help_panel=DECODING)
    ] = None,
    max_prompt_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Most tokens in a prompt; a longer one is cut. [default: what the context leaves]", rich_help_panel=DECODING
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="X", help="0 takes the likeliest token; above, tokens are drawn. [default: 0]", rich_help_panel=DECODING),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(metavar="X", help="Draw from the likeliest tokens with this probability. [default: 1]", rich_help_panel=DECODING),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="Draw from this many likeliest tokens. [default: all]", rich_help_panel=DECODING)
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Draw from tokens at least this fraction as likely as the likeliest. [default: 0]", rich_help_panel=DECODING
        ),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(metavar="X", help="Above 1, tokens that came before become less likely. [default: 1]", rich_help_panel=DECODING),
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="End before this text; may be given several times. [default: none]", rich_help_panel=DECODING),
    ] = None,
    logprobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With JSON output: log-probabilities of every new token and the N likeliest in its place. [default: none]",
            rich_help_panel=DECODING,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the drawing. [default: 0]", rich_help_panel=DECODING)] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Prompts of a file answered together. [default: 64]", rich_help_panel=DECODING)
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Answer a prompt or a file of prompts with a tuned model or any other; with neither, chat in the terminal."""
    is_chat = file is None and prompt is None and sys.stdin.isatty()
    check(model, prompt, file, out, template=template, base=base, as_json=as_json, is_chat=is_chat, logprobs=logprobs)
    from tunesmith.cli.prompts import read_prompts, single_prompt
    from tunesmith.config import GenerateConfig, build

    settings = {
        "max_new_tokens": max_new_tokens,
        "max_prompt_tokens": max_prompt_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "stop": stop or None,
        "logprobs": logprobs,
        "seed": seed,
        "batch_size": batch_size,
    }
    config = build(GenerateConfig, settings, place="generate")
    if file is not None:
        read = read_prompts(file)
        for note in read.notes:
            say(note)
        opened = open_reference(model, template, base=base, dtype=dtype, device=device)
        answer_file(opened, [one.with_system(system) for one in read.prompts], config, out, as_json=as_json)
        return
    text = "" if is_chat else _read_standard_input() if prompt is None else prompt
    opened = open_reference(model, template, base=base, dtype=dtype, device=device)
    if is_chat:
        _chat(opened, config, system)
    else:
        answer_one(opened, single_prompt(text).with_system(system), config, as_json=as_json)


def check(
    model: str,
    prompt: str | None,
    file: Path | None,
    out: Path | None,
    *,
    template: str | None,
    base: bool,
    as_json: bool,
    is_chat: bool,
    logprobs: int | None = None,
) -> None:
    """Refuse what contradicts itself before anything is loaded.

    Raises:
        ConfigError: two options that exclude each other.
        DataError: the output file exists.
    """
    from tunesmith.runs import is_run

    contradictions = (
        (prompt is not None and file is not None, "a PROMPT and --file", "one of them", "leave one out"),
        (out is not None and file is None, "--out without --file", "a file of prompts", "redirect standard output to keep one completion"),
        (template is not None and is_run(model), f"--template with the run {model}", "the template it was trained with", "leave it out"),
        (base and not is_run(model), f"--base with {model}", "a run directory", "leave it out: this is no run"),
        (is_chat and as_json, "--json without a prompt", "a PROMPT, or --file", "add one"),
        (
            logprobs is not None and not (as_json or file is not None),
            "--logprobs without --json",
            "JSON output, which has a place for them",
            "add --json, or use --file",
        ),
    )
    for is_so, found, expected, remedy in contradictions:
        if is_so:
            raise ConfigError("generate", found, expected=expected, remedy=remedy)
    if out is not None and out.exists():
        raise DataError(str(out), "it exists already and is never overwritten", expected="a new file", remedy="choose another --out")


def open_reference(model: str, template: str | None, *, base: bool, dtype: str, device: str) -> OpenedModel:
    """The model the user named, with its renderer."""
    with waiting("loading torch and transformers"):
        from tunesmith.runs import open_run
        from tunesmith.tuned import open_base, open_model
    with waiting(f"loading {model}"):
        if base:
            return open_base(open_run(Path(model)), dtype=dtype, device=device)
        return open_model(model, template=template or "auto", dtype=dtype, device=device, say=say)


def answer_one(opened: OpenedModel, prompt: Prompt, config: GenerateConfig, *, as_json: bool) -> None:
    """Print one completion, as it comes."""
    from tunesmith.cli.chat import remark, stream

    answer = stream(opened, prompt.messages, config, _ignore if as_json else _write)
    if as_json:
        reply = {"completion": answer.text, "finish_reason": answer.finish_reason, "num_tokens": answer.num_tokens}
        print_json({"prompt": prompt.messages[-1].content, **reply, **_logprobs(opened, answer.logprobs)})
    else:
        _write("\n")
        remark(answer)
    if answer.finish_reason is None:
        raise KeyboardInterrupt


def answer_file(opened: OpenedModel, prompts: Sequence[Prompt], config: GenerateConfig, out: Path | None, *, as_json: bool) -> None:
    """Complete all prompts in batches and write a JSON object for each."""
    from tunesmith.files import write_json_lines

    with stages() as on_progress:
        completions = opened.complete(
            [prompt.messages for prompt in prompts],
            config,
            fields=[prompt.fields for prompt in prompts],
            on_progress=lambda done: on_progress("answers", done, len(prompts)),
        )
    records = [_record(opened, prompt, completion) for prompt, completion in zip(prompts, completions, strict=True)]
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json_lines(out, records)
    if as_json:
        print_json({"num_prompts": len(records), "out": str(out)} if out else {"num_prompts": len(records), "completions": records})
    elif out is not None:
        print(f"{len(records)} {'completion is' if len(records) == 1 else 'completions are'} in {out}")
    else:
        for record in records:
            print(json.dumps(record, ensure_ascii=False))


def _record(opened: OpenedModel, prompt: Prompt, completion: Completion) -> dict[str, Any]:
    asked = {"source": prompt.source, "prompt": prompt.messages[-1].content}
    reply = {"completion": completion.text, "finish_reason": completion.finish_reason}
    return {**asked, **reply, **_logprobs(opened, completion.logprobs)}


def _logprobs(opened: OpenedModel, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
    """`{"logprobs": [{"token": " Settings", "logprob": -0.2, "top": [{…}]}, …]}`, or nothing when none were asked for."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        return {"token": opened.renderer.decode([token]), "logprob": logprob}

    if logprobs is None:
        return {}
    return {"logprobs": [{**entry(one.token, one.logprob), "top": [entry(*likely) for likely in one.top]} for one in logprobs]}


def _read_standard_input() -> str:
    from tunesmith.data.parsing.text import decode

    return decode(sys.stdin.buffer.read(), "standard input", "utf-8").removesuffix("\n")


def _chat(opened: OpenedModel, config: GenerateConfig, system: str | None) -> None:
    from contextlib import suppress

    from tunesmith.cli.chat import chat

    with suppress(ImportError):
        import readline  # noqa: F401 - gives input() line editing and a history
    chat(opened, config, system=system, write=_write)


def _write(text: str) -> None:
    sys.stdout.write(harmless(text) if is_terminal() else text)
    sys.stdout.flush()


def _ignore(text: str) -> None:
    del text


command = verb(
    generate,
    "RUN_OR_MODEL [PROMPT]",
    'tunesmith generate runs/faq "Do you ship abroad?"',
    "tunesmith generate runs/faq                               # a chat",
    "tunesmith generate runs/faq --file questions.txt --out answers.jsonl",
    "tunesmith generate smollm2-135m-instruct --system 'Answer in one sentence.' --temperature 0.7 < question.txt",
)
