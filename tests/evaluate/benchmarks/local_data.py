"""Small benchmarks in hub layout, written by the tests: as many questions as one likes, about numbers and colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

COLOURS = ("red", "green", "blue", "yellow")
ENDINGS = ["sits down.", "runs home.", "sings a song.", "opens the door."]


def arc_row(number: int) -> dict[str, Any]:
    question = f"Which colour has the number {number} in the list of colours that we keep in the drawer of the old kitchen table?"
    choices = {"text": [f"{colour} {number}" for colour in COLOURS], "label": list("ABCD")}
    return {"id": f"q{number}", "question": question, "choices": choices, "answerKey": "ABCD"[number % 4]}


def hellaswag_row(number: int) -> dict[str, Any]:
    context = f"The quick brown fox number {number} looks at the lazy dog"
    return {
        "ind": number,
        "activity_label": "Foxes",
        "ctx_a": context + ".",
        "ctx_b": "the dog",
        "ctx": context + ". the dog",
        "endings": ENDINGS,
        "source_id": "own",
        "split": "val",
        "split_type": "indomain",
        "label": str(number % 4),
    }


def mmlu_row(number: int) -> dict[str, Any]:
    return {"question": f"What is {number} + 1?", "subject": "own", "choices": [str(number + i) for i in range(4)], "answer": 1}


def truthful_row(number: int) -> dict[str, Any]:
    def targets(right: int) -> dict[str, Any]:
        return {"choices": [f"{number} is {colour}." for colour in COLOURS], "labels": [1] * right + [0] * (4 - right)}

    return {"question": f"What colour is {number}?", "mc1_targets": targets(1), "mc2_targets": targets(2)}


def write_data_set(folder: Path, splits: dict[str, dict[str, list[dict[str, Any]]]]) -> Path:
    """Configuration to split to rows, as Parquet files that a README names."""
    lines = ["---", "configs:"]
    for config, of_config in splits.items():
        (folder / config).mkdir(parents=True)
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, rows in of_config.items():
            pq.write_table(pa.Table.from_pylist(rows), folder / config / f"{split}.parquet")
            lines += [f"  - split: {split}", f"    path: {config}/{split}.parquet"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]), encoding="utf-8")
    return folder


def write_arc(root: Path, *, num_test: int = 12) -> Path:
    rows = {"test": [arc_row(i) for i in range(num_test)], "validation": [arc_row(i) for i in range(100, 104)]}
    return write_data_set(root / "ai2_arc", {"ARC-Easy": rows, "ARC-Challenge": rows})


def write_hellaswag(root: Path) -> Path:
    return write_data_set(root / "hellaswag", {"default": {"validation": [hellaswag_row(i) for i in range(8)]}})


def write_mmlu(root: Path, subjects: list[str]) -> Path:
    rows = {"test": [mmlu_row(i) for i in range(3)], "dev": [mmlu_row(i) for i in range(10, 15)]}
    return write_data_set(root / "mmlu", dict.fromkeys(subjects, rows))


def write_truthful(root: Path) -> Path:
    return write_data_set(root / "truthful_qa", {"multiple_choice": {"validation": [truthful_row(i) for i in range(6)]}})
