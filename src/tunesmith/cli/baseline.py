"""`tunesmith baseline`: is prompting enough, or retrieval, or a larger model elsewhere?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import Device, Dtype, Json
from tunesmith.cli.progress import stages, waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, suggest, table
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.evaluate.baselines.report import BaselineReport

WAYS, ENDPOINT, EXAMPLES = "Ways", "A larger model elsewhere", "Examples"


def baseline(
    target: Annotated[
        Path | None, typer.Argument(metavar="RUN|DIR", help="A finished run, or a prepared data set with --model.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="With a data set: the base model.", show_default=False, rich_help_panel=NEEDED)
    ] = None,
    instructions: Annotated[
        str | None,
        typer.Option(metavar="TEXT|FILE", help="Your own prompt, said before each question. [default: none]", rich_help_panel=WAYS),
    ] = None,
    shots: Annotated[
        int | None, typer.Option(metavar="N", help="Training examples shown before a question; 0: none. [default: 5]", rich_help_panel=WAYS)
    ] = None,
    pick_shots: Annotated[
        Literal["nearest", "same"] | None,
        typer.Option(help="Those nearest to each question, or the same for all. [default: nearest]", rich_help_panel=WAYS),
    ] = None,
    documents: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILES", help="Retrieve from these, too; may be repeated. [default: the training answers alone]", rich_help_panel=WAYS
        ),
    ] = None,
    passages: Annotated[
        int | None, typer.Option(metavar="N", help="Passages retrieved for a question. [default: 3]", rich_help_panel=WAYS)
    ] = None,
    retriever: Annotated[
        Literal["bm25", "embeddings"] | None,
        typer.Option(help="Find passages by words, or by the sentence model. [default: bm25]", rich_help_panel=WAYS),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL|MODEL", help="An OpenAI-compatible endpoint, or another model here. [default: none]", rich_help_panel=ENDPOINT
        ),
    ] = None,
    endpoint_model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name there.", show_default=False, rich_help_panel=ENDPOINT)
    ] = None,
    api_key_variable: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The environment variable with the key. [default: OPENAI_API_KEY]", rich_help_panel=ENDPOINT),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", help="Requests at a time. [default: 4]", rich_help_panel=ENDPOINT)] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens all requests may take. [default: no limit]", rich_help_panel=ENDPOINT)
    ] = None,
    price_prompt: Annotated[
        float | None, typer.Option(metavar="X", help="Of a million prompt tokens there.", show_default=False, rich_help_panel=ENDPOINT)
    ] = None,
    price_completion: Annotated[
        float | None, typer.Option(metavar="X", help="Of a million new tokens there.", show_default=False, rich_help_panel=ENDPOINT)
    ] = None,
    machine_hourly: Annotated[
        float | None,
        typer.Option(metavar="X", help="What this machine costs an hour, to compare.", show_default=False, rich_help_panel=ENDPOINT),
    ] = None,
    requests_a_month: Annotated[
        float | None,
        typer.Option(metavar="N", help="Decide by the cost at so many. [default: by quality and simplicity]", rich_help_panel=ENDPOINT),
    ] = None,
    split: Annotated[
        Literal["test", "validation", "train"] | None, typer.Option(help="Which examples to ask. [default: test]", rich_help_panel=EXAMPLES)
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="A seeded sample of this many. [default: all]", rich_help_panel=EXAMPLES)
    ] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="As for `evaluate`; the first decides. [default: by the data]", rich_help_panel=EXAMPLES),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens in an answer. [default: 256]", rich_help_panel=EXAMPLES)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to write. [default: `baseline` in the run, or baseline-DIR-MODEL here]", rich_help_panel=EXAMPLES
        ),
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Answer the held-out questions in every other way: the base model alone, prompted, shown examples, with retrieval; a larger model; the
    tuned one. Say which to take, with quality, time, memory and cost beside each other.
    """
    from tunesmith.config import BaselineConfig, ChatConfig, EvaluateConfig, GenerateConfig, build
    from tunesmith.evaluate.given import text_or_file

    generation = build(GenerateConfig, {"max_new_tokens": max_new_tokens}, place="baseline")
    evaluation = {"split": split, "limit": limit, "scorers": tuple(scorer) if scorer else None, "generation": generation}
    chat = {
        "endpoint": endpoint,
        "endpoint_model": endpoint_model,
        "api_key_variable": api_key_variable,
        "concurrency": concurrency,
        "budget_tokens": budget_tokens,
        "price_prompt": price_prompt,
        "price_completion": price_completion,
        "temperature": 0.0,
        "max_new_tokens": generation.max_new_tokens,
    }
    settings = {
        "evaluation": build(EvaluateConfig, evaluation, place="baseline"),
        "instructions": text_or_file(instructions, option="--instructions").strip() if instructions is not None else None,
        "shots": shots,
        "pick_shots": pick_shots,
        "passages": passages,
        "retriever": retriever,
        "documents": tuple(documents or ()),
        "chat": build(ChatConfig, chat, place="baseline"),
        "machine_hourly": machine_hourly,
        "requests_a_month": requests_a_month,
    }
    config = build(BaselineConfig, settings, place="baseline")
    with waiting("loading torch and transformers"):
        from tunesmith.evaluate.baselines.baseline import Subject, run_baseline
        from tunesmith.runs import is_run, open_run
    if target is not None and is_run(target):
        if model:
            raise ConfigError(
                "baseline", "--model with a run", expected="one of them: a run has its base model", remedy="leave --model out"
            )
        run = open_run(target)
        subject, directory = Subject.of_run(run), out or run.path / "baseline"
    else:
        if target is None or not model:
            expected = "RUN, or DIR with --model MODEL"
            raise ConfigError(
                "tunesmith baseline", f"{'RUN' if target is None else '--model'} is missing", expected=expected, remedy="add it"
            )
        subject = Subject.of_data(target, model)
        directory = out or Path(re.sub(r"[^\w.+-]+", "-", f"baseline-{target.resolve().name}-{Path(model).name}"))
    with stages() as on_progress:
        report = run_baseline(subject, config, out=directory, dtype=dtype, device=device, say=say, on_progress=on_progress)
    if as_json:
        print_json({"directory": str(directory), **report.to_json()})
        return
    print("\n".join(["", *_table(report), ""]))
    print_wrapped(report.decision.paragraph)
    print(f"\nreport: {directory / 'baseline.html'}")
    if subject.run is None:
        suggest(["train", str(target), "--model", model or ""])


