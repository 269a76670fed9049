"""Run directories and prepared data sets made up on the spot, as many and as large as one likes; nothing in them was trained.

    make_runs(tmp_path, num_runs=200, num_steps=500, num_examples=10_000)

The files have the shapes that training, evaluation and analysis write; a test compares them with those of a real run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CREATED = "2026-01-{day:02d}T{hour:02d}:{minute:02d}:00+0000"
HOSTILE_NAME = "<img src=x onerror=alert(1)>"
HOSTILE_TEXT = "<script>alert('prompt')</script><img src=x onerror=alert(2)> {{ 7*7 }} ${7*7}"


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def write_lines(path: Path, values: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    return path


def record(number: int, data: Path, *, model: str = "tiny-llama", parent: str | None = None, num_steps: int = 40) -> dict[str, Any]:
    """A `run.json`."""
    config = {"model": model, "data": str(data), "method": "lora", "objective": "sft", "learning_rate": 5e-4, "epochs": 2.0}
    return {
        "schema_version": 1,
        "created": CREATED.format(day=1 + number // 1440 % 28, hour=number // 60 % 24, minute=number % 60),
        "command": ["tunesmith", "train", str(data), "--model", model],
        "kind": "train",
        "config": {**config, "lora": {"rank": 16, "alpha": 32.0}, "max_length": 256},
        "model": {"name": model, "origin": "a folder", "licence": "unknown"},
        "parent": parent,
        "data": {"directory": str(data), "fingerprint": "f" * 64},
        "cost": {"num_steps": num_steps, "num_parameters": 1000, "num_trainable": 100},
        "threads": 1,
    }


def step_line(step: int) -> dict[str, Any]:
    """A line of `metrics.jsonl`."""
    return {
        "kind": "step",
        "step": step,
        "epoch": step / 100,
        "loss": 1.5 + 2 * math.exp(-step / 60) + 0.1 * math.sin(step),
        "learning_rate": 5e-4 * max(0.0, 1 - step / 1000),
        "grad_norm": 1.0,
        "num_tokens": 800,
        "num_supervised": 400,
        "seconds": 1.25,
        "tokens_per_second": 640.0 + 20 * math.sin(step / 3),
        "memory_bytes": 1_200_000_000 + step * 1000,
    }


def metric_lines(num_steps: int) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for step in range(1, num_steps + 1):
        lines.append(step_line(step))
        if step % max(1, num_steps // 4) == 0:
            lines.append({"kind": "validation", "step": step, "loss": 1.6 + math.exp(-step / 60), "is_best": True})
    return lines


def manifest(num_steps: int) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "finished": "2026-01-31T14:00:00+0000",
        "method": "lora",
        "objective": "sft",
        "num_steps": num_steps,
        "best_step": num_steps,
        "best_loss": 1.75,
        "num_tokens": 32000,
        "seconds": 50.0,
        "tokens_per_second": 640.0,
        "peak_memory_bytes": 1_300_000_000,
    }


def comparison(name: str, title: str, base: float, tuned: float, *, higher: bool = True) -> dict[str, Any]:
    change = tuned - base
    metric = {"name": name, "title": title, "higher_is_better": higher, "scale": "0 to 1", "decimals": 2, "binary": False, "top": 1.0}
    return {
        "metric": metric,
        "num_examples": 153,
        "base": base,
        "tuned": tuned,
        "difference": change,
        "interval": [change - 0.04, change + 0.04],
        "test": "sign flips",
        "p_value": 0.0001,
        "p_adjusted": 0.0005,
        "verdict": "better",
        "sentence": f"better: {title} {tuned:.2f} against {base:.2f}",
    }


def report(name: str, number: int) -> dict[str, Any]:
    """What of `evaluation/report.json` the lists read."""
    comparisons = [
        comparison("loss", "loss", 2.4, 1.7 - number % 7 / 50, higher=False),
        comparison("rouge_l", "ROUGE-L", 0.21, 0.3 + number % 13 / 60),
    ]
    return {
        "schema_version": 2,
        "verdict": "better",
        "headline": [one["sentence"] for one in comparisons],
        "run_name": name,
        "split": "test",
        "deciding": ["loss", "rouge_l"],
        "num_examples": 153,
        "comparisons": comparisons,
    }


def make_run(
    runs: Path,
    name: str,
    number: int = 0,
    *,
    data: Path,
    num_steps: int = 40,
    state: str = "finished",
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """One run directory: `finished`, `evaluated`, `interrupted` or `failed`."""
    path = runs / name
    write(path / "run.json", {**record(number, data, num_steps=num_steps), **(changes or {})})
    seen = {"num_examples": 900, "num_tokens": 31000, "num_supervised": 9000, "longest": 120, "max_length": 256, "dropped": [], "cut": []}
    write(path / "preflight.json", {"train": seen, "validation": None})
    is_whole = state in ("finished", "evaluated")
    write_lines(path / "metrics.jsonl", metric_lines(num_steps if is_whole else num_steps // 2))
    if is_whole:
        write(path / "manifest.json", manifest(num_steps))
    if state == "evaluated":
        write(path / "evaluation" / "report.json", report(name, number))
        (path / "evaluation" / "report.html").write_text("<!doctype html><title>Report</title><p>the report</p>", encoding="utf-8")
    if state in ("interrupted", "failed"):
        process = {"schema_version": 1, "pid": 1, "started": 1.0, "host": "here", "command": [], "outcome": state}
        write(path / "process.json", {**process, "message": "the disk is full" if state == "failed" else None})
    return path


STATES = ("evaluated", "evaluated", "finished", "evaluated", "interrupted", "evaluated", "failed")


def make_runs(directory: Path, *, num_runs: int = 6, num_steps: int = 40, num_examples: int = 20) -> tuple[Path, Path]:
    """`directory/runs` and `directory/prepared` with one data set."""
    runs, prepared = directory / "runs", directory / "prepared"
    data = make_data(prepared, "faq", num_examples=num_examples)
    for number in range(num_runs):
        make_run(runs, f"faq-{number:03d}", number, data=data, num_steps=num_steps, state=STATES[number % len(STATES)])
    return runs, prepared


def make_data(prepared: Path, name: str, *, num_examples: int = 20) -> Path:
    """A prepared data set in form only: its checksums are not those of its files."""
    path = prepared / name
    for split, count in (("train", num_examples), ("validation", num_examples // 10), ("test", num_examples // 10)):
        write_lines(path / f"{split}.jsonl", [_example(split, number) for number in range(count)])
    counts = {"train": num_examples, "validation": num_examples // 10, "test": num_examples // 10}
    write(
        path / "manifest.json",
        {
            "schema_version": 1,
            "created": "2026-01-01T00:00:00+0000",
            "counts": counts,
            "settings": {"template": "auto"},
            "splits": {split: {"sha256": "0" * 64} for split in counts},
            "fingerprint": "f" * 64,
        },
    )
    return path


def _example(split: str, number: int) -> dict[str, Any]:
    question, answer = f"Question {number} of {split}: how does part {number} work?", f"Part {number} turns until it stops. " * 4
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"id": f"{split}-{number:06d}", "source": f"faq.jsonl:{number + 1}", "messages": messages}


def make_hostile_runs(runs: Path, data: Path) -> dict[str, str]:
    """Directories that are made, or happened, to break a reader; name to a word of the reason that must show."""
    path = make_run(runs, HOSTILE_NAME, 3, data=data, state="evaluated", changes={"model": {"name": HOSTILE_TEXT}})
    write(path / "process.json", {"pid": "4711", "started": [], "host": {}})
    (runs / "half-written").mkdir(parents=True)
    (runs / "half-written" / "run.json").write_text('{"schema_version": 1, "created": "2026-01-', encoding="utf-8")
    (runs / "deep").mkdir()
    (runs / "deep" / "run.json").write_text("[" * 200_000, encoding="utf-8")
    (runs / "no-text").mkdir()
    (runs / "no-text" / "run.json").write_bytes(b"\xff\xfe\x00{")
    write(runs / "a-list" / "run.json", [1, 2, 3])
    write(runs / "newer" / "run.json", {"schema_version": 10**400})
    write(runs / "wrong-types" / "run.json", {"schema_version": 1, "created": 7, "model": "m", "config": [], "data": None})
    nan = make_run(runs, "nan", 4, data=data, num_steps=8)
    (nan / "metrics.jsonl").write_text(
        '{"kind": "step", "step": 1, "loss": NaN, "tokens_per_second": 1e999}\nnot json\n{"kind": 3}\n{"kind": "step", "step": "x"}\n'
        '{"kind": "step"',
        encoding="utf-8",
    )
    (nan / "manifest.json").write_text('{"num_steps": "many", "best_loss": NaN, "tokens_per_second": -Infinity}', encoding="utf-8")
    write(nan / "evaluation" / "report.json", {"verdict": [], "deciding": {"a": 1}, "comparisons": [1, {"metric": 3}, None]})
    return {
        "half-written": "not JSON",
        "deep": "nested too deeply",
        "no-text": "not JSON",
        "a-list": "no JSON object",
        "newer": "schema version",
        "wrong-types": "no created",
    }
