"""What one model made of one task, a record for each document, and the files they are kept in.

A line of `records.jsonl`:

    {"task": "arc_easy", "document": 17, "hash": "9f2c…", "prompt_hash": "44d1…", "question": "Which of these …", "right": "the Sun",
     "values": {"acc,none": 1.0, "acc_norm,none": 0.0}, "answers": [[-12.1, false], …]}
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tunesmith.config import BenchmarkConfig
from tunesmith.files import write_json, write_json_lines

SCHEMA_VERSION = 1
PACKAGES = ("tunesmith", "lm_eval", "torch", "transformers", "datasets")


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentRecord:
    """One document, asked of one model."""

    task: str
    document: int
    """Its position in the task's split."""
    hash: str
    """Of the document, by the harness: the same for all models that were asked the same."""
    prompt_hash: str
    question: str
    """What is asked."""
    right: str
    """The right answer, where it is a text."""
    values: Mapping[str, float]
    """By metric and filter, such as `acc,none`; empty where the harness' metric is not of single documents."""
    answers: Sequence[Any]
    """As the harness filtered them: of a choice (nats, is greedy) for each, else a text or nats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """One task, done by one model."""

    name: str
    num_fewshot: int
    scores: Mapping[str, float]
    """By metric and filter, as the harness computes them."""
    higher_is_better: Mapping[str, bool]
    """By metric."""
    version: str
    """Of the task."""
    records: tuple[DocumentRecord, ...]
    num_computed: int
    """Requests that were computed now rather than found in the file of an earlier process."""


def write_task(folder: Path, result: TaskResult, config: BenchmarkConfig) -> None:
    """Replace the task's records, then its result."""
    write_json_lines(folder / "records.jsonl", (dataclasses.asdict(record) for record in result.records))
    write_json(
        folder / "result.json",
        {
            "schema_version": SCHEMA_VERSION,
            "task": result.name,
            "task_version": result.version,
            "num_documents": len(result.records),
            "num_fewshot": result.num_fewshot,
            "scores": dict(result.scores),
            "settings": config.model_dump(mode="json"),
            "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "versions": versions(),
        },
    )


def versions() -> dict[str, str]:
    """Of what decides a score."""
    return {name: metadata.version(name) for name in PACKAGES}
