"""`tunesmith synthesize`: new examples from documents, seeds, or the examples there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import LIMITS, BudgetCost, BudgetTokens, Json, PriceCompletion, PricePrompt, chat_options
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import print_json, say, suggest

if TYPE_CHECKING:
    from tunesmith.synthesize.task import Task, TemplateTask

RECIPE = "For some recipes"
ASKING = chat_options(
    "Teacher",
    name="--teacher",
    temperature="Of the teacher's sampling. [default: 0.7]",
    max_attempts="Tries of one request before it counts as failed. [default: 5]",
)


def synthesize(
    recipe: Annotated[
        Literal["documents", "instructions", "paraphrases", "harder", "redirections", "errors", "template"],
        typer.Argument(metavar="RECIPE", help="What to make; see below.", show_default=False),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUTS...]", help="Documents, seed tasks or rows; for errors the analysed run.", show_default=False),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="The directory to write; an interrupted run goes on in it.", show_default=False, rich_help_panel=NEEDED
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A prepared data set: what to vary, and what new examples must not repeat; its test split is never shown to a teacher.",
        ),
    ] = None,
    endpoint: Annotated[str | None, ASKING.endpoint] = None,
    endpoint_model: Annotated[str | None, ASKING.endpoint_model] = None,
    api_key_variable: Annotated[str | None, ASKING.api_key_variable] = None,
    temperature: Annotated[float | None, ASKING.temperature] = None,
    max_new_tokens: Annotated[int | None, ASKING.max_new_tokens] = None,
    concurrency: Annotated[int | None, ASKING.concurrency] = None,
    timeout_seconds: Annotated[float | None, ASKING.timeout_seconds] = None,
    max_attempts: Annotated[int | None, ASKING.max_attempts] = None,
    count: Annotated[
        int | None, typer.Option(metavar="N", help="Stop when so many examples are kept. [default: 100]", rich_help_panel=LIMITS)
    ] = None,
    per_item: Annotated[
        int | None, typer.Option(metavar="N", help="Examples to ask for in one request. [default: 3]", rich_help_panel=LIMITS)
    ] = None,
    budget_tokens: BudgetTokens = None,
    budget_cost: BudgetCost = None,
    price_prompt: PricePrompt = None,
    price_completion: PriceCompletion = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Decides what is asked in which order. [default: 0]")] = None,
    scope: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="For redirections: what the assistant answers, in a sentence.", rich_help_panel=RECIPE),
    ] = None,
    reply: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="For redirections: the answer to give. [default: the data's usual one, else the teacher's]",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="For errors: which error groups, comma-separated. [default: all]", rich_help_panel=RECIPE),
    ] = None,
    verify: Annotated[
        bool | None,
        typer.Option("--verify", help="For documents: ask once more whether the passage says it. [default: off]", rich_help_panel=RECIPE),
    ] = None,
    max_similarity: Annotated[
        float | None,
        typer.Option(metavar="X", help="For instructions: most ROUGE-L with an earlier one. [default: 0.7]", rich_help_panel=RECIPE),
    ] = None,
    prompt_template: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="For template: a prompt with {columns}; may be given several times.", rich_help_panel=RECIPE),
    ] = None,
    completion_template: Annotated[
        str | None, typer.Option(metavar="TEXT", help="For template: the answer with {columns}.", rich_help_panel=RECIPE)
    ] = None,
    as_json: Json = False,
) -> None:
    """Make new training examples; everything made says where it comes from, and nothing is kept that repeats your data.

    documents: questions and answers from your documents, each with the passage and quotation it rests on. instructions: new tasks from
    seed tasks (self-instruct). paraphrases: other words for your prompts. harder: more difficult prompts with answers. redirections:
    off-topic messages for a scope. errors: more of what an analysed run gets wrong. template: your rows through templates, without a model.
    """
    from tunesmith.config import SynthesizeConfig, build
    from tunesmith.synthesize.task import Options, plan

    settings = {
        "endpoint": endpoint,
        "endpoint_model": endpoint_model,
        "api_key_variable": api_key_variable,
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
        "concurrency": concurrency,
        "timeout_seconds": timeout_seconds,
        "max_attempts": max_attempts,
        "count": count,
        "per_item": per_item,
        "budget_tokens": budget_tokens,
        "budget_cost": budget_cost,
        "price_prompt": price_prompt,
        "price_completion": price_completion,
        "seed": seed,
        "max_similarity": max_similarity,
        "verify": verify,
    }
    options = Options(
        recipe=recipe,
        inputs=tuple(inputs or ()),
        data=data,
        scope=scope,
        reply=reply,
        groups=tuple(name.strip() for name in groups.split(",")) if groups else (),
        prompt_templates=tuple(prompt_template or ()),
        completion_template=completion_template,
    )
    task = plan(options, build(SynthesizeConfig, settings, place="synthesize"), say)
    report = _carry_out(task, out)
    if as_json:
        print_json({"directory": str(out), **report})
        return
    for line in lines_of(report):
        print(line)
    print(f"written: {out / 'examples.jsonl'}; what was not kept, and why: {out / 'rejected.jsonl'}")
    if report["kept"]:
        suggest(["prepare", out / "examples.jsonl", "--out", Path("prepared") / out.name])


def _carry_out(task: Task | TemplateTask, out: Path) -> dict[str, Any]:
    with waiting("asking") as update:

        def show(done: Any, budget: Any) -> None:
            update(f"{done.num_calls:,} calls, {len(done.kept):,} kept, {budget.spent.total:,} tokens")

        return task.run(out, show)


def lines_of(report: dict[str, Any]) -> list[str]:
    """The report in words."""
    lines = [f"kept {report['kept']:,} examples, rejected {report['rejected']:,} ({report['ending']})"]
    lines += [f"  {number:,} rejected: {reason}" for reason, number in report["reasons"].items()]
    if not report.get("calls"):
        return lines
    earlier = f", {report['calls_from_earlier']:,} of them made by an earlier run" if report["calls_from_earlier"] else ""
    lines.append(f"{report['calls']:,} calls{earlier}; {report['calls_without_examples']:,} gave nothing usable")
    lines += [f"  {number:,} calls: {reason}" for reason, number in report["failures"].items()]
    if 2 * report["calls_without_examples"] > report["calls"]:
        lines.append("most replies are not what was asked for; a larger teacher, or more --max-new-tokens, would help")
    about = " (estimated, the endpoint does not count)" if report["tokens_are_estimated"] else ""
    cost = f", cost {report['cost']:,.4f}" if report["cost"] else ""
    lines.append(f"{report['prompt_tokens']:,} prompt tokens and {report['completion_tokens']:,} of replies{about}{cost}")
    return lines


command = verb(
    synthesize,
    "RECIPE [INPUTS...] --out DIR",
    "tunesmith synthesize documents docs/ --teacher http://localhost:11434/v1 --teacher-model qwen3:8b --out synth --verify",
    "tunesmith synthesize redirections --scope 'questions about our shop' --data prepared/faq --teacher URL --teacher-model M --out off",
    "tunesmith synthesize errors runs/faq --teacher URL --teacher-model M --budget-tokens 200000 --out more",
    "tunesmith synthesize template tickets.csv --prompt-template 'Route: {text}' --completion-template '{queue}' --out routed",
)
