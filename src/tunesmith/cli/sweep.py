"""`tunesmith sweep`: how much data, which model, which settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunesmith.cli.command import NEEDED, verb
from tunesmith.cli.options import Json
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import print_json, print_wrapped, say, suggest, table
from tunesmith.errors import ConfigError

if TYPE_CHECKING:
    from tunesmith.sweep.directory import SweepDirectory
    from tunesmith.sweep.report import SweepReport

VARIED, TRIALS = "What is varied", "Trials"


def sweep(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A directory written by `tunesmith prepare`.", show_default=False)
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL", help="As for `tunesmith train`; may be given several times.", show_default=False, rich_help_panel=NEEDED
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The sweep's new directory.", show_default=False, rich_help_panel=NEEDED)
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Of the training split: shares up to 1, or numbers of examples; smaller sets are part of larger ones. [default: all]",
            rich_help_panel=VARIED,
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V,…",
            help="Values of a setting of `train`, such as learning-rate, lora-rank, epochs, seed; may be repeated.",
            show_default=False,
            rich_help_panel=VARIED,
        ),
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=V", help="One value of a setting of `train` for all trials.", show_default=False, rich_help_panel=TRIALS
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens in an answer of the evaluations. [default: 256]", rich_help_panel=TRIALS)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", help="Evaluate on this many test examples. [default: all]", rich_help_panel=TRIALS),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(metavar="N", help="Without Ray: trials at a time. [default: 1]", rich_help_panel=TRIALS),
    ] = None,
    on: Annotated[
        Literal["processes", "ray"] | None,
        typer.Option(help="Run trials in processes here, or as Ray tasks. [default: processes]", rich_help_panel=TRIALS),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of a cluster: `auto`, HOST:PORT or ray://HOST:PORT. [default: $RAY_ADDRESS, else this machine]",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    cores: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of each trial. [default: with Ray 1, else its share of them]", rich_help_panel=TRIALS),
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(metavar="X", help="With Ray: of each trial; 0.5 shares one. [default: 0]", rich_help_panel=TRIALS)
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="More attempts where a process or machine is lost, or memory lacks. [default: 2]",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="SWEEP", help="Go on with a sweep that was stopped, with its own settings.", rich_help_panel=TRIALS),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="With --resume: run failed trials once more.", rich_help_panel=TRIALS)] = False,
    as_json: Json = False,
) -> None:
    """Train and evaluate every combination: a learning curve over the amount of data, models and settings side by side, the best of them.

    A trial that fails is written down and passed over; one whose process or machine is lost is tried again. Ctrl-C saves what is under
    way, and --resume goes on, also after a crash.
    """
    _check(on, processes=processes, cores=cores, gpus=gpus, retries=retries, ray_address=ray_address)
    if resume:
        opened = _open(resume, context)
    else:
        values = {"models": model, "sizes": sizes, "vary": vary, "fixed": fixed, "max_new_tokens": max_new_tokens, "limit": limit}
        opened = _create(data, out, values)
    with waiting("loading torch and transformers"):
        from tunesmith.sweep.cluster import RayCluster
        from tunesmith.sweep.sweep import RETRIES, run_sweep
    cluster = RayCluster(address=ray_address, cores=cores or 1, gpus=gpus or 0.0) if on == "ray" else None
    retries = RETRIES if retries is None else retries
    try:
        report = run_sweep(opened, processes=processes or 1, cores=cores, cluster=cluster, retries=retries, retry=retry, say=say)
    except KeyboardInterrupt:
        suggest(["sweep", "--resume", opened.path])
        raise
    if as_json:
        print_json({"directory": str(opened.path), **report.to_json()})
        return
    print("\n".join(["", *_table(report), ""]))
    for line in (*report.summary_lines(), "", f"report: {opened.page_file}"):
        print_wrapped(line)
    if best := report.best_result:
        suggest(["analyze", str(best.run)])


def _check(on: str | None, **numbers: Any) -> None:
    """Of the options that say where and how often.

    Raises:
        ConfigError: one is out of range, or belongs to Ray.
    """
    for name, least in (("processes", 1), ("cores", 1), ("gpus", 0), ("retries", 0)):
        if numbers[name] is not None and numbers[name] < least:
            raise ConfigError(f"--{name}", str(numbers[name]), expected=f"{least} or more", remedy="correct it")
    if (gpus := numbers["gpus"] or 0.0) > 1 and gpus != int(gpus):
        raise ConfigError("--gpus", str(gpus), expected="a part of one GPU, or a whole number", remedy="correct it")
    if on != "ray" and (numbers["ray_address"] or numbers["gpus"]):
        found = "--ray-address or --gpus without --on ray"
        raise ConfigError("sweep", found, expected="--on ray", remedy="add it, or leave them out")
    if on == "ray" and numbers["processes"]:
        found, expected = "--processes with --on ray", "--cores, of which Ray knows how many each machine has"
        raise ConfigError("sweep", found, expected=expected, remedy="leave it out")


def _open(path: Path, context: typer.Context) -> SweepDirectory:
    from tunesmith.sweep.directory import SweepDirectory

    allowed = {"resume", "retry", "retries", "processes", "on", "ray_address", "cores", "gpus", "as_json"}
    if others := [key for key, value in context.params.items() if value and key not in allowed]:
        found = f"{', '.join(others)} beside it"
        raise ConfigError(
            "sweep --resume", found, expected="--resume, with --retry and where to run at most", remedy="leave the others out"
        )
    return SweepDirectory.open(path)


def _create(data: Path | None, out: Path | None, values: dict[str, Any]) -> SweepDirectory:
    for value, what in ((data, "DIR"), (values["models"], "--model"), (out, "--out")):
        if not value:
            expected = "DIR, --model MODEL and --out DIR, or --resume SWEEP"
            raise ConfigError("tunesmith sweep", f"{what} is missing", expected=expected, remedy="see `tunesmith sweep --help`")
    from tunesmith.config import EvaluateConfig, GenerateConfig, SweepConfig, build
    from tunesmith.sweep.directory import SweepDirectory

    generation = build(GenerateConfig, {"max_new_tokens": values["max_new_tokens"]}, place="sweep")
    settings = {
        "data": data,
        "models": tuple(values["models"]),
        "sizes": _numbers(values["sizes"]),
        "vary": {key: tuple(_value(text) for text in texts.split(",")) for key, texts in _pairs("--vary", values["vary"])},
        "fixed": {key: _value(text) for key, text in _pairs("--set", values["fixed"])},
        "evaluation": build(EvaluateConfig, {"limit": values["limit"], "generation": generation}, place="sweep"),
    }
    assert out is not None
    return SweepDirectory.create(out, build(SweepConfig, settings, place="sweep"))


def _numbers(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError("--sizes", repr(text), expected="numbers with commas between them: 0.25,0.5,1", remedy="correct it") from None


def _pairs(option: str, given: Sequence[str] | None) -> list[tuple[str, str]]:
    """`KEY=VALUE` apart; the keys as `TrainConfig` has them."""
    pairs: dict[str, str] = {}
    for text in given or ():
        key, sign, value = text.partition("=")
        if not sign or not value:
            raise ConfigError(option, repr(text), expected="KEY=VALUE, such as learning-rate=1e-3", remedy="correct it")
        key = key.strip().removeprefix("--").replace("-", "_")
        key = f"lora.{key.removeprefix('lora_')}" if key.startswith("lora_") else key
        if key in pairs:
            raise ConfigError(option, f"{text!r} after {key}={pairs[key]}", expected="each key once", remedy="join the values with commas")
        pairs[key] = value
    return list(pairs.items())


def _value(text: str) -> Any:
    """As YAML has it: a number, true or false, else the text."""
    import yaml

    try:
        return float(text) if "e" in text.lower() else yaml.safe_load(text)  # YAML 1.1 takes 1e-3 for a text
    except (ValueError, yaml.YAMLError):
        return text


def _table(report: SweepReport) -> list[str]:
    varied = list(dict.fromkeys(key for result in report.results for key in result.varied))
    head = ["trial", "model", "examples", *varied, "validation loss", *report.metrics.values(), "against base", "training"]
    rows = []
    for result in report.results:
        start = [result.name, result.model, f"{result.num_examples:,}", *(str(result.varied[key]) for key in varied)]
        if result.status == "done":
            loss = "–" if result.validation_loss is None else f"{result.validation_loss:.4f}"
            scores = [f"{result.tuned[name]:.3f}" if name in result.tuned else "–" for name in report.metrics]
            rows.append([*start, loss, *scores, str(result.verdict), f"{result.seconds or 0:,.0f} s"])
        else:
            rows.append([*start, "failed" if result.error else "unfinished", *["–"] * (len(report.metrics) + 2)])
    return table(head, rows, right=[2, *range(3 + len(varied), 4 + len(varied) + len(report.metrics)), len(head) - 1])


command = verb(
    sweep,
    "DIR --model MODEL --out DIR",
    "tunesmith sweep prepared/faq --model smollm2-135m-instruct --sizes 0.125,0.25,0.5,1 --out sweeps/sizes",
    "tunesmith sweep prepared/faq --model smollm2-135m-instruct --model gemma3-270m --set epochs=2 --out sweeps/models",
    "tunesmith sweep prepared/faq --model smollm2-135m-instruct --vary learning-rate=2e-4,1e-3 --vary lora-rank=8,32 --out sweeps/rates",
    "tunesmith sweep --resume sweeps/rates --processes 2",
    "tunesmith sweep --resume sweeps/rates --on ray --ray-address ray://head.example:10001 --cores 4 --gpus 1",
)
