"""`tunesmith prepare`: from your files to a checked, split data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import (
    AGAINST_HELP,
    COLUMNS,
    READING,
    ChosenKey,
    CompletionKey,
    Encoding,
    InputKey,
    Json,
    Kind,
    LabelKey,
    PromptKey,
    RejectedKey,
    Split,
    comma_separated,
    named_files,
)
from tunesmith.cli.terminal import print_json, suggest
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.data.storing.prepared import PreparedData

REPAIR, SPLITTING = "Repair", "Splitting"
MOST_FINDINGS = 10
"""Of the checks, shown on the screen; the report has all."""


def prepare(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILES...",
            help="JSON Lines, JSON, CSV, TSV, Parquet or text files, exports of chats, pages and documents (see --kind), "
            "data set folders, hub ids `owner/name`, URLs of files, folders and patterns (hf://, s3://, gs://) and of "
            "single files (https://), or `tunesmith-faq`, the data set that ships with tunesmith.",
        ),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="The directory to write; it must not exist yet.", show_default=False, rich_help_panel=NEEDED),
    ],
    prompt_key: PromptKey = None,
    completion_key: CompletionKey = None,
    input_key: InputKey = None,
    chosen_key: ChosenKey = None,
    rejected_key: RejectedKey = None,
    label_key: LabelKey = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Prompt template for training: auto, chat, qa, alpaca, or a file with {prompt}. [default: auto]",
            rich_help_panel=COLUMNS,
        ),
    ] = None,
    encoding: Encoding = None,
    kind: Kind = None,
    assistant: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Whose messages are the answers, in transcripts and tickets. [default: recognised]",
            rich_help_panel=READING,
        ),
    ] = None,
    split: Split = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Use a seeded sample of this many rows. [default: all]", rich_help_panel=READING)
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="SOURCE=W",
            help="Use a source's training examples W times, 0.5 a seeded half of them; may be given again. [default: once]",
            rich_help_panel=READING,
        ),
    ] = None,
    on_invalid: Annotated[
        Literal["stop", "drop"] | None,
        typer.Option(help="A row that cannot be used: stop at it, or drop it and count it. [default: stop]", rich_help_panel=REPAIR),
    ] = None,
    checks: Annotated[
        Literal["default", "none"] | None,
        typer.Option(
            help="Look for faults and leaks, or leave that to `tunesmith check`. [default: default]",
            rich_help_panel=REPAIR,
        ),
    ] = None,
    drop: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Leave out what these checks flag, such as near-duplicates,empty-answer. [default: nothing]",
            rich_help_panel=REPAIR,
        ),
    ] = None,
    fix: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Put right: control-characters, mojibake, template-residue, pii. [default: nothing]",
            rich_help_panel=REPAIR,
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help=AGAINST_HELP,
            rich_help_panel=REPAIR,
        ),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A table (.csv, .jsonl) to keep, edit or drop examples by: written if there is none, else carried out.",
            rich_help_panel=REPAIR,
        ),
    ] = None,
    review_all: Annotated[
        bool,
        typer.Option("--review-all", help="Put all examples into a new review table, not the flagged ones alone.", rich_help_panel=REPAIR),
    ] = False,
    test_fraction: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share held out for evaluation, never trained on. [default: 0.1]", rich_help_panel=SPLITTING),
    ] = None,
    validation_fraction: Annotated[
        float | None,
        typer.Option(metavar="X", help="Share used in training to choose the best step. [default: 0.05]", rich_help_panel=SPLITTING),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Decides which examples are held out. [default: 0]", rich_help_panel=SPLITTING)
    ] = None,
    group_key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="What must not be on two sides: a user, a thread. [default: what the reader knows]",
            rich_help_panel=SPLITTING,
        ),
    ] = None,
    near_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Similarity from which prompts stay on one side; 1 looks for equal ones only. [default: 0.8]",
            rich_help_panel=SPLITTING,
        ),
    ] = None,
    stratify_key: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Hold out of each of its values in proportion (`answer`: of each different answer). [default: none]",
            rich_help_panel=SPLITTING,
        ),
    ] = None,
    time_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Test with the newest examples by this column. [default: none]", rich_help_panel=SPLITTING),
    ] = None,
    test_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Test with the examples of this file; what is nearly the same leaves the rest. [default: none]",
            rich_help_panel=SPLITTING,
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="An earlier prepared directory whose examples keep their side. [default: none]",
            rich_help_panel=SPLITTING,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(metavar="K", help="Write DIR/fold-1 to DIR/fold-K; every example tests in one of them.", rich_help_panel=SPLITTING),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read your files, check every row, remove exact duplicates, split, and write a data set to train on.

    Columns that are recognised: question + answer, instruction (+ input) + output, instruction + response, input + output,
    prompt + completion, messages (OpenAI), conversations (ShareGPT), text (raw text, as is a .txt file).

    Preferences: chosen + rejected beside prompt, question, instruction (+ input) or input, or as whole conversations that share
    their beginning (for dpo, orpo); label (true or false, 1 or 0) beside any answer (for kto).
    """
    from tunesmith.config import PrepareConfig, build
    from tunesmith.data.prepare import prepare as prepare_data
    from tunesmith.data.prepare import prepare_folds

    settings = {
        "prompt_key": prompt_key,
        "completion_key": completion_key,
        "input_key": input_key,
        "chosen_key": chosen_key,
        "rejected_key": rejected_key,
        "label_key": label_key,
        "template": template,
        "encoding": encoding,
        "kind": kind,
        "assistant": assistant,
        "limit": limit,
        "weights": _weights(weights),
        "on_invalid": on_invalid,
        "checks": checks,
        "drop": comma_separated(drop),
        "fix": comma_separated(fix),
        "against": tuple(against) if against else None,
        "test_fraction": test_fraction,
        "validation_fraction": validation_fraction,
        "seed": seed,
        "group_key": group_key,
        "near_threshold": near_threshold,
        "stratify_key": stratify_key,
        "time_key": time_key,
        "test_file": test_file,
        "like": like,
    }
    if review_all and review is None:
        raise ConfigError("prepare", "--review-all", expected="a table to write", remedy="name it with `--review FILE`")
    sources = named_files(files)
    config = build(PrepareConfig, settings, place="prepare")
    if folds is not None:
        of_folds = prepare_folds(sources, out, config, num_folds=folds, split=split, review=review, review_all=review_all)
        _show_folds(out, of_folds, as_json=as_json)
    else:
        _show(prepare_data(sources, out, config, split=split, review=review, review_all=review_all), as_json=as_json)


