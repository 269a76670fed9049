"""`tunesmith guard`: guardrails tried on a data set before a server is given them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import verb
from tunesmith.cli.options import Json
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.serve.guardrails.trial import RuleTrial, Specimen, TrialReport
    from tunesmith.types import Example

LONGEST_SHOWN = 200
"""Characters of a prompt or answer on the screen."""
LABELS = {"prompt": "prompts", "answer": "answers"}


def guard(
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A prepared data set, or a file of questions and answers.", show_default=False)
    ],
    guardrails: Annotated[Path | None, typer.Option(metavar="FILE", help="The rules, as YAML. [default: none but --set]")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. scope.by=words; over the file's; may come again."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Whose training data say what is on the subject. [default: DATA's own, where it is prepared]"),
    ] = None,
    off_topic: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts that are to be redirected, beside the held-out ones. [default: none]")
    ] = None,
    general: Annotated[bool, typer.Option("--general", help="And everyday questions of ours. [default: off]")] = False,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Look at this run's stored answers in place of the references. [default: the references]"),
    ] = None,
    split: Annotated[Literal["test", "validation", "train"], typer.Option(help="Which examples of a prepared data set.")] = "test",
    shown: Annotated[int, typer.Option(metavar="N", min=0, help="Errors of each kind shown.")] = 3,
    confidence: Annotated[float, typer.Option(metavar="X", min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    as_json: Json = False,
) -> None:
    """Count what each rule would do wrong: fire on what is on the subject, and let through what is off it. No model is loaded.

    Held-out examples whose references decline are off the subject, all others on it.
    """
    from tunesmith.serve.guardrails.settings import load_settings

    config = load_settings(guardrails, settings or ())
    with waiting("comparing with the training prompts"):
        report = _report(config, data, run, off_topic, answers, general=general, split=split, confidence=confidence)
    if as_json:
        print_json(report.to_json())
        return
    _print(report, shown, confidence)


def _report(
    config: Any,
    data: str,
    run: Path | None,
    off_topic: Path | None,
    answers: Path | None,
    *,
    general: bool,
    split: Literal["test", "validation", "train"],
    confidence: float,
) -> TrialReport:
    from tunesmith.data.check import is_prepared
    from tunesmith.data.storing.prepared import load_data_of, load_prepared
    from tunesmith.runs import open_run
    from tunesmith.serve.guardrails import material as from_
    from tunesmith.serve.guardrails.rules import Guardrails
    from tunesmith.serve.guardrails.tokens import token_counter
    from tunesmith.serve.guardrails.trial import Material, try_rules

    opened = None if run is None else open_run(run)
    prepared = load_prepared(data) if is_prepared(data) else None
    train = load_data_of(opened).train if opened else prepared.train if prepared else None
    rails = Guardrails.from_config(config, train=train, count_tokens=token_counter(opened) if opened else None)
    found = from_.held_out(prepared, split) if prepared else from_.of_files([Path(data)], train)
    more = [*_off_topic(off_topic), *(from_.general(_required(train)) if general else [])]
    spoken = from_.stored_answers(open_run(answers)) if answers else found.answers
    return try_rules(rails, Material(prompts=[*found.prompts, *more], answers=spoken), confidence=confidence)


def _required(train: Sequence[Example] | None) -> Sequence[Example]:
    from tunesmith.errors import ConfigError

    if train is None:
        found = "nothing says what was trained on, which these questions must not be near to"
        raise ConfigError("--general", found, expected="a prepared data set or a run", remedy="add --run RUN")
    return train


def _off_topic(file: Path | None) -> list[Any]:
    if file is None:
        return []
    from tunesmith.cli.prompts import read_prompts
    from tunesmith.serve.guardrails.material import off_topic_prompts

    found = read_prompts(file)
    for note in found.notes:
        say(note)
    return off_topic_prompts([(one.source, one.messages) for one in found.prompts])


def _print(report: TrialReport, shown: int, confidence: float) -> None:
    for one in report.rules:
        _print_specimens(one, "false alarm", one.alarms, shown)
        _print_specimens(one, "missed", one.missed, shown)
    head = ["rule", "looks at", "false alarms", "missed off the subject"]
    rows = [[one.rule, LABELS[one.side], one.false_alarms.words, one.misses.words if one.misses else "–"] for one in report.rules]
    print("\n".join([*table(head, rows), ""]))
    if report.thresholds:
        head = ["scope.unusual", "min_similarity", "false alarms", "missed off the subject"]
        rows = [[f"{one.unusual:g}", f"{one.min_similarity:.2f}", one.false_alarms.words, one.misses.words] for one in report.thresholds]
        print("\n".join(["Scope with other settings:", *table(head, rows), ""]))
    looked = f"{report.num_on_topic:,} prompts on the subject, {report.num_off_topic:,} off it, {report.num_answers:,} answers"
    print_wrapped(f"Tried on {looked}; intervals are exact binomial ones, at {confidence:.0%}.")
    for note in report.notes:
        print_wrapped(note)


def _print_specimens(rule: RuleTrial, title: str, specimens: Sequence[Specimen], count: int) -> None:
    for one in specimens[:count]:
        flat = " ".join(one.text.split())
        print_wrapped(f"{rule.rule}, {title}" + (f": {one.detail}" if one.detail else ""))
        print_wrapped(one.source, label="   from  ")
        print_wrapped(flat[:LONGEST_SHOWN] + ("…" if len(flat) > LONGEST_SHOWN else ""), label=f" {rule.side:>6}  ")
        print()


command = verb(
    guard,
    "DATA",
    "tunesmith guard prepared/faq --set scope=true --general",
    "tunesmith guard prepared/faq --guardrails guardrails.yaml --run runs/faq --off-topic off.txt",
    "tunesmith guard prepared/faq --guardrails guardrails.yaml --answers runs/faq",
)
