"""Options that several verbs share, each with one name and one help text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

RUNS_DIR = Path("runs")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16"], typer.Option("--dtype", help="Compute type; `auto` is bfloat16 where the device has it.")
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute; `auto` is the GPU if there is one.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, such as runs/faq.", show_default=False)]

COLUMNS, READING = "Columns and template", "Reading"
"""Panels of the verbs that read a user's files."""

PromptKey = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column with the prompt. [default: recognised]", rich_help_panel=COLUMNS)
]
CompletionKey = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column with the right answer. [default: recognised]", rich_help_panel=COLUMNS)
]
InputKey = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column with input that follows the prompt. [default: recognised]", rich_help_panel=COLUMNS),
]
ChosenKey = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column with the better answer of a pair. [default: recognised]", rich_help_panel=COLUMNS),
]
RejectedKey = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column with the worse answer of a pair. [default: recognised]", rich_help_panel=COLUMNS),
]
LabelKey = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column that says whether the answer is desirable: true or false, 1 or 0. [default: recognised]",
        rich_help_panel=COLUMNS,
    ),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Encoding of text files. [default: utf-8]", rich_help_panel=READING)]
Kind = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What the files are: slack, chat, transcript, support, faq, documents, pdf, docx, seed-tasks. [default: recognised]",
        rich_help_panel=READING,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which split of a data set folder or hub data set to read. [default: the only one, or train]",
        rich_help_panel=READING,
    ),
]
LIMITS = "How much, and what it may cost"
"""Panel of the verbs that ask chat models."""

BudgetTokens = Annotated[
    int | None, typer.Option(metavar="N", help="Most tokens of all requests together. [default: no limit]", rich_help_panel=LIMITS)
]
BudgetCost = Annotated[
    float | None, typer.Option(metavar="X", help="Most money, by the two prices. [default: no limit]", rich_help_panel=LIMITS)
]
PricePrompt = Annotated[
    float | None, typer.Option(metavar="X", help="Price of a million prompt tokens. [default: 0]", rich_help_panel=LIMITS)
]
PriceCompletion = Annotated[
    float | None, typer.Option(metavar="X", help="Price of a million tokens of replies. [default: 0]", rich_help_panel=LIMITS)
]
AGAINST_HELP = "Look for the questions of benchmarks in this file or folder, laid out as on the hub; may come again. [default: none]"
"""Of `--against`, which stands in another panel of each verb."""

BUILTIN = "tunesmith-faq"
"""Names the data set that ships with tunesmith where a file is expected."""


def comma_separated(option: str | None) -> tuple[str, ...] | None:
    """`a, b` -> two names; None where the option is not given."""
    return None if option is None else tuple(name for part in option.split(",") if (name := part.strip()))


def named_files(files: Sequence[str] | None) -> list[str | Path]:
    """What the user named, the built-in data set as its file."""
    from tunesmith.data.builtin import builtin_data_file

    return [builtin_data_file() if name == BUILTIN else name for name in files or ()]
