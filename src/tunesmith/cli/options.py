"""Options that several verbs share, each with one name and one help text."""

from __future__ import annotations

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
