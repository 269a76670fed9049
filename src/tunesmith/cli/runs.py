"""`tunesmith runs`: the runs in a directory, everything about one of them, several beside each other, and how one led to the next."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.cli.command import verb_with_subverbs
from tunesmith.cli.options import RUNS_DIR, Json, Run
from tunesmith.cli.progress import waiting
from tunesmith.cli.terminal import harmless, is_terminal, print_json, print_wrapped, say, suggest, table
from tunesmith.errors import RunError

if TYPE_CHECKING:
    from tunesmith.runs import RunDirectory

COLUMNS = ("run", "created", "model", "method", "steps", "best loss", "tokens/s", "state", "from", "evaluation")
NUMBERS = ("steps", "best loss", "tokens/s")
SPARE = ("tokens/s", "method", "created", "from")
"""Left out of a terminal that is too narrow, in this order; `runs show` and --json have everything."""


def runs() -> None:
    """List your runs, show one, compare some, see how one led to the next. `tunesmith runs` alone is `tunesmith runs list`."""


def list_(
    runs_dir: Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Where runs are kept.")] = RUNS_DIR, as_json: Json = False
) -> None:
    """List the runs of a directory, the oldest first."""
    from tunesmith.runs import list_runs

    found = [_describe_or_note(run) for run in list_runs(runs_dir)]
    if as_json:
        print_json({"runs_dir": str(runs_dir), "runs": found})
    elif found:
        print("\n".join(_table(found)))
        for run in found:
            if "note" in run:
                say(run["note"])
    else:
        say(f"no runs in {runs_dir}")
        suggest(["train", "DIR", "--model", "smollm2-135m-instruct"])


def show(run: Run, as_json: Json = False) -> None:
    """Show a run: data, model, settings, results, and how to go on."""
    from tunesmith.runs import open_run

    opened = open_run(run)
    described, record = describe(opened), opened.record()
    if as_json:
        print_json({**described, "record": record, "manifest": opened.manifest() if opened.is_complete else None})
        return
    for label, text in _shown(opened, described, record):
        print_wrapped(text, label=f"{label:12}")
    if not opened.is_complete:
        suggest(["train", "--resume", run])
    else:
        suggest(["analyze" if described["evaluation"] else "evaluate", run], ["generate", run])


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Evaluated runs; the others are compared with the first.")],
    only_shared: Annotated[
        bool, typer.Option("--only-shared", help="Where held-out examples differ, compare on those that all have, instead of refusing.")
    ] = False,
    confidence: Annotated[float | None, typer.Option(metavar="X", help="Of the intervals. [default: 0.95]")] = None,
    as_json: Json = False,
) -> None:
    """Compare runs on the same held-out examples: means, differences with intervals, what changed sides."""
    from tunesmith.config import EvaluateConfig, build
    from tunesmith.runs import open_run

    config = build(EvaluateConfig, {"confidence": confidence}, place="runs compare")
    with waiting("loading the comparison"):
        from tunesmith.evaluate.runs import compare_runs
    found = compare_runs([open_run(run) for run in runs], config, only_shared=only_shared)
    if as_json:
        print_json(found.to_json())
        return
    head = ["", *found.titles.values()]
    rows = [[label, *(f"{means[name]:.3f}" for name in found.titles)] for label, means in found.means.items()]
    print("\n".join([*table(head, rows, right=range(1, len(head))), ""]))
    for line in found.summary_lines():
        print_wrapped(line)


def lineage(
    runs_dir: Annotated[Path, typer.Option("--runs-dir", metavar="DIR", help="Where runs are kept.")] = RUNS_DIR, as_json: Json = False
) -> None:
    """Tell how the runs came from one another: data, settings and scores of every round, and what changed since the one before."""
    import dataclasses

    from tunesmith.evaluate.rounds import lineage_lines, trace_rounds
    from tunesmith.runs import list_runs

    rounds = trace_rounds(list_runs(runs_dir))
    if as_json:
        print_json({"runs_dir": str(runs_dir), "rounds": [dataclasses.asdict(one) for one in rounds]})
    elif rounds:
        print("\n".join(harmless(line) for line in lineage_lines(rounds)))
    else:
        say(f"no runs in {runs_dir}")


def describe(run: RunDirectory) -> dict[str, Any]:
    """A run in short, finished or not."""
    record = run.record()
    metrics = run.metrics()
    validations = [line["loss"] for line in metrics if line["kind"] == "validation"]
    steps = [line for line in metrics if line["kind"] == "step"]
    manifest = run.manifest() if run.is_complete else {}
    return {
        "path": str(run.path),
        "created": record["created"],
        "model": record["model"]["name"],
        "method": record["config"]["method"],
        "state": "complete" if run.is_complete else "unfinished",
        "num_steps": steps[-1]["step"] if steps else 0,
        "planned_steps": record["cost"]["num_steps"],
        "best_loss": min(validations, default=None),
        "tokens_per_second": manifest.get("tokens_per_second", steps[-1]["tokens_per_second"] if steps else None),
        "parent": record["parent"],
        "evaluation": _evaluation(run),
    }


def _describe_or_note(run: RunDirectory) -> dict[str, Any]:
    """A run that this version cannot read, such as a newer version's, is listed with the reason."""
    try:
        return describe(run)
    except RunError as error:
        unknown = dict.fromkeys(("model", "method", "best_loss", "tokens_per_second", "parent", "evaluation", "num_steps", "planned_steps"))
        return {"path": str(run.path), "created": None, **unknown, "state": "unreadable", "note": str(error)}


