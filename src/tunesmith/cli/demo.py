"""`tunesmith demo`: the whole loop on the embedded default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Json
from tunesmith.cli.progress import Watch, stages, waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, suggest
from tunesmith.errors import ConfigError


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to write; it must not exist yet.")] = Path(
        "tunesmith-demo"
    ),
    epochs: Annotated[float | None, typer.Option(metavar="X", help="Passes over the training split. [default: 2]")] = None,
    as_json: Json = False,
) -> None:
    """Prepare, preview, train, evaluate and analyse on the built-in questions and answers, and show what came of it."""
    if epochs is not None and epochs <= 0:
        raise ConfigError("demo", f"--epochs {epochs:g}", expected="more than 0", remedy="correct it")
    with waiting("loading torch and transformers"):
        from tunesmith.demo import EPOCHS, run_demo

    with stages() as on_progress:
        result = run_demo(out, observer=Watch(), say=say, on_progress=on_progress, epochs=epochs or EPOCHS)
    if as_json:
        print_json(result.record())
        return
    for line in result.lines():
        print_wrapped(line)
    suggest(["generate", result.run.path], ["runs", "--runs-dir", result.run.path.parent])


command = verb(demo, "", "tunesmith demo", "tunesmith demo --out quick-demo --epochs 1")
