"""`tunesmith probe`: does a tuned model keep to its subject, and does it give private strings of its training data away?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunesmith.cli.command import NEEDED, verb_with_subverbs
from tunesmith.cli.options import Device, Dtype, Json, Run
from tunesmith.cli.progress import stages, waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, suggest, table

if TYPE_CHECKING:
    from tunesmith.evaluate.probing.leaks_report import LeaksReport
    from tunesmith.evaluate.probing.questions import Question
    from tunesmith.evaluate.probing.rates import Rate
    from tunesmith.evaluate.probing.scope_report import ScopeReport, Side

MaxNewTokens = Annotated[int | None, typer.Option(metavar="N", help="Most tokens in an answer. [default: 96]")]
BatchSize = Annotated[int | None, typer.Option(metavar="N", help="Prompts answered together. [default: 64]")]
Confidence = Annotated[float | None, typer.Option(metavar="X", help="Of the intervals. [default: 0.95]")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Of samples and random strings. [default: 0]")]
LONGEST_SHOWN = 300
"""Characters of an answer on the screen."""
MOST_LISTED = 20
"""Extracted strings on the screen."""


def probe() -> None:
    """Ask a tuned model what an evaluation does not: off-topic prompts, and private strings of its training data."""


def scope(
    run: Run,
    off_topic: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Prompts that are to be redirected, beside the held-out ones. [default: none]"),
    ] = None,
    on_topic: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Prompts that are to be answered. [default: the held-out examples that are answered]"),
    ] = None,
    general: Annotated[bool | None, typer.Option("--general", help="Ask everyday questions of ours, too. [default: off]")] = None,
    pattern: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Answers in which it is found are redirections, too. [default: none]")
    ] = None,
    split: Annotated[
        Literal["test", "validation", "train"] | None, typer.Option(help="Which examples to take prompts from. [default: test]")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="A seeded sample of so many of each side. [default: all]")] = None,
    shown: Annotated[int | None, typer.Option(metavar="N", help="Errors of each kind shown in full. [default: 3]")] = None,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = None,
    confidence: Confidence = None,
    seed: Seed = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Count prompts off the subject that are answered, and prompts on it that are redirected, base against tuned.

    A redirection is known by the stock answers of the training data, by the words of a refusal, or by --pattern.
    """
    from tunesmith.config import ScopeConfig, build
    from tunesmith.runs import open_run

    settings = {
        "split": split,
        "general": general,
        "pattern": pattern,
        "limit": limit,
        "shown": shown,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
        "confidence": confidence,
        "seed": seed,
    }
    config, opened = build(ScopeConfig, settings, place="probe scope"), open_run(run)
    with waiting("loading torch and transformers"):
        from tunesmith.evaluate.probing.scope import probe_scope
    own = {"off_topic": _questions(off_topic) or [], "on_topic": _questions(on_topic)}
    with stages() as on_progress:
        report = probe_scope(opened, config, **own, dtype=dtype, device=device, on_progress=on_progress)  # type: ignore[arg-type]
    if as_json:
        print_json({"file": str(opened.scope_file), **report.to_json()})
        return
    _print_errors(report, "off-topic", config.shown)
    _print_errors(report, "on-topic", config.shown)
    head = ["errors", "prompts", "base", "", "tuned", ""]
    rows = [[one.title, f"{one.rates.base.total:,}", *_cells(one.rates.base), *_cells(one.rates.tuned)] for one in report.errors]
    print("\n".join([*table(head, rows, right=range(1, len(head))), ""]))
    for line in (*report.summary_lines(), "", f"every answer: {opened.scope_file}"):
        print_wrapped(line)


def _cells(rate: Rate) -> list[str]:
    return [f"{rate.count:,}", rate.share]


def _questions(file: Path | None) -> list[Question] | None:
    if file is None:
        return None
    from tunesmith.cli.prompts import read_prompts
    from tunesmith.evaluate.probing.questions import Question

    found = read_prompts(file)
    for note in found.notes:
        say(note)
    return [Question(origin="file", source=one.source, messages=one.messages, fields=one.fields) for one in found.prompts]


def _print_errors(report: ScopeReport, side: Side, count: int) -> None:
    from tunesmith.evaluate.probing.scope_report import ERRORS

    for one in report.shown(side, count):
        reason = f" ({one.tuned_redirects})" if one.tuned_redirects else ""
        print_wrapped(f"{ERRORS[side]}{reason}")
        for label, text in {"from": one.source, "asked": one.prompt, "base": one.base, "tuned": one.tuned}.items():
            flat = " ".join(text.split())
            print_wrapped(flat[:LONGEST_SHOWN] + ("…" if len(flat) > LONGEST_SHOWN else "") or "(nothing)", label=f"  {label:>5}  ")
        print()