def _table(report: BaselineReport) -> list[str]:
    metric = report.metric
    form = f"{{:.{metric.decimals}f}}"
    head = ["way", metric.title, "", "seconds", "prompt tokens", "new tokens", "memory", "leaves", "a month", "a request", "missing"]
    rows = []
    for result in report.results:
        score = result.scores[metric.name]
        span = f"[{form.format(score.low)}, {form.format(score.high)}]" if score.low is not None and score.high is not None else ""
        memory = f"{result.peak_memory_bytes / 1e9:.1f} GB" if result.peak_memory_bytes else "–"
        costs = [f"{result.cost.a_month:.3g}", f"{result.cost.a_request:.3g}"] if result.cost else ["–", "–"]
        figures = [f"{result.latency_seconds:.2f}", f"{result.prompt_tokens:.0f}", f"{result.new_tokens:.0f}", memory]
        leaves = "yes" if result.data_leaves else "no"
        rows.append([result.name, form.format(score.value), span, *figures, leaves, *costs, str(result.num_missing or "")])
    spare = [place for place, name in enumerate(head) if name and all(row[place] in ("–", "") for row in rows)]
    keep = [place for place in range(len(head)) if place not in spare]
    return table([head[place] for place in keep], [[row[place] for place in keep] for row in rows], right=range(1, len(keep)))


command = verb(
    baseline,
    "RUN | DIR --model MODEL",
    "tunesmith baseline runs/faq",
    "tunesmith baseline prepared/faq --model smollm2-135m-instruct --instructions prompt.txt --limit 50",
    "tunesmith baseline runs/faq --documents docs/ --endpoint http://localhost:11434/v1 --endpoint-model llama3.1:70b",
    "tunesmith baseline runs/faq --endpoint https://api.example.com/v1 --endpoint-model large --price-prompt 2 --price-completion 8",
    "tunesmith baseline runs/faq --machine-hourly 0.1 --requests-a-month 50000",
)
