"""The report of a benchmark run: one JSON document, and lines for the terminal.

worse: HellaSwag acc_norm 0.410 against 0.430, -0.020 [-0.029, -0.011], n = 1,000, p < 0.001

benchmark  metric                  n  shots  smollm2-135m-instruct  faq
HellaSwag  acc_norm  1,000 of 10,042      0  0.430 [0.400, 0.461]   0.410 [0.380, 0.441]
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunesmith.errors import RunError
from tunesmith.evaluate.benchmarks.catalog import FOUR
from tunesmith.evaluate.benchmarks.comparison import AVERAGE, TaskComparison
from tunesmith.evaluate.benchmarks.overlap import Overlap
from tunesmith.evaluate.benchmarks.scores import Score
from tunesmith.evaluate.wording import counted
from tunesmith.runs import RunDirectory

SCHEMA_VERSION = 1
FOUR_WORDS = "ARC-Challenge, HellaSwag, MMLU, TruthfulQA mc2"
LEADERBOARD_SHOTS: Mapping[str, int] = {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0}
"""Worked examples with which the first Open LLM Leaderboard's averages were made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkScores:
    """One benchmark, all models."""

    name: str
    title: str
    num_documents: int
    """That were asked."""
    num_all: int
    """That there are."""
    num_tasks: int
    num_fewshot: tuple[int, ...]
    """Different numbers of worked examples among its tasks."""
    scores: Mapping[str, tuple[Score, ...]]
    """By model; the deciding metric first."""
    subtasks: Mapping[str, Mapping[str, float]]
    """Of a group: task to model to the deciding metric."""
    overlaps: tuple[Overlap, ...]
    """For each run whose training data were there."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BenchmarkScores:
        scores = {model: tuple(Score.from_json(score) for score in own) for model, own in values["scores"].items()}
        overlaps = tuple(Overlap.from_json(overlap) for overlap in values["overlaps"])
        return cls(**{**values, "scores": scores, "overlaps": overlaps, "num_fewshot": tuple(values["num_fewshot"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkReport:
    """What some models scored, and how they compare."""

    schema_version: int = SCHEMA_VERSION
    created: str
    settings: Mapping[str, Any]
    """The whole `BenchmarkConfig`."""
    data: str
    """Where the documents came from, in words."""
    versions: Mapping[str, str]
    dtype: str
    device: str
    models: tuple[str, ...]
    """A base before its runs."""
    benchmarks: tuple[BenchmarkScores, ...]
    averages: Mapping[str, float]
    """By model; empty unless all four benchmarks are there."""
    comparisons: tuple[TaskComparison, ...]
    """Task by task and, where there is one, the average."""

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The sentences; each names its models where there are several pairs."""
        pairs = {(one.model, one.against) for one in self.comparisons}
        return tuple(f"{one.model} against {one.against}: {one.sentence}" if len(pairs) > 1 else one.sentence for one in self.comparisons)

    @property
    def how(self) -> str:
        """How it was asked, in a sentence."""
        template = "in the model's chat template" if self.settings["chat_template"] else "without chat template"
        shots = self.settings["num_fewshot"]
        worked = (
            "each task's own number of worked examples" if shots is None else f"{counted(shots, 'worked example')} where a task allows it"
        )
        limit = self.settings["limit"]
        which = "all documents"
        if limit:
            which = f"the first {limit:,} documents" if self.settings["first"] else f"a sample of {limit:,} documents"
        return (
            f"{which} of each benchmark, seed {self.settings['seed']}, {worked}, {template}; documents from {self.data}; "
            f"{self.dtype} on {self.device}; lm-evaluation-harness {self.versions['lm_eval']}"
        )

    def to_json(self) -> dict[str, Any]:
        """The document `report.json`; `verdicts` and `how` are for readers and are made again on reading."""
        return {**dataclasses.asdict(self), "verdicts": list(self.verdicts), "how": self.how}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BenchmarkReport:
        """Read `to_json`'s document.

        Raises:
            RunError: it is from another version.
        """
        if values.get("schema_version") != SCHEMA_VERSION:
            found = f"schema version {values.get('schema_version')}"
            raise RunError("report.json", found, expected=str(SCHEMA_VERSION), remedy="run `tunesmith benchmark` again")
        parts = {
            "models": tuple(values["models"]),
            "benchmarks": tuple(BenchmarkScores.from_json(one) for one in values["benchmarks"]),
            "comparisons": tuple(TaskComparison.from_json(one) for one in values["comparisons"]),
        }
        return cls(**{**{name: value for name, value in values.items() if name not in ("verdicts", "how")}, **parts})

    def summary_lines(self) -> list[str]:
        """For the terminal; holds square brackets, so print it without markup."""
        return [*self.verdict_lines(), *self.table_lines(), *self.note_lines()]

    def verdict_lines(self) -> list[str]:
        """What follows from the comparisons, and an empty line."""
        return [*self.verdicts, ""] if self.comparisons else []

    def table_lines(self) -> list[str]:
        """Aligned columns, a row for each metric; not to be wrapped."""
        head = ["benchmark", "metric", "n", "shots", *self.models]
        rows = [row for one in self.benchmarks for row in _rows(one, self.models)]
        if self.averages:
            rows.append([AVERAGE, "", "", "", *(f"{self.averages[model]:.3f}" for model in self.models)])
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        return ["  ".join(map(_aligned, range(len(row)), row, widths)).rstrip() for row in (head, *rows)]

    def note_lines(self) -> list[str]:
        """What the average is of, what of the documents was trained on, and how it was asked."""
        words = self.settings["overlap_words"]
        overlaps = [overlap_sentence(one.title, overlap, words) for one in self.benchmarks for overlap in one.overlaps]
        average = ["", self.average_note] if self.averages else []
        return [*average, *(["", *overlaps] if overlaps else []), "", self.how]

    @property
    def average_note(self) -> str:
        """What the average is of, and whether it was asked as on the leaderboard it is compared with."""
        shots = {one.name: one.num_fewshot for one in self.benchmarks if one.name in FOUR}
        same = all(shots[name] == (number,) for name, number in LEADERBOARD_SHOTS.items())
        asked = ", ".join(f"{number}" for number in LEADERBOARD_SHOTS.values())
        note = "asked as there" if same else f"the leaderboard's own figures are with {asked} worked examples, these are not"
        return f"{AVERAGE}: {FOUR_WORDS}, as on the first Open LLM Leaderboard ({note})"


