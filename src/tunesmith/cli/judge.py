"""`tunesmith judge`: a chat model says which answers are better, and how far it can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import LIMITS, BudgetCost, BudgetTokens, Json, PriceCompletion, PricePrompt, chat_options
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, suggest

if TYPE_CHECKING:
    from tunesmith.chat.budget import Budget
    from tunesmith.evaluate.judging.asking import Tally

ASKING = chat_options(
    "Judge",
    name="--judge",
    name_panel=NEEDED,
    temperature="Of the judge's sampling; repeats are sampled in any case. [default: 0]",
    max_attempts="Tries of one request, and of a verdict that cannot be read. [default: 3]",
)


def judge(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="An evaluated run: base against tuned model; several: their tuned models on the same examples.",
            show_default=False,
        ),
    ],
    *,
    endpoint: Annotated[str | None, ASKING.endpoint] = None,
    endpoint_model: Annotated[str | None, ASKING.endpoint_model] = None,
    mode: Annotated[
        Literal["pairwise", "pointwise"] | None,
        typer.Option(help="Ask which of two answers is better, in both orders; or a score for each. [default: pairwise]"),
    ] = None,
    rubric: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|TEXT",
            help="What a good answer is; a line `Scale: 1 to 5` sets another scale than 1 to 10. [default: a general one]",
        ),
    ] = None,
    hide_reference: Annotated[
        bool | None, typer.Option("--hide-reference", help="Do not show the judge the reference answer. [default: shown]")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(metavar="N", help="Samples of every verdict, to see whether they agree. [default: 1]")
    ] = None,
    inconsistent: Annotated[
        Literal["apart", "tie"] | None,
        typer.Option(help="Count pairs whose two orders disagree apart, or as ties. [default: apart]"),
    ] = None,
    votes: Annotated[
        str | None, typer.Option(metavar="FILE", help="Votes of people to measure the judge by. [default: the run's own, if any]")
    ] = None,
    confidence: Annotated[float | None, typer.Option(metavar="X", help="Of the intervals. [default: 0.95]")] = None,
    api_key_variable: Annotated[str | None, ASKING.api_key_variable] = None,
    temperature: Annotated[float | None, ASKING.temperature] = None,
    max_new_tokens: Annotated[int | None, ASKING.max_new_tokens] = None,
    concurrency: Annotated[int | None, ASKING.concurrency] = None,
    timeout_seconds: Annotated[float | None, ASKING.timeout_seconds] = None,
    max_attempts: Annotated[int | None, ASKING.max_attempts] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Judge a seeded sample of this many examples. [default: all]", rich_help_panel=LIMITS)
    ] = None,
    budget_tokens: BudgetTokens = None,
    budget_cost: BudgetCost = None,
    price_prompt: PricePrompt = None,
    price_completion: PriceCompletion = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the sample, the judge and the intervals. [default: 0]")] = None,
    as_json: Json = False,
) -> None:
    """Have a chat model judge the answers of evaluated runs; say what it found, and how far it goes by order and length instead.

    A verdict that fails or cannot be read is asked for again, then counted as missing: never a tie, never a score. The two orders of a pair
    have to agree, or it is counted apart. Every reply is kept: interrupted or out of budget, the same command goes on.
    """
    from tunesmith.config import JudgeConfig, build
    from tunesmith.runs import open_run

    settings = {
        "endpoint": endpoint,
        "endpoint_model": endpoint_model,
        "api_key_variable": api_key_variable,
        "temperature": temperature,
        "max_new_tokens": max_new_tokens,
        "seed": seed,
        "concurrency": concurrency,
        "timeout_seconds": timeout_seconds,
        "max_attempts": max_attempts,
        "budget_tokens": budget_tokens,
        "budget_cost": budget_cost,
        "price_prompt": price_prompt,
        "price_completion": price_completion,
        "mode": mode,
        "rubric": rubric,
        "hide_reference": hide_reference,
        "limit": limit,
        "repeats": repeats,
        "inconsistent": inconsistent,
        "votes": votes,
        "confidence": confidence,
    }
    config, opened = build(JudgeConfig, settings, place="judge"), [open_run(run) for run in runs]
    with waiting("loading"):
        from tunesmith.evaluate.judging.judge import judge_runs
    with waiting("asking the judge") as update:

        def show(tally: Tally, budget: Budget) -> None:
            update(f"{tally.num_calls:,} calls, {tally.failures.total():,} without a verdict, {budget.spent.total:,} tokens")

        document = judge_runs(opened, config, say=say, on_reply=show)
    if as_json:
        print_json({"file": str(opened[0].judgement_file), **document})
        return
    for line in document["lines"]:
        print_wrapped(line)
    print_wrapped(f"written: {opened[0].judgement_file}")
    if document["mode"] == "pairwise" and opened[0].judge_votes_file.stat().st_size:
        suggest(["rank", opened[0].judge_votes_file])


command = verb(
    judge,
    "RUN... --judge URL|MODEL",
    "tunesmith judge runs/faq --judge http://localhost:11434/v1 --judge-model qwen3:32b",
    "tunesmith judge runs/faq --judge URL --judge-model M --mode pointwise --rubric rubric.txt",
    "tunesmith judge runs/faq runs/faq-2 --judge URL --judge-model M --limit 100 --budget-tokens 500000",
    "tunesmith judge runs/faq --judge URL --judge-model M --repeats 3 --votes runs/faq/evaluation/votes.jsonl",
)
