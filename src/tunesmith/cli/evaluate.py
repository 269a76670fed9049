"""`tunesmith evaluate`: base against tuned on the held-out examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.group import Processes, check_engine, start_group
from tunesmith.cli.options import Device, Dtype, Json, Run, VllmOptions
from tunesmith.cli.progress import stages, waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, suggest
from tunesmith.errors import ConfigError, GateError
from tunesmith.evaluate.scorers import DESCRIPTIONS

if TYPE_CHECKING:
    from tunesmith.evaluate.report import EvaluationReport
    from tunesmith.runs import RunDirectory


def evaluate(
    context: typer.Context,
    run: Run,
    split: Annotated[
        Literal["test", "validation", "train"] | None, typer.Option(help="Which examples to evaluate on. [default: test]")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="Evaluate a seeded sample of this many examples. [default: all]")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(metavar="N", help="Most tokens in an answer. [default: 256]")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Prompts answered together. [default: 64]")] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Score answers with one of those; may come again, the first decides. [default: by the data]"),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=X", help="Weight of a scorer in one number that then decides; may come again. [default: none]"),
    ] = None,
    embeddings: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Sentence model of embedding_similarity. [default: all-minilm-l6-v2]")
    ] = None,
    confidence: Annotated[float | None, typer.Option(metavar="X", help="Of the intervals. [default: 0.95]")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the sample and the intervals. [default: 0]")] = None,
    rescore: Annotated[
        bool,
        typer.Option("--rescore", help="Score the last evaluation's answers anew, asking no model; what is not given is as it was."),
    ] = False,
    engine: Annotated[
        Literal["tunesmith", "vllm"] | None,
        typer.Option(
            help="Who writes the answers: our own generation, or a vLLM that is started for it. Losses are always our "
            "own. [default: tunesmith]"
        ),
    ] = None,
    vllm_options: VllmOptions = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    require: Annotated[
        Literal["better"] | None,
        typer.Option(help="Exit with 3 unless the tuned model is better than the base, for scripts.", show_default=False),
    ] = None,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Let base and tuned model answer the held-out examples, and say whether the tuned one is better, worse, or cannot be told apart."""
    from tunesmith.config import EvaluateConfig, build
    from tunesmith.runs import open_run

    generation = {"max_new_tokens": max_new_tokens, "batch_size": batch_size}
    settings = {
        "engine": engine,
        "vllm_options": vllm_options,
        "split": split,
        "limit": limit,
        "scorers": scorer or None,
        "weights": _weights(weight),
        "embeddings": embeddings,
        "confidence": confidence,
        "seed": seed,
        "generation": {key: value for key, value in generation.items() if value is not None},
    }
    config, opened = build(EvaluateConfig, settings, place="evaluate"), open_run(run)
    if rescore and (dtype, device, processes) != ("auto", "auto", None):
        found = "--dtype, --device or --processes with it"
        raise ConfigError("--rescore", found, expected="none of them: no model is asked", remedy="leave them out, or answer anew")
    check_engine(engine, vllm_options, processes)
    start_group(context, processes)
    with waiting("loading torch and transformers"):
        from tunesmith.distributed.group import joined
        from tunesmith.evaluate.evaluate import evaluate_run, rescore_run
    if rescore:
        with joined("cpu") as group:  # under torchrun one process is enough
            report = group.from_first(lambda: rescore_run(opened, config, say=say))
    else:
        with stages() as on_progress:
            report = evaluate_run(opened, config, dtype=dtype, device=device, say=say, on_progress=on_progress)
    if as_json:
        print_json({"html": str(opened.html_report_file), **report.to_json()})
    else:
        for line in (*report.summary_lines(), "", f"report: {opened.html_report_file}"):
            print_wrapped(line)
        print_wrapped(f"for a model card: {opened.markdown_report_file}")
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


def _weights(options: Sequence[str] | None) -> dict[str, float] | None:
    """`chrf=2` of the command line; the scorer's name may hold equals signs.

    Raises:
        ConfigError: there is no number.
    """
    weights = {}
    for option in options or ():
        name, equals, number = option.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise ConfigError("--weight", f"{option!r}", expected="NAME=X with a number X", remedy="write for example chrf=2")
    return weights or None


def _scorer_lines() -> str:
    """What can be named, kept as it stands by the help's formatter."""
    width = max(map(len, DESCRIPTIONS))
    return "\n\n\b\nScorers:\n" + "\n".join(f"  {name:{width}}  {text}" for name, text in DESCRIPTIONS.items())


evaluate.__doc__ = f"{evaluate.__doc__}{_scorer_lines()}"

command = verb(
    evaluate,
    "RUN",
    "tunesmith evaluate runs/faq",
    "tunesmith evaluate runs/faq --limit 50 --max-new-tokens 64",
    "tunesmith evaluate runs/faq --scorer json_fields --scorer json_valid",
    "tunesmith evaluate runs/faq --scorer chrf --scorer polite.py:polite --weight chrf=2 --weight polite.py:polite=1",
    "tunesmith evaluate runs/faq --rescore --scorer polite.py:polite",
    "tunesmith evaluate runs/faq --require better --json > report.json",
    "tunesmith evaluate runs/faq --processes 4",
    "tunesmith evaluate runs/faq --engine vllm",
)
