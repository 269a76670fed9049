"""`tunesmith prepare`: from your files to a checked, split data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import Json
from tunesmith.cli.terminal import print_json, suggest

BUILTIN = "tunesmith-faq"
COLUMNS, SPLITTING = "Columns and template", "Splitting"


def prepare(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES...",
            help="JSON Lines, JSON, CSV, TSV, Parquet or text files, data set folders, hub ids `owner/name`, "
            "or `tunesmith-faq`, the data set that ships with tunesmith.",
        ),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The directory to write; it must not exist yet.", show_default=False, rich_help_panel=NEEDED),
    ],
    prompt_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with the prompt. [default: recognised]", rich_help_panel=COLUMNS),
    ] = None,
    completion_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with the right answer. [default: recognised]", rich_help_panel=COLUMNS),
    ] = None,
    input_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with input that follows the prompt. [default: recognised]", rich_help_panel=COLUMNS),
    ] = None,
    chosen_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with the better answer of a pair. [default: recognised]", rich_help_panel=COLUMNS),
    ] = None,
    rejected_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column with the worse answer of a pair. [default: recognised]", rich_help_panel=COLUMNS),
    ] = None,
    label_key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column that says whether the answer is desirable: true or false, 1 or 0. [default: recognised]",
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Prompt template for training: auto, chat, qa, alpaca, or a file with {prompt}. [default: auto]",
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share held out for evaluation, never trained on. [default: 0.1]", rich_help_panel=SPLITTING),
    ] = None,
    validation_fraction: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share used in training to choose the best step. [default: 0.05]", rich_help_panel=SPLITTING),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Decides which examples are held out. [default: 0]", rich_help_panel=SPLITTING)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Use a seeded sample of this many rows. [default: all]", rich_help_panel=SPLITTING)
    ] = None,
    on_invalid: Annotated[
        Literal["stop", "drop"] | None,
        typer.Option(help="A row that cannot be used: stop at it, or drop it and count it. [default: stop]"),
    ] = None,
    encoding: Annotated[str | None, typer.Option(metavar="NAME", help="Encoding of text files. [default: utf-8]")] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which split of a data set folder or hub data set to read. [default: the only one, or train]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read your files, check every row, remove exact duplicates, split, and write a data set to train on.

    Columns that are recognised: question + answer, instruction (+ input) + output, instruction + response, input + output,
    prompt + completion, messages (OpenAI), conversations (ShareGPT), text (raw text, as is a .txt file).

    Preferences: chosen + rejected beside prompt, question, instruction (+ input) or input, or as whole conversations that share
    their beginning (for dpo, orpo); label (true or false, 1 or 0) beside any answer (for kto).
    """
    from tunesmith.config import PrepareConfig, build
    from tunesmith.data.builtin import builtin_data_file
    from tunesmith.data.prepare import prepare as prepare_data

    settings = {
        "prompt_key": prompt_key,
        "completion_key": completion_key,
        "input_key": input_key,
        "chosen_key": chosen_key,
        "rejected_key": rejected_key,
        "label_key": label_key,
        "template": template,
        "test_fraction": test_fraction,
        "validation_fraction": validation_fraction,
        "seed": seed,
        "limit": limit,
        "on_invalid": on_invalid,
        "encoding": encoding,
    }
    sources = [builtin_data_file() if name == BUILTIN else name for name in files or ()]
    prepared = prepare_data(sources, out, build(PrepareConfig, settings, place="prepare"), split=split)
    if as_json:
        print_json({"directory": str(out), **prepared.manifest})
        return
    print(prepared.summary())
    print(f"written: {out}/{{train,validation,test}}.jsonl; what was read, kept and left out: {out / 'report.json'}")
    suggest(["preview", out, "--model", "smollm2-135m-instruct"], ["train", out, "--model", "smollm2-135m-instruct"])


command = verb(
    prepare,
    "FILES... --out DIR",
    "tunesmith prepare faq.csv --out prepared/faq",
    "tunesmith prepare tickets.jsonl --out prepared/tickets --prompt-key subject --completion-key reply",
    "tunesmith prepare votes.csv --out prepared/votes --prompt-key query --chosen-key winner --rejected-key loser",
    "tunesmith prepare tunesmith-faq --out prepared/tunesmith-faq",
)
