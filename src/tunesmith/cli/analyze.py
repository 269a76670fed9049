"""`tunesmith analyze`: what still goes wrong, sorted into error groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Json, Run
from tunesmith.cli.terminal import print_json, print_wrapped
from tunesmith.errors import RunError

if TYPE_CHECKING:
    from tunesmith.analyze.analysis import Analysis, ShownFailure
    from tunesmith.config import AnalyzeConfig
    from tunesmith.runs import RunDirectory


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
    from tunesmith.analyze.analysis import write_analysis
    from tunesmith.config import AnalyzeConfig, build
    from tunesmith.runs import open_run

    settings = {"length_ratio": length_ratio, "repeated_share": repeated_share, "copied_share": copied_share, "shown": shown}
    opened = open_run(run)
    analysis = analyze_run(opened, build(AnalyzeConfig, settings, place="analyze"))
    write_analysis(opened, analysis)
    if as_json:
        print_json({"directory": str(opened.analysis_dir), **analysis.to_json()})
        return
    for group in analysis.groups:
        for number, failure in enumerate(group.shown, start=1):
            print_wrapped(f"{group.title}, {number} of {group.num_tuned}: {failure.explanation}")
            _print_failure(failure)
    for line in (*analysis.summary_lines(), "", f"every failure: {opened.analysis_dir}"):
        print_wrapped(line)


def analyze_run(run: RunDirectory, config: AnalyzeConfig) -> Analysis:
    """Analyse a run's latest evaluation.

    Raises:
        RunError: the run was not evaluated, or its data set has changed since.
        DataError: its data set is gone.
    """
    from tunesmith.analyze.analysis import analyze_records
    from tunesmith.data.prepared import load_prepared
    from tunesmith.evaluate.records import read_records

    if not run.evaluation_records_file.is_file():
        remedy = f"run `tunesmith evaluate {run.path}` first"
        raise RunError(str(run.path), "the run has not been evaluated", expected="evaluation records", remedy=remedy)
    expected = run.record()["data"]
    data = load_prepared(Path(expected["directory"]))
    if data.fingerprint != expected["fingerprint"]:
        found = f"the data set {data.directory} has changed since the run (fingerprint {data.fingerprint})"
        remedy = "restore the data set: redirections and vocabulary are learnt from what was trained on"
        raise RunError(str(run.path), found, expected=f"fingerprint {expected['fingerprint']}", remedy=remedy)
    report = json.loads(run.evaluation_report_file.read_text(encoding="utf-8"))
    threshold = report["settings"]["right_threshold"]
    return analyze_records(read_records(run.evaluation_records_file), data.train, config, right_threshold=threshold)


def _print_failure(failure: ShownFailure) -> None:
    texts = {"from": failure.source, "asked": failure.prompt, "right": failure.reference, "tuned": failure.completion or "(nothing)"}
    for label, text in texts.items():
        first, *more = text.splitlines() or [""]
        print_wrapped(first, label=f"  {label:>5}  ")
        for line in more:
            print_wrapped(line, label=" " * 9)
    print()


command = verb(analyze, "RUN", "tunesmith analyze runs/faq", "tunesmith analyze runs/faq --shown 10 --length-ratio 3")
