"""`tunesmith check`: what is wrong with your files, before anything is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import (
    AGAINST_HELP,
    READING,
    ChosenKey,
    CompletionKey,
    Encoding,
    InputKey,
    Json,
    Kind,
    LabelKey,
    PromptKey,
    RejectedKey,
    Split,
    comma_separated,
    named_files,
)
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import console, harmless, is_terminal, print_json, suggest
from tunesmith.errors import DataError, GateError

if TYPE_CHECKING:
    from tunesmith.data.check import Checked
    from tunesmith.data.checks import CheckContext, Finding

LOOKING = "What to look for"
STYLES = {"problem": "bold red", "warning": "bold yellow", "note": "bold"}


def check(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES...",
            help="Whatever `tunesmith prepare` reads, a directory it wrote, or `tunesmith-faq`, the data set that ships with tunesmith.",
        ),
    ] = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Count tokens as this model does, and look for examples longer than its context. [default: words]",
            rich_help_panel=LOOKING,
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Tokens an example may have. [default: the model's context, at most 2,048]", rich_help_panel=LOOKING
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Run these checks alone, separated by commas. [default: all but pii-names]", rich_help_panel=LOOKING
        ),
    ] = None,
    also: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Run these checks too, such as pii-names. [default: none]", rich_help_panel=LOOKING)
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(
            metavar="CODES",
            help="Languages that are meant to be there, such as en,de. [default: those of a tenth of the examples]",
            rich_help_panel=LOOKING,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help=AGAINST_HELP,
            rich_help_panel=LOOKING,
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Find topics with a sentence model, such as all-minilm-l6-v2, instead of by words. [default: by words]",
            rich_help_panel=LOOKING,
        ),
    ] = None,
    near_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Similarity from which two texts count as nearly the same; 1 looks for none. [default: 0.8]",
            rich_help_panel=LOOKING,
        ),
    ] = None,
    prompt_key: PromptKey = None,
    completion_key: CompletionKey = None,
    input_key: InputKey = None,
    chosen_key: ChosenKey = None,
    rejected_key: RejectedKey = None,
    label_key: LabelKey = None,
    encoding: Encoding = None,
    kind: Kind = None,
    split: Split = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Look at a seeded sample of this many rows. [default: all]", rich_help_panel=READING)
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with plots. [default: none]")] = None,
    fail_on: Annotated[
        Literal["problem", "warning"] | None,
        typer.Option(help="Exit with 3 when there is a finding so bad, for scripts. [default: never]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at your files and say what is wrong with them, worst first, with specimens. Nothing is changed.

    Every finding names the option of `tunesmith prepare` that drops or fixes what it is about.
    """
    from tunesmith.config import PrepareConfig, build
    from tunesmith.data.check import check_files, check_prepared, is_prepared
    from tunesmith.data.reading.benchmarks import find_suites

    reading = {
        "prompt_key": prompt_key,
        "completion_key": completion_key,
        "input_key": input_key,
        "chosen_key": chosen_key,
        "rejected_key": rejected_key,
        "label_key": label_key,
        "encoding": encoding,
        "kind": kind,
        "limit": limit,
        "near_threshold": near_threshold,
        "on_invalid": "drop",
    }
    config = build(PrepareConfig, reading, place="check")
    sources = named_files(files)
    names = _names(only, also)
    _require_writable(html)
    context = replace(_context(model, max_length, languages), threshold=config.near_threshold)
    context = replace(context, benchmarks=find_suites(against or ()), embeddings=embeddings)
    with waiting("looking at the examples"):
        if len(sources) == 1 and is_prepared(sources[0]):
            checked = check_prepared(Path(sources[0]), context, names=names)
        else:
            checked = check_files(sources, config, context, names=names, split=split)
    if html is not None:
        _write_page(html, checked, sources)
    if as_json:
        print_json(checked.to_json())
    else:
        show(checked, html)
    _require(checked.findings, fail_on, " ".join(map(str, sources)))


def _names(only: str | None, also: str | None) -> tuple[str, ...] | None:
    """The checks to run; None for those of every day."""
    if only is None and also is None:
        return None
    from tunesmith.data.checks import default_checks
    from tunesmith.data.checks.registry import require_checks

    chosen = comma_separated(only)
    wanted = [*(default_checks() if chosen is None else chosen), *(comma_separated(also) or ())]
    require_checks(wanted)
    return tuple(dict.fromkeys(wanted))


