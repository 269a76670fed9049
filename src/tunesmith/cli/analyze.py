"""`tunesmith analyze`: what still goes wrong, or would without training, sorted into error groups, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Device, Dtype, Json
from tunesmith.cli.progress import stages, waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tunesmith.analyze.judging import Judge
    from tunesmith.analyze.results import Analysis, ShownFailure

GROUPS, BEFORE, JUDGE = "Error groups", "Before training, with --model", "Judge"


def analyze(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|DATA...", help="An evaluated run; or with --model a prepared data set, or files of examples.", show_default=False
        ),
    ],
    length_ratio: Annotated[
        float | None,
        typer.Option(metavar="X", help="Too long: more words than this times the reference's. [default: 2]", rich_help_panel=GROUPS),
    ] = None,
    repeated_share: Annotated[
        float | None,
        typer.Option(metavar="X", help="Repetitive: more than this share of repeated 4-grams. [default: 0.3]", rich_help_panel=GROUPS),
    ] = None,
    compression_ratio: Annotated[
        float | None,
        typer.Option(metavar="X", help="Repetitive: zlib packs it to less than one such part. [default: 3]", rich_help_panel=GROUPS),
    ] = None,
    copied_share: Annotated[
        float | None,
        typer.Option(metavar="X", help="Copies the prompt: this share of 4-grams stands in it. [default: 0.8]", rich_help_panel=GROUPS),
    ] = None,
    memorised_share: Annotated[
        float | None,
        typer.Option(metavar="X", help="Recalls a training answer: this share of 4-grams in both. [default: 0.5]", rich_help_panel=GROUPS),
    ] = None,
    near_similarity: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="A training prompt is near a failed one from this cosine on. [default: what is usual among training prompts]",
            rich_help_panel=GROUPS,
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Sentence model; `words` compares words instead. [default: all-minilm-l6-v2]", rich_help_panel=GROUPS
        ),
    ] = None,
    severity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GROUP=SEVERITY|FILE",
            help="A group is catastrophic, major or minor; or a YAML file that says so; may come again.",
            rich_help_panel=GROUPS,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Let this model answer the data, before any training. [default: none]", rich_help_panel=BEFORE),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The directory to write. [default: beside the data, DATA-analysis-MODEL]", rich_help_panel=BEFORE),
    ] = None,
    split: Annotated[
        Literal["test", "validation", "train"] | None,
        typer.Option(help="Which examples of a prepared data set to ask. [default: test]", rich_help_panel=BEFORE),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Ask a seeded sample of this many examples. [default: 100]", rich_help_panel=BEFORE)
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens in an answer. [default: 256]", rich_help_panel=BEFORE)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Prompts answered together. [default: 64]", rich_help_panel=BEFORE)
    ] = None,
    template: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Prompt template. [default: the data set's]", rich_help_panel=BEFORE)
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="URL|MODEL",
            help="Ask a chat model which answers contradict their reference. [default: none]",
            rich_help_panel=JUDGE,
        ),
    ] = None,
    endpoint_model: Annotated[
        str | None,
        typer.Option("--judge-model", metavar="NAME", help="The model's name at the endpoint. [default: none]", rich_help_panel=JUDGE),
    ] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens of all requests together. [default: no limit]", rich_help_panel=JUDGE)
    ] = None,
    shown: Annotated[int | None, typer.Option(metavar="N", help="Failures shown in full for each group. [default: 3]")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of samples and clusterings. [default: 0]")] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Put every answer of an evaluation into error groups, base and tuned side by side, with what to change in the data.

    With --model no run is needed: the model answers held-out examples of the data as it is, so that one knows before training
    which examples would help it most.
    """
    from tunesmith.analyze.severity import read_severities
    from tunesmith.config import AnalyzeConfig, build

    settings = {
        "length_ratio": length_ratio,
        "repeated_share": repeated_share,
        "compression_ratio": compression_ratio,
        "copied_share": copied_share,
        "memorised_share": memorised_share,
        "near_similarity": near_similarity,
        "embeddings": embeddings,
        "severity": read_severities(severity or ()),
        "shown": shown,
        "seed": seed,
    }
    config = build(AnalyzeConfig, settings, place="analyze")
    judging = {"endpoint": endpoint, "endpoint_model": endpoint_model, "budget_tokens": budget_tokens, "seed": seed}
    if model is None:
        _refuse_without_model(
            {"--out": out, "--split": split, "--limit": limit, "--max-new-tokens": max_new_tokens, "--template": template}
        )
        directory, analysis = _of_run(sources, config, judging)
    else:
        generation = {"max_new_tokens": max_new_tokens, "batch_size": batch_size}
        asked = {"split": split, "limit": limit or 100, "seed": seed, "generation": _given(generation)}
        directory, analysis = _of_model(model, sources, out, config, asked, judging, template=template, dtype=dtype, device=device)
    if as_json:
        print_json({"directory": str(directory), **analysis.to_json()})
        return
    _print(analysis, directory)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _refuse_without_model(options: dict[str, Any]) -> None:
    from tunesmith.errors import ConfigError

    given = [name for name, value in options.items() if value is not None]
    if given:
        found = f"{given[0]} is given, which is about answers yet to be made"
        raise ConfigError("analyze", found, expected="an evaluated run alone", remedy=f"leave it out, or name a --model with {given[0]}")


