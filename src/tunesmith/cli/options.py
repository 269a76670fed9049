"""Options that several verbs share, each with one name and one help text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

RUNS_DIR = Path("runs")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16"], typer.Option("--dtype", help="Compute type; `auto` is bfloat16 where the device has it.")
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to compute; `auto` is the GPU if there is one.")]
VLLM_OPTIONS = "With --engine vllm: further words of its own, such as '--gpu-memory-utilization 0.5'. [default: none]"
VllmOptions = Annotated[str | None, typer.Option(metavar="TEXT", help=VLLM_OPTIONS)]
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


class ChatOptions(NamedTuple):
    """The options of asking a chat model, for a verb's signature: `temperature: Annotated[float | None, ASKING.temperature] = None`."""

    endpoint: Any
    endpoint_model: Any
    api_key_variable: Any
    temperature: Any
    max_new_tokens: Any
    concurrency: Any
    timeout_seconds: Any
    max_attempts: Any


def chat_options(panel: str, *, name: str, name_panel: str | None = None, temperature: str, max_attempts: str) -> ChatOptions:
    """Under the verb's own panel.

    Args:
        panel: heading in the help.
        name: of the option that says who is asked, `--judge`; `--judge-model` belongs to it.
        name_panel: another heading for that one.
        temperature: help of this option, since defaults differ.
        max_attempts: the same.
    """

    def option(*names: str, metavar: str, text: str, under: str = panel) -> Any:
        return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=under)

    who = "An OpenAI-compatible endpoint such as http://localhost:11434/v1, or a model on this machine. [default: none]"
    key = "The environment variable that holds the key. [default: OPENAI_API_KEY]"
    return ChatOptions(
        endpoint=option(name, metavar="URL|MODEL", text=who, under=name_panel or panel),
        endpoint_model=option(f"{name}-model", metavar="NAME", text="The model's name at the endpoint. [default: none]"),
        api_key_variable=option(metavar="NAME", text=key),
        temperature=option(metavar="X", text=temperature),
        max_new_tokens=option(metavar="N", text="Longest reply, in tokens. [default: 1024]"),
        concurrency=option(metavar="N", text="Requests at the same time. [default: 4]"),
        timeout_seconds=option("--timeout", metavar="SECONDS", text="Of one request. [default: 120]"),
        max_attempts=option(metavar="N", text=max_attempts),
    )


IncludeEarlier = Annotated[
    bool, typer.Option("--include-earlier", help="Count what was said of answers that the runs gave before they were evaluated again.")
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