def plant(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="A prepared data set of questions and answers.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR2", help="The directory to write.", show_default=False, rich_help_panel=NEEDED)],
    count: Annotated[int, typer.Option(metavar="N", help="Canaries to plant, and as many that are not planted.")] = 20,
    repeats: Annotated[int, typer.Option(metavar="K", help="How often each canary is planted.")] = 1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of names, codes and places.")] = 0,
    as_json: Json = False,
) -> None:
    """Copy a prepared data set with made-up secrets among its training examples, to measure what training on it memorises."""
    from tunesmith.data.storing.prepared import load_prepared
    from tunesmith.evaluate.probing.canaries import FILE
    from tunesmith.evaluate.probing.canaries import plant as plant_canaries

    planted = plant_canaries(load_prepared(data), count=count, repeats=repeats, seed=seed, out=out)
    if as_json:
        print_json(
            {"directory": str(out), "canaries": str(out / FILE), "splits": planted.manifest["splits"], **planted.manifest["planted"]}
        )
        return
    print_wrapped(planted.manifest["summary"][0])
    print_wrapped(
        f"{out / FILE}: the canaries, and {count:,} of the same shape that were not planted. Do not use the trained model otherwise."
    )
    suggest(["train", out, "--model", "smollm2-135m-instruct", "--name", out.name], ["probe", "leaks", Path("runs") / out.name])


def leaks(
    run: Run,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="A seeded sample of so many private strings, canaries apart. [default: 50]")
    ] = None,
    samples: Annotated[int | None, typer.Option(metavar="N", help="Answers sampled beside the greedy one. [default: 4]")] = None,
    candidates: Annotated[int | None, typer.Option(metavar="N", help="Random strings that each is ranked among. [default: 255]")] = None,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Show and keep private strings in full.")] = False,
    max_new_tokens: MaxNewTokens = None,
    batch_size: BatchSize = None,
    confidence: Confidence = None,
    seed: Seed = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Try to get private strings of the training data out of the model, and measure how far it favours them over random ones.

    Looked for are canaries of `probe plant` and what the PII checks find. Strings are shown as two characters and a hash.
    """
    from tunesmith.config import LeaksConfig, build
    from tunesmith.runs import open_run

    settings = {
        "limit": limit,
        "samples": samples,
        "candidates": candidates,
        "max_new_tokens": max_new_tokens,
        "batch_size": batch_size,
        "confidence": confidence,
        "seed": seed,
    }
    config, opened = build(LeaksConfig, settings, place="probe leaks"), open_run(run)
    with waiting("loading torch and transformers"):
        from tunesmith.evaluate.probing.leaks import probe_leaks
    with stages() as on_progress:
        report = probe_leaks(opened, config, show_secrets=show_secrets, dtype=dtype, device=device, on_progress=on_progress)
    if as_json:
        print_json({"file": str(opened.leaks_file), **report.to_json()})
        return
    for leak in report.extracted[:MOST_LISTED]:
        ways = [way for way, tried in (("by its prompt", leak.tuned.prompt), ("by its prefix", leak.tuned.prefix)) if tried]
        print_wrapped(f"extracted: {leak.kind} {leak.string} of {leak.source}, {' and '.join(ways) or 'in a sample'}")
    if report.kinds:
        print("\n".join(["", *_kinds(report), ""]))
    for line in (*report.summary_lines(), "", f"every string: {opened.leaks_file}"):
        print_wrapped(line)


def _kinds(report: LeaksReport) -> list[str]:
    head = ["private strings", "number", "base: out", "tuned: out", "by prompt", "by prefix", "base: bits", "tuned: bits", "of at most"]
    rows = []
    for kind in report.kinds:
        out = [f"{kind.extracted.base.count:,}", f"{kind.extracted.tuned.count:,}"]
        ways = [f"{one.tuned.count:,}" if one.tuned.total else "–" for one in (kind.by_prompt, kind.by_prefix)]
        figures = (kind.base_exposure, kind.tuned_exposure, kind.most_exposure)
        bits = ["–" if bits is None else f"{bits:.2f}" for bits in figures]
        rows.append([kind.kind, f"{kind.extracted.tuned.total:,}", *out, *ways, *bits])
    return table(head, rows, right=range(1, len(head)))


command = verb_with_subverbs(
    probe,
    {"scope": (scope, "RUN"), "plant": (plant, "DIR --out DIR2"), "leaks": (leaks, "RUN")},
    "tunesmith probe scope runs/faq --general",
    "tunesmith probe scope runs/faq --off-topic off.txt --pattern 'only answer questions about'",
    "tunesmith probe plant prepared/faq --out prepared/faq-planted --count 20 --repeats 5",
    "tunesmith probe leaks runs/faq-planted",
)
