"""Where words go: results to standard output, everything else to standard error.

    say("reading faq.csv")        # standard error
    print("the result")           # standard output
    print_json({"a": 1})          # standard output, the only thing there under --json

Colours and wrapping only where a person looks on: rich honours NO_COLOR, FORCE_COLOR and terminals that can do nothing.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console(*, to_stdout: bool = False) -> Console:
    """A rich console that takes text as it is: no markup, no highlighting, no wrapping where nobody looks on."""
    from rich.console import Console

    made = Console(stderr=not to_stdout, markup=False, highlight=False, emoji=False)
    made.soft_wrap = not made.is_terminal
    return made


def say(text: str) -> None:
    """A sentence for the person."""
    console().print(text)


def complain(text: str) -> None:
    """An error, one paragraph."""
    from rich.text import Text

    console().print(Text.assemble(("error: ", "bold red"), text))


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """The one document of a verb called with --json."""
    print(json.dumps(document, ensure_ascii=False, indent=2))


def suggest(*commands: Sequence[str | Path]) -> None:
    """Command lines to go on with, quoted for a shell and never wrapped."""
    screen = console()
    for number, command in enumerate(commands):
        line = shlex.join(str(word) for word in ("tunesmith", *command))
        screen.print(f"{'next:' if number == 0 else '':5} {line}", style="dim", soft_wrap=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Aligned columns as plain lines, never cut or wrapped; `right` are the positions of columns set flush right."""
    from rich.cells import cell_len

    widths = [max(cell_len(row[position]) for row in (head, *rows)) for position in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        return "  ".join(
            pad + cell if i in right else cell + pad for i, (cell, pad) in enumerate(zip(cells, padding, strict=True))
        ).rstrip()

    return [line(row) for row in (head, *rows)]


def make_streams_tolerant() -> None:
    """Replace what a terminal's encoding cannot show, and write UTF-8 into files and pipes, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")