def _of_run(sources: Sequence[str], config: Any, judging: dict[str, Any]) -> tuple[Path, Analysis]:
    from tunesmith.analyze.analyze import analyze_run
    from tunesmith.errors import ConfigError
    from tunesmith.runs import is_run, open_run

    path = Path(sources[0])
    if len(sources) > 1 or (path.exists() and not is_run(path)):
        found = f"{' '.join(sources)}: no run"
        raise ConfigError("analyze", found, expected="one evaluated run, or data and --model", remedy="add --model NAME to ask a model")
    run = open_run(path)
    with waiting("analysing"):
        return run.analysis_dir, analyze_run(run, config, judge=_judge(judging))


def _of_model(
    model: str,
    sources: Sequence[str],
    out: Path | None,
    config: Any,
    asked: dict[str, Any],
    judging: dict[str, Any],
    **opening: Any,
) -> tuple[Path, Analysis]:
    from tunesmith.config import EvaluateConfig, build

    evaluation = build(EvaluateConfig, asked, place="analyze")
    with waiting("loading torch and transformers"):
        from tunesmith.analyze.before import analyze_model, default_out
    directory = out or default_out(sources[0], model)
    with stages() as on_progress:
        analysis = analyze_model(
            model, sources, directory, config, evaluation, judge=_judge(judging), say=say, on_progress=on_progress, **opening
        )
    return directory, analysis


def _judge(judging: dict[str, Any]) -> Judge | None:
    from tunesmith.config import JudgeConfig, build

    if judging["endpoint"] is None:
        return None
    with waiting("loading the judge"):
        from tunesmith.analyze.judging import Judge
        from tunesmith.chat.models import choose_chat_model

        config = build(JudgeConfig, judging, place="analyze")
        return Judge(model=choose_chat_model(config, say), config=config)


def _print(analysis: Analysis, directory: Path) -> None:
    from tunesmith.analyze.lines import lines_of

    rest = {failure.id for group in analysis.groups if group.is_found for failure in group.shown}
    for group in analysis.groups:
        for number, failure in enumerate(group.shown, start=1):
            if group.name == "unlike_reference" and failure.id in rest:
                continue  # shown in the part of this group that is about the same
            print_wrapped(f"{group.title}, {number} of {len(group.members)}: {failure.explanation}")
            _print_failure(failure, analysis.focus)
    for line in lines_of(analysis):
        print_wrapped(line)
    print()
    for line in _where(directory):
        print_wrapped(line)


def _where(directory: Path) -> Iterator[str]:
    import json

    yield f"every failure: {directory / 'records.jsonl'}; what to do: {directory / 'actions.json'}"
    review = json.loads((directory / "actions.json").read_text(encoding="utf-8"))["review"]
    if review:
        yield f"training rows to drop or edit: {review['file']}; look through it, then"
        yield f"  {review['command'] or 'prepare your files with --review and this table'}"
    page = directory.parent / "evaluation" / "report.html"
    if page.is_file():
        yield f"on the page: {page}"


def _print_failure(failure: ShownFailure, label: str) -> None:
    texts = {"from": failure.source, "asked": failure.prompt, "right": failure.reference, label: failure.completion or "(nothing)"}
    for name, text in texts.items():
        first, *more = text.splitlines() or [""]
        print_wrapped(first, label=f"  {name:>5}  ")
        for line in more:
            print_wrapped(line, label=" " * 9)
    if failure.change:
        print_wrapped(failure.change, label="         against the other model, ")
    print()


command = verb(
    analyze,
    "RUN|DATA...",
    "tunesmith analyze runs/faq",
    "tunesmith analyze runs/faq --shown 10 --severity misspelt=catastrophic",
    "tunesmith analyze runs/faq --judge http://localhost:11434/v1 --judge-model qwen3:8b",
    "tunesmith analyze prepared/faq --model smollm2-135m-instruct --limit 50",
)
