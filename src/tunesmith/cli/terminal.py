"""Where words go: results to standard output, everything else to standard error.

    say("reading faq.csv")        # standard error
    print("the result")           # standard output
    print_json({"a": 1})          # standard output, the only thing there under --json

Colours and wrapping only where a person looks on: rich honours NO_COLOR, FORCE_COLOR and terminals that can do nothing.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.distributed.environment import place_of_this_process

if TYPE_CHECKING:
    from rich.console import Console


CONTROL_PICTURES = (
    {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    | {127: 0x2421}
    | {code: 0x241B if code == 155 else 0xFFFD for code in range(128, 160)}  # C1: a terminal may obey them too
)
"""ESC is shown as ␛, and so on: what a model or a data set says must not steer the terminal."""


def leave_speaking_to_first() -> None:
    """In a group of processes all ranks but the first fall silent, but for their errors.

    Raises:
        GroupError: the environment's variables about the group contradict each other.
    """
    if _rank():
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end of the process


def _rank() -> int:
    """Of this process in its group; 0 for one that is alone."""
    place = place_of_this_process()
    return place.rank if place else 0


def console(*, to_stdout: bool = False) -> Console:
    """A rich console that takes text as it is: no markup, no highlighting, no wrapping where nobody looks on."""
    from rich.console import Console

    if _rank():
        return Console(file=sys.stdout)
    sys.stdout.flush()  # what was printed before comes before, where both streams go into one file
    made = Console(stderr=not to_stdout, markup=False, highlight=False, emoji=False)
    made.soft_wrap = not made.is_terminal
    return made


def say(text: str) -> None:
    """A sentence for the person."""
    console().print(text)


def complain(text: str) -> None:
    """An error, one paragraph."""
    from rich.text import Text

    if rank := _rank():
        print(f"rank {rank}: error: {text}", file=sys.stderr)
        return
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


def is_terminal() -> bool:
    """Whether a person sees the results as they are printed."""
    return sys.stdout.isatty()


def harmless(text: str) -> str:
    """Text of a model or a data set for a terminal: control characters become pictures of themselves."""
    return text.translate(CONTROL_PICTURES)


def print_wrapped(text: str, *, label: str = "") -> None:
    """A paragraph of a result under a hanging label; in a terminal broken between words, elsewhere not at all."""
    columns = shutil.get_terminal_size().columns
    text = harmless(text) if is_terminal() else text
    if is_terminal() and len(label) + len(text) > columns:
        indent = " " * len(label)
        text = textwrap.fill(text, columns, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        text = text[len(indent) :]
    print(f"{label}{text}".rstrip())


def make_streams_tolerant() -> None:
    """Replace what a terminal's encoding cannot show, and write UTF-8 into files and pipes, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")