def _evaluation(run: RunDirectory) -> dict[str, Any] | None:
    """Verdict and headline of the report, read as JSON: the report's own module needs scipy."""
    if not run.evaluation_report_file.is_file():
        return None
    report = json.loads(run.evaluation_report_file.read_text(encoding="utf-8"))
    return {key: report[key] for key in ("verdict", "headline", "split", "num_examples")}


def _table(found: list[dict[str, Any]]) -> list[str]:
    """All columns, or as many as the terminal has room for."""
    rows = [_row(run) for run in found]
    columns, spare = list(COLUMNS), list(SPARE)
    while True:
        right = [position for position, column in enumerate(columns) if column in NUMBERS]
        lines = table(columns, [[row[column] for column in columns] for row in rows], right=right)
        fits = not is_terminal() or max(map(len, lines)) <= shutil.get_terminal_size().columns
        if fits or not spare:
            return lines
        columns.remove(spare.pop(0))


def _row(run: dict[str, Any]) -> dict[str, str]:
    return {
        "run": run["path"],
        "created": _moment(run["created"]) if run["created"] else "–",
        "model": run["model"] or "–",
        "method": run["method"] or "–",
        "steps": f"{run['num_steps']}/{run['planned_steps']}" if run["planned_steps"] else "–",
        "best loss": _or_dash(run["best_loss"], "{:.4f}"),
        "tokens/s": _or_dash(run["tokens_per_second"], "{:,.0f}"),
        "state": run["state"],
        "from": Path(run["parent"]).name if run["parent"] else "–",
        "evaluation": run["evaluation"]["verdict"] if run["evaluation"] else "–",
    }


def _moment(created: str) -> str:
    return created[:16].replace("T", " ")


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def _shown(run: RunDirectory, described: dict[str, Any], record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "run", described["path"]
    yield "created", f"{_moment(record['created'])} by `{shlex.join(_command(record['command']))}`"
    yield "data", f"{record['data']['directory']} (fingerprint {record['data']['fingerprint'][:12]})"
    model = record["model"]
    yield "model", f"{model['name']} ({model['origin']}; {model['licence']})" + (f", from {record['parent']}" if record["parent"] else "")
    yield "settings", ", ".join(_settings(record["config"]))
    yield "trained", f"{described['num_steps']} of {described['planned_steps']} steps, {described['state']}"
    if described["best_loss"] is not None:
        yield "best loss", f"{described['best_loss']:.4f} on the validation split"
    if run.is_complete:
        manifest = run.manifest()
        speed = f"{manifest['num_tokens']:,} tokens in {manifest['seconds']:.0f} s ({manifest['tokens_per_second']:,.0f} tokens/s)"
        yield "cost", f"{speed}, peak memory {manifest['peak_memory_bytes'] / 1e9:.2f} GB"
        yield "result", str(run.model_dir)
    else:
        yield "saved", str(run.checkpoints()[-1]) if run.checkpoints() else "nothing yet"
    if described["evaluation"]:
        evaluation = described["evaluation"]
        yield "evaluation", f"{evaluation['verdict']} on {evaluation['num_examples']} examples of the {evaluation['split']} split"
        for sentence in evaluation["headline"]:
            yield "", sentence
        yield "report", str(run.html_report_file)


def _command(words: list[str]) -> list[str]:
    return [Path(words[0]).name, *words[1:]]


def _settings(config: dict[str, Any]) -> Iterator[str]:
    """Every setting but those that have lines of their own, nested ones with a dot."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from (f"{key}.{inner} {setting}" for inner, setting in value.items() if key in config["method"])
        elif key not in ("model", "data") and value is not None and (key != "trainable_layers" or config["method"] == "freeze"):
            yield f"{key} {value}"


command = verb_with_subverbs(
    runs,
    {"list": (list_, ""), "show": (show, "RUN"), "compare": (compare, "RUN RUN..."), "lineage": (lineage, "")},
    "tunesmith runs",
    "tunesmith runs show runs/faq",
    "tunesmith runs compare runs/faq-1 runs/faq-2",
    "tunesmith runs lineage",
    "tunesmith runs list --runs-dir /data/runs --json",
)
