"""From a run's evaluation to its analysis, onto the run's page, and into files that other verbs read.

>>> analysis = analyze_run(open_run(Path("runs/faq")), AnalyzeConfig())
>>> print("\\n".join(lines_of(analysis)))

    runs/faq/analysis/
      analysis.json     error groups with counts, flips, failures shown in full; `synthesize errors` reads it
      records.jsonl     every example: each model's error groups with explanations, what changed
      actions.json      what to do: commands, rows, settings, each with what it rests on
      found.json        groups found by likeness with all their members; the next analysis keeps their names
      review.csv        training rows to drop or edit; `prepare --review` reads it. Absent where there are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunesmith.analyze.actions import Origin
from tunesmith.analyze.analysis import Verdicts, analyze_records
from tunesmith.analyze.found import read_groups, write_groups
from tunesmith.analyze.judging import Judge, judge_contradictions
from tunesmith.analyze.nearest import Space
from tunesmith.analyze.results import Analysis, action_to_json
from tunesmith.analyze.review import command_of, write_proposals
from tunesmith.config import AnalyzeConfig, EvaluateConfig
from tunesmith.data.storing.prepared import PreparedData, load_data_of
from tunesmith.evaluate.records import EvaluationRecord, read_records
from tunesmith.evaluate.report import read_report
from tunesmith.evaluate.run_page import write_pages
from tunesmith.files import write_json, write_json_lines
from tunesmith.runs import RunDirectory
from tunesmith.types import Example

SCHEMA_VERSION = 1
"""Of `actions.json`."""


def analyze_run(run: RunDirectory, config: AnalyzeConfig, *, judge: Judge | None = None) -> Analysis:
    """Analyse a run's latest evaluation; write `analysis/`, and `report.html` and `report.md` again with the error groups in them.

    Raises:
        RunError: the run was not evaluated, or its data set has changed since.
        DataError: its data set is gone.
    """
    report = read_report(run)
    records = read_records(run.evaluation_records_file)
    data = load_data_of(run)
    verdicts, notes = judged(records, judge, run.analysis_dir)
    analysis = analyze_records(
        records,
        data.train,
        config,
        right_rule=report.flips.rule,
        space=Space.open(config.embeddings),
        origin=_origin(run, data, records, report.settings),
        contradictions=verdicts,
        notes=notes,
        earlier=read_groups(run.analysis_dir),
    )
    write_analysis(run.analysis_dir, analysis, data.train, data)
    write_pages(run)
    return analysis


def judged(records: Sequence[EvaluationRecord], judge: Judge | None, directory: Path) -> tuple[Verdicts | None, tuple[str, ...]]:
    """The judge's verdicts, kept in the directory, and what to say of them; None where nobody judges."""
    if judge is None:
        return None, ()
    directory.mkdir(parents=True, exist_ok=True)
    return judge_contradictions(records, judge, directory)


def _origin(run: RunDirectory, data: PreparedData, records: Sequence[EvaluationRecord], settings: Mapping[str, Any]) -> Origin:
    config = run.record()["config"]
    return Origin(
        analysed=run.path,
        data=data.directory,
        model=str(config["model"]),
        trained_epochs=float(config["epochs"] or 1),
        has_turned=_has_turned(run),
        options=_options(settings),
        max_new_tokens=settings["generation"]["max_new_tokens"],
        longest_reference=longest_reference(records),
    )


def _has_turned(run: RunDirectory) -> bool:
    """Whether the validation loss was lowest before the last step."""
    manifest = run.manifest()
    best = manifest.get("best_step")
    return best is not None and best < manifest["num_steps"]


def _options(settings: Mapping[str, Any]) -> str:
    """Of `evaluate`, that say which examples were asked."""
    defaults = EvaluateConfig()
    given = {name: settings.get(name) for name in ("split", "limit", "seed")}
    return " ".join(f"--{name} {value}" for name, value in given.items() if value not in (None, getattr(defaults, name)))


def longest_reference(records: Sequence[EvaluationRecord]) -> int:
    """Tokens."""
    return max((answer.num_supervised for record in records for answer in record.answers.values()), default=0)


def write_analysis(directory: Path, analysis: Analysis, train: Sequence[Example], data: PreparedData | None) -> None:
    """Write the files of an analysis; a review table that somebody has worked on stays."""
    directory.mkdir(parents=True, exist_ok=True)
    table = write_proposals(directory, analysis.actions, train, data)
    command = command_of(table, data) if table is not None and data is not None else None
    actions = [action_to_json(action) for action in analysis.actions]
    review = None if table is None else {"file": str(table), "command": command}
    write_json(directory / "actions.json", {"schema_version": SCHEMA_VERSION, "review": review, "actions": actions})
    write_json_lines(directory / "records.jsonl", (failure.to_json() for failure in analysis.failures))
    write_groups(directory, analysis.found)
    where = {} if data is None else {"data": str(data.directory)}
    write_json(directory / "analysis.json", {**analysis.to_json(), **where})
