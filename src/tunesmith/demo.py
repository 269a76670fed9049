"""The whole loop on the embedded default: prepare, preview, train, evaluate, analyse."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.analyze.analyze import analyze_run
from tunesmith.analyze.lines import table_lines
from tunesmith.analyze.nearest import WORDS
from tunesmith.analyze.results import Analysis
from tunesmith.config import AnalyzeConfig, EvaluateConfig, GenerateConfig, PrepareConfig, TrainConfig
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.prepare import prepare
from tunesmith.errors import DataError
from tunesmith.evaluate.answering import OnProgress
from tunesmith.evaluate.evaluate import evaluate_run
from tunesmith.evaluate.records import EvaluationRecord, read_records
from tunesmith.evaluate.report import EvaluationReport
from tunesmith.runs import RunDirectory
from tunesmith.train.observer import Observer
from tunesmith.train.train import train

MODEL = "smollm2-135m-instruct"
EPOCHS = 2.0
LEARNING_RATE = 1e-3
"""Twice the default: a hundred steps are few (measured: validation loss 3.28 after them, with the default 3.41)."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Where everything is, and what came of it."""

    run: RunDirectory
    report: EvaluationReport
    records: tuple[EvaluationRecord, ...]
    analysis: Analysis

    def lines(self) -> list[str]:
        """For the screen: three answers side by side, error groups, figures, and where the report is."""
        shown = [line for record in _telling(self.records) for line in _side_by_side(record)]
        return [*shown, *table_lines(self.analysis), "", *self.report.summary_lines(), "", f"report: {self.run.html_report_file}"]

    def record(self) -> dict[str, Any]:
        """The JSON document of `tunesmith demo --json`."""
        return {"run": str(self.run.path), "manifest": self.run.manifest(), "report": self.report.to_json()}


def run_demo(
    out: Path, *, observer: Observer, say: Callable[[str], None], on_progress: OnProgress | None = None, epochs: float = EPOCHS
) -> DemoResult:
    """Run the whole loop inside the new directory `out`.

    Raises:
        DataError: `out` exists already.
        AssetError: the model can be had neither from the hub nor from the package index.
    """
    if out.exists():
        raise DataError(str(out), "it exists already and is never overwritten", expected="a new directory", remedy="choose another --out")
    say(f"1 prepare: the built-in questions and answers -> {out / 'data'}")
    data = prepare([builtin_data_file()], out / "data", PrepareConfig())
    for line in data.summary().splitlines():
        say(line)
    say(f"2 preview and train: LoRA on {MODEL}")
    run = train(
        TrainConfig(model=MODEL, data=data.directory, epochs=epochs, learning_rate=LEARNING_RATE),
        runs_dir=out / "runs",
        name="demo",
        observer=observer,
    )
    say("3 evaluate: base and tuned model answer the held-out questions")
    config = EvaluateConfig(generation=GenerateConfig(max_new_tokens=96))
    report = evaluate_run(run, config, say=say, on_progress=on_progress)
    say("4 analyse: where it still fails")
    analysis = analyze_run(run, AnalyzeConfig(embeddings=WORDS))
    return DemoResult(run=run, report=report, records=tuple(read_records(run.evaluation_records_file)), analysis=analysis)


def _telling(records: tuple[EvaluationRecord, ...]) -> list[EvaluationRecord]:
    """The example that gained most, the one in the middle, the one that lost most, by token F1: no cherry-picking."""
    ranked = sorted(records, key=lambda r: (r.base.scores["token_f1"] - r.tuned.scores["token_f1"], r.id))
    return [ranked[0], ranked[len(ranked) // 2], ranked[-1]]


def _side_by_side(record: EvaluationRecord) -> list[str]:
    texts = {"asked": record.prompt, "right": record.reference, "base": record.base.completion, "tuned": record.tuned.completion}
    lines = []
    for label, text in texts.items():
        wrapped = textwrap.wrap(" ".join(text.split()), width=100, max_lines=4, placeholder=" …") or ["(nothing)"]
        lines += [f"{label:>6}  {wrapped[0]}", *(f"{'':8}{line}" for line in wrapped[1:])]
    return [*lines, ""]