def _context(model: str | None, max_length: int | None, languages: str | None) -> CheckContext:
    from tunesmith.data.checks import CheckContext

    meant = frozenset(comma_separated(languages) or ())
    if model is None:
        return CheckContext(max_tokens=max_length, languages=meant)
    from tunesmith.cli.preview import open_reader

    with waiting("loading the tokenizer"):
        reader = open_reader(model, None, "auto")
    return CheckContext(
        max_tokens=max_length or reader.max_length,
        count_tokens=TokenCounter(reader.renderer.tokenizer),
        languages=meant,
    )


@dataclass(frozen=True)
class TokenCounter:
    """How many tokens a text takes, special tokens aside."""

    tokenizer: Any

    def __call__(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)


def _require_writable(html: Path | None) -> None:
    """Before minutes of work."""
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        found = "it is a folder" if html.is_dir() else f"there is no folder {html.parent}"
        raise DataError(str(html), found, expected="the name of a file to write", remedy="correct --html")


def _write_page(html: Path, checked: Checked, sources: Sequence[str | Path]) -> None:
    from tunesmith.data.checks.page import render_page
    from tunesmith.files import write_text

    title = ", ".join(Path(source).name for source in sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")
    try:
        write_text(html, render_page(checked.to_json(), title=title))
    except OSError as error:
        found = f"it cannot be written ({error.strerror})"
        raise DataError(str(html), found, expected="a place that can be written", remedy="correct --html") from error


def show(checked: Checked, html: Path | None) -> None:
    """Findings for a person: severity and sentence, specimens dimmed, the option that changes what happens."""
    from rich.text import Text

    screen = console(to_stdout=True)
    clean: Callable[[str], str] = harmless if is_terminal() else str
    for line in checked.summary:
        screen.print(clean(line))
    screen.print(f"looked at {checked.num_examples:,} different examples")
    for one in checked.findings:
        screen.print()
        screen.print(Text.assemble((f"{one.severity:8}", STYLES[one.severity]), f"{one.check}: ", clean(one.sentence)))
        for specimen in one.specimens:
            screen.print(Text(clean(f"         {specimen.source}: {specimen.excerpt}"), style="dim"))
        if one.option:
            screen.print(Text(f"         prepare: {one.action}; to change that: {one.option}", style="cyan"))
    counts = _counts(checked.findings)
    screen.print()
    screen.print(
        ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for severity, number in counts.items()) or "nothing was found"
    )
    if html is not None:
        screen.print(f"written: {html}")
    _suggest(checked)


def _counts(findings: Sequence[Finding]) -> Mapping[str, int]:
    counts = {severity: sum(one.severity == severity for one in findings) for severity in STYLES}
    return {severity: number for severity, number in counts.items() if number}


def _suggest(checked: Checked) -> None:
    """The command that would put right what is a problem."""
    options: dict[str, list[str]] = {}
    for one in checked.findings:
        if one.severity == "problem" and one.option.startswith(("--fix ", "--drop ")):
            option, name = one.option.split(" ", 1)
            options.setdefault(option, []).append(name)
    words = [word for option, names in sorted(options.items(), reverse=True) for word in (option, ",".join(names))]
    if not checked.splits:
        suggest(["prepare", *(source["path"] for source in checked.sources), "--out", "prepared/DIR", *words])


def _require(findings: Sequence[Finding], fail_on: str | None, place: str) -> None:
    """Exit with 3 where the user asked for it.

    Raises:
        GateError: there is a finding so bad.
    """
    if fail_on is None:
        return
    bad = [one for one in findings if one.severity == "problem" or fail_on == "warning" == one.severity]
    if bad:
        found = (
            f"{len(bad)} {'finding is' if len(bad) == 1 else 'findings are'} a {fail_on} or worse: {', '.join(one.check for one in bad)}"
        )
        raise GateError(place, found, expected=f"no {fail_on}", remedy="repair the data, or leave out --fail-on")


command = verb(
    check,
    "FILES...",
    "tunesmith check faq.csv",
    "tunesmith check faq.csv --model smollm2-135m-instruct --html faq.html",
    "tunesmith check exports/*.jsonl --fail-on problem",
    "tunesmith check prepared/faq --only leakage,near-duplicates",
)