def _aligned(column: int, cell: str, width: int) -> str:
    return cell.rjust(width) if column in (2, 3) else cell.ljust(width)


def _rows(one: BenchmarkScores, models: tuple[str, ...]) -> list[list[str]]:
    shots = " and ".join(map(str, one.num_fewshot))
    count = f"{one.num_documents:,}" + (f" of {one.num_all:,}" if one.num_documents < one.num_all else "")
    first = one.scores[models[0]]
    rows = [[score.metric, *(figure(one.scores[model][number]) for model in models)] for number, score in enumerate(first)]
    heads = [[one.title, count, shots], *[["", "", ""]] * (len(rows) - 1)]
    return [[title, row[0], n, number, *row[1:]] for (title, n, number), row in zip(heads, rows, strict=True)]


def figure(score: Score) -> str:
    """`0.541 [0.521, 0.561]`."""
    if score.interval is None:
        return f"{score.value:.4g}"
    return f"{score.value:.3f} [{score.interval.low:.3f}, {score.interval.high:.3f}]"


def overlap_sentence(title: str, overlap: Overlap, words: int) -> str:
    """`HellaSwag: none of 1,000 documents stand in what faq was trained on (runs of 13 words)`."""
    where = f"in what {overlap.run} was trained on (runs of {words} words, or an equal prompt)"
    if not overlap.num_overlapping:
        return f"{title}: none of {counted(overlap.num_documents, 'document')} stands {where}"
    without = ", ".join(f"{model} {score.value:.3f}" for model, score in overlap.without.items())
    rest = f"; without them {next(iter(overlap.without.values())).metric} is {without}" if overlap.without else ""
    return f"{title}: {overlap.num_overlapping:,} of {counted(overlap.num_documents, 'document')} {_stand(overlap)} {where}{rest}"


def _stand(overlap: Overlap) -> str:
    return "stands" if overlap.num_overlapping == 1 else "stand"


def read_benchmarks(run: RunDirectory) -> BenchmarkReport | None:
    """The report of a run's latest benchmarks; None where there is none.

    Raises:
        RunError: it is from another version.
    """
    file = run.benchmarks_dir / "report.json"
    return BenchmarkReport.from_json(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
