"""`tunesmith evaluate`: base against tuned on the held-out examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Device, Dtype, Json, Run
from tunesmith.cli.progress import stages, waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, suggest
from tunesmith.errors import GateError

if TYPE_CHECKING:
    from tunesmith.evaluate.report import EvaluationReport
    from tunesmith.runs import RunDirectory


def evaluate(
    run: Run,
    split: Annotated[
        Literal["test", "validation", "train"] | None, typer.Option(help="Which examples to evaluate on. [default: test]")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Evaluate a seeded sample of this many examples. [default: all]")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(metavar="N", help="Most tokens in an answer. [default: 256]")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Prompts answered together. [default: 64]")] = None,
    confidence: Annotated[float | None, typer.Option(metavar="X", help="Of the intervals. [default: 0.95]")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the sample and the intervals. [default: 0]")] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    require: Annotated[
        Literal["better"] | None,
        typer.Option(help="Exit with 3 unless the tuned model is better than the base, for scripts.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let base and tuned model answer the held-out examples, and say whether the tuned one is better, worse, or cannot be told apart."""
    from tunesmith.config import EvaluateConfig, build
    from tunesmith.runs import open_run

    generation = {"max_new_tokens": max_new_tokens, "batch_size": batch_size}
    settings = {
        "split": split,
        "limit": limit,
        "confidence": confidence,
        "seed": seed,
        "generation": {key: value for key, value in generation.items() if value is not None},
    }
    config, opened = build(EvaluateConfig, settings, place="evaluate"), open_run(run)
    with waiting("loading torch and transformers"):
        from tunesmith.evaluate.evaluate import evaluate_run
    with stages() as on_progress:
        report = evaluate_run(opened, config, dtype=dtype, device=device, say=say, on_progress=on_progress)
    if as_json:
        print_json({"html": str(opened.html_report_file), **report.to_json()})
    else:
        for line in (*report.summary_lines(), "", f"report: {opened.html_report_file}"):
            print_wrapped(line)
        suggest(["analyze", run])
    if require:
        require_better(report, opened)


def require_better(report: EvaluationReport, run: RunDirectory) -> None:
    """Raise a GateError unless the report's verdict is better."""
    if report.verdict != "better":
        raise GateError(
            str(run.path),
            f"the verdict is `{report.verdict}` ({'; '.join(comparison.sentence for comparison in report.headline)})",
            expected="better, as --require says",
            remedy=f"see what goes wrong with `tunesmith analyze {run.path}`",
        )


command = verb(
    evaluate,
    "RUN",
    "tunesmith evaluate runs/faq",
    "tunesmith evaluate runs/faq --limit 50 --max-new-tokens 64",
    "tunesmith evaluate runs/faq --require better --json > report.json",
)
