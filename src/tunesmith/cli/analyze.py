"""`tunesmith analyze`: what still goes wrong, sorted into error groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Json, Run
from tunesmith.cli.terminal import print_json, print_wrapped

if TYPE_CHECKING:
    from tunesmith.analyze.analysis import ShownFailure


def analyze(
    run: Run,
    length_ratio: Annotated[
        float | None, typer.Option(metavar="X", help="Too long: more words than this times the reference's. [default: 2]")
    ] = None,
    repeated_share: Annotated[
        float | None, typer.Option(metavar="X", help="Repetitive: more than this share of repeated 4-grams. [default: 0.3]")
    ] = None,
    copied_share: Annotated[
        float | None, typer.Option(metavar="X", help="Copies the prompt: this share of 4-grams stands in it. [default: 0.8]")
    ] = None,
    shown: Annotated[int | None, typer.Option(metavar="N", help="Failures shown in full for each group. [default: 3]")] = None,
    as_json: Json = False,
) -> None:
    """Put every answer of an evaluation into error groups, base and tuned side by side, with what to change in the data."""
    from tunesmith.analyze.analyze import analyze_run
    from tunesmith.config import AnalyzeConfig, build
    from tunesmith.runs import open_run

    settings = {"length_ratio": length_ratio, "repeated_share": repeated_share, "copied_share": copied_share, "shown": shown}
    opened = open_run(run)
    analysis = analyze_run(opened, build(AnalyzeConfig, settings, place="analyze"))
    if as_json:
        print_json({"directory": str(opened.analysis_dir), **analysis.to_json()})
        return
    for group in analysis.groups:
        for number, failure in enumerate(group.shown, start=1):
            print_wrapped(f"{group.title}, {number} of {group.num_tuned}: {failure.explanation}")
            _print_failure(failure)
    for line in (*analysis.summary_lines(), "", f"every failure: {opened.analysis_dir}; on the page: {opened.html_report_file}"):
        print_wrapped(line)


def _print_failure(failure: ShownFailure) -> None:
    texts = {"from": failure.source, "asked": failure.prompt, "right": failure.reference, "tuned": failure.completion or "(nothing)"}
    for label, text in texts.items():
        first, *more = text.splitlines() or [""]
        print_wrapped(first, label=f"  {label:>5}  ")
        for line in more:
            print_wrapped(line, label=" " * 9)
    print()


command = verb(analyze, "RUN", "tunesmith analyze runs/faq", "tunesmith analyze runs/faq --shown 10 --length-ratio 3")
