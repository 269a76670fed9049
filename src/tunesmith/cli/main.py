"""The `tunesmith` command: the verbs in the order one uses them, and what becomes of errors.

    >>> main(["train", "nowhere", "--model", "smollm2-135m-instruct"])
    error: nowhere: there is no such directory; expected a directory with a manifest.json. To go on: …
    2

Importing this module must stay quick (`tunesmith --help` answers in a tenth of a second): typer and nothing of ours but the
errors. A verb's module is imported when the verb is used, and itself imports what is heavy inside its function.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from tunesmith.cli.command import SETTINGS, Group, usage_error_type
from tunesmith.cli.terminal import complain, leave_speaking_to_first, make_streams_tolerant, say, suggest
from tunesmith.errors import ConfigError, TrainingInterrupted, TunesmithError

VERBS = {
    "demo": "The whole loop on the built-in data set, in a few minutes.",
    "check": "Say what is wrong with your files, and what would repair it.",
    "prepare": "Turn your files into a checked and split data set.",
    "synthesize": "Make new examples from documents, seeds, or the examples there are.",
    "preview": "See what the model will see, the tokens it learns from coloured.",
    "estimate": "Say how long training takes, how much memory it needs, and on how many processes it fits.",
    "train": "Tune a model on a prepared data set.",
    "generate": "Give a model a prompt or a file of prompts, or chat with it.",
    "evaluate": "Compare base and tuned model on the held-out examples.",
    "benchmark": "Ask public benchmarks: ARC, HellaSwag, MMLU, TruthfulQA and others.",
    "baseline": "Compare with what prompting, retrieval or a larger model would do.",
    "judge": "Have a chat model say which answers are better, and how far to trust it.",
    "rate": "Compare or score answers yourself, blind, and see how much raters agree.",
    "rank": "Rank models by votes of people, judges or metrics.",
    "analyze": "Sort what still goes wrong into named error groups.",
    "probe": "Ask off-topic prompts, and for private strings of the training data.",
    "sweep": "Train many times: a learning curve, models and settings side by side.",
    "export": "Write a tuned model for transformers, llama.cpp, Ollama or the hub.",
    "publish": "Put a prepared data set on the hub, or write it for a hosted tuner.",
    "guard": "Try rules for prompts and answers on your data before serving with them.",
    "serve": "Answer through OpenAI's API: tuned models and their bases, by name.",
    "studio": "See runs and data sets in the browser, follow training, start runs.",
    "runs": "List your runs, show or compare them, see how one led to the next.",
    "models": "List the models known by name, or accept a model's terms.",
}
"""In the order one uses them. Each is a module of this package."""

INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell makes of a program that its reader has left (128 + SIGPIPE)."""


class Verbs(Group):
    """Imports a verb's module when the verb is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in VERBS:
            close = difflib.get_close_matches(cmd_name, VERBS, n=1)
            remedy = f"perhaps you mean `tunesmith {close[0]}`" if close else "`tunesmith` alone says what each is for"
            raise ConfigError("tunesmith", f"there is no verb {cmd_name!r}", expected=f"one of {', '.join(VERBS)}", remedy=remedy)
        return import_module(f"tunesmith.cli.{cmd_name}").command

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        del ctx
        return ["VERB", "[OPTIONS]"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self.format_commands(ctx, formatter)
        formatter.write("\n`tunesmith VERB --help` has the options of each and examples; `tunesmith --version` the version.\n")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        del ctx
        with formatter.section("Verbs, in the order one uses them"):
            formatter.write_dl(list(VERBS.items()))


app = typer.Typer(cls=Verbs, add_completion=False, rich_markup_mode=None, context_settings=SETTINGS)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"tunesmith {version('tunesmith')}")
        raise typer.Exit


@app.callback()
def tunesmith(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Fine-tune a small language model on your own examples, on your own machine, and know whether it got better."""
    del version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code.

    0, 2 for a user's mistake, 3 when a gate refuses, 4 when a group of processes fell apart, 130 after Ctrl-C.
    """
    make_streams_tolerant()
    if not sys.warnoptions:  # unless asked for with -W: peft's and transformers' warnings are about their use, which is ours
        warnings.simplefilter("ignore")
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of faster kernels that could be fetched
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        code = _run_and_complain(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # here, rather than while Python ends, a reader that has left is noticed
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more while it ends
        return BROKEN_PIPE
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    return code


def _run_and_complain(arguments: Sequence[str]) -> int:
    try:
        leave_speaking_to_first()
        return _run(arguments)
    except TrainingInterrupted as stop:  # asked for, so no error
        say(f"{stop.place}: {stop.found}")
        suggest(["train", "--resume", stop.place])
        return stop.exit_code
    except TunesmithError as error:
        complain(str(error))
        return error.exit_code


def _run(arguments: Sequence[str]) -> int:
    """Parse and invoke; typer's own errors become ours."""
    group = typer.main.get_command(app)
    try:
        with group.make_context("tunesmith", list(arguments) or ["--help"], obj=tuple(arguments)) as context:
            group.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except typer.Abort:  # Ctrl-C or Ctrl-D at a question
        raise KeyboardInterrupt from None
    except usage_error_type() as error:
        raise _from_usage_error(error) from None
    return 0


def _from_usage_error(error: Any) -> ConfigError:
    message = " ".join(error.format_message().split()).rstrip(".?")
    for from_pydantic, ours in (("Value error, ", ""), ("Input should be", "it should be")):
        message = message.replace(from_pydantic, ours)
    place, usage = "tunesmith", "tunesmith VERB …"
    if error.ctx is not None:
        place = error.ctx.command_path
        usage = " ".join(error.ctx.get_usage().removeprefix("Usage:").split())
    return ConfigError(place, message[:1].lower() + message[1:], expected=f"`{usage}`", remedy=f"see `{place} --help`")