def _weights(options: list[str] | None) -> dict[str, float] | None:
    """`faq.csv=2` -> a source and its weight.

    Raises:
        ConfigError: that is not what an option says.
    """
    weights = {}
    for option in options or ():
        source, equals, number = option.rpartition("=")
        try:
            weights[source] = float(number)
        except ValueError:
            equals = ""
        if not (source and equals):
            raise ConfigError("--weight", option, expected="a source and a number, as in faq.csv=2", remedy="correct it")
    return weights or None


def _show(prepared: PreparedData, *, as_json: bool) -> None:
    out = prepared.directory
    findings = prepared.findings()
    if as_json:
        print_json({"directory": str(out), **prepared.manifest, "findings": findings})
        return
    print(prepared.summary())
    _show_findings(findings)
    print(
        f"written: {out}/{{train,validation,test}}.jsonl; what was read, found and left out: {out / 'report.html'}, {out / 'report.json'}"
    )
    suggest(["preview", out, "--model", "smollm2-135m-instruct"], ["train", out, "--model", "smollm2-135m-instruct"])


def _show_findings(findings: Sequence[Mapping[str, Any]]) -> None:
    """The worst, one line each, with the option that changes what becomes of it."""
    for one in findings[:MOST_FINDINGS]:
        done = one["option"] if one["action"] == "kept" else one["action"]
        print(f"{one['severity']}: {one['sentence']}{f' ({done})' if done else ''}")
    if len(findings) > MOST_FINDINGS:
        print(f"and {len(findings) - MOST_FINDINGS} more in the report")


def _show_folds(out: Path, folds: Sequence[PreparedData], *, as_json: bool) -> None:
    if as_json:
        manifests = [{"directory": str(fold.directory), **fold.manifest} for fold in folds]
        print_json({"directory": str(out), "findings": folds[0].findings(), "folds": manifests})
        return
    print(folds[0].summary())
    _show_findings(folds[0].findings())
    for fold in folds:
        sizes = ", ".join(f"{name} {part['examples']:,}" for name, part in fold.manifest["splits"].items())
        print(f"written: {fold.directory}: {sizes}")
    suggest(["train", folds[0].directory, "--model", "smollm2-135m-instruct"])


command = verb(
    prepare,
    "FILES... --out DIR",
    "tunesmith prepare faq.csv --out prepared/faq",
    "tunesmith prepare tickets.jsonl --out prepared/tickets --prompt-key subject --completion-key reply",
    "tunesmith prepare votes.csv --out prepared/votes --prompt-key query --chosen-key winner --rejected-key loser",
    "tunesmith prepare tunesmith-faq --out prepared/tunesmith-faq",
)
