"""Evaluations and analyses made up on the spot, in the shapes that `evaluate` and `analyze` write.

add_evaluation(runs / "faq-000", num_examples=10_000)
add_analysis(runs / "faq-000")
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.studio.made import comparison, write, write_lines

KINDS = ("both_right", "newly_right", "both_wrong", "newly_wrong", "newly_right")
GROUPS = {"too_long": ("too long", "major"), "no_end": ("does not end its turn", "catastrophic")}


def example_id(number: int) -> str:
    return f"test-{number:06d}"


def kind_of(number: int, *, shift: bool = False) -> str:
    """Cell of the table of right and wrong; shifted, every seventh newly wrong or wrong example is newly right."""
    kind = KINDS[number % len(KINDS)]
    return {"newly_wrong": "both_right", "both_wrong": "newly_right"}.get(kind, kind) if shift and number % 7 == 0 else kind


def evaluated_record(number: int, *, hostile: str = "", shift: bool = False) -> dict[str, Any]:
    """A line of `evaluation/records.jsonl`; the hostile text stands in every text of it."""
    reference = f"Part {number} turns until it stops, then it rests. {hostile}"
    kind = kind_of(number, shift=shift)
    tuned_right, base_right = kind in ("both_right", "newly_right"), kind in ("both_right", "newly_wrong")

    def answer(right: bool, label: str) -> dict[str, Any]:
        completion = (
            f"Part {number} turns until it stops. {hostile}"
            if right
            else f"I am the {label} model and part {number} is green. {hostile}" * 3
        )
        return {
            "completion": completion,
            "finish_reason": "end_of_turn" if right else "max_new_tokens",
            "num_tokens": 24,
            "loss_total": 20.0 if right else 60.0,
            "num_supervised": 20,
            "scores": {"rouge_l": 0.8 if right else 0.1, "token_f1": 0.9 if right else 0.15},
            "explanations": {},
            "label": None,
        }

    prompt = f"Question {number} of test: how does part {number} work? {hostile}"
    return {
        "id": example_id(number),
        "source": f"faq.csv:{number + 2}{hostile}",
        "prompt": prompt,
        "reference": reference,
        "messages": [{"role": "user", "content": prompt}],
        "answers": {"base": answer(base_right, "base"), "tuned": answer(tuned_right, "tuned")},
    }


def _comparison(*figures: Any, **more: Any) -> dict[str, Any]:
    missing = dict.fromkeys(("effect_size", "deviation", "detectable_difference", "examples_needed"))
    return {**comparison(*figures, **more), **missing}


def add_evaluation(run: Path, *, num_examples: int = 40, hostile: str = "", shift: bool = False) -> None:
    """Records and report; the report's tests are made up. (`shift`: of another run, which is right more often.)"""
    write_lines(
        run / "evaluation" / "records.jsonl", [evaluated_record(number, hostile=hostile, shift=shift) for number in range(num_examples)]
    )
    kinds = {example_id(number): kind_of(number, shift=shift) for number in range(num_examples)}
    ids = {kind: [one for one, its in kinds.items() if its == kind] for kind in set(KINDS)}
    comparisons = [
        _comparison("loss", "loss", 2.4, 1.7, higher=False),
        _comparison("rouge_l", "ROUGE-L", 0.21, 0.3),
        _comparison("token_f1", f"token F1{hostile}", 0.25, 0.41),
    ]
    shape = {"median_words": 9.0, "mean_words": 9.0, "mean_tokens": 24.0, "finish_reasons": {"end_of_turn": num_examples}}
    write(
        run / "evaluation" / "report.json",
        {
            "schema_version": 2,
            "verdict": "better",
            "headline": [one["sentence"] for one in comparisons],
            "run_name": run.name,
            "model_name": "tiny-llama",
            "split": "test",
            "data_fingerprint": "f" * 64,
            "date": "2026-01-31",
            "settings": {"confidence": 0.95},
            "deciding": ["loss", "rouge_l"],
            "num_examples": num_examples,
            "num_left_out": 2,
            "comparisons": comparisons,
            "flips": {"rule": {"metric": "token_f1", "threshold": 0.5}, **ids, "p_value": 0.0003},
            "confusion": None,
            "reference_median_words": 9.0,
            "base": shape,
            "tuned": shape,
        },
    )


def add_analysis(run: Path, *, hostile: str = "") -> None:
    """Every wrong answer is too long, every second of them has no end."""
    records = [json.loads(line) for line in (run / "evaluation" / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    failures = [{"id": one["id"], "source": one["source"], **_failed(one, number, hostile)} for number, one in enumerate(records)]
    write_lines(run / "analysis" / "records.jsonl", failures)
    groups = [_group(name, failures, hostile) for name in GROUPS]
    write(
        run / "analysis" / "analysis.json",
        {
            "schema_version": 2,
            "labels": ["base", "tuned"],
            "num_examples": len(records),
            **{f"num_without_failure_{label}": sum(not one[label] for one in failures) for label in ("base", "tuned")},
            "groups": groups,
            "notes": [f"not checked: labels {hostile}"],
            "actions": [
                {
                    "group": "too_long",
                    "kind": "setting",
                    "why": f"near examples were trained on: train longer {hostile}",
                    "command": f"tunesmith train prepared/faq --epochs 3 {hostile}",
                    "rows": 0,
                }
            ],
        },
    )


def _failed(record: dict[str, Any], number: int, hostile: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for label in ("base", "tuned"):
        wrong = record["answers"][label]["finish_reason"] == "max_new_tokens"
        found[label] = {"too_long": f"30 words where the reference has 10 (limit 2) {hostile}"} if wrong else {}
        if wrong and number % 2:
            found[label]["no_end"] = "it went on until max_new_tokens stopped it"
    return {**found, "kind": KINDS[number % len(KINDS)], "change": f"was right, now wrong {hostile}"}


def _group(name: str, failures: list[dict[str, Any]], hostile: str) -> dict[str, Any]:
    title, severity = GROUPS[name]
    members = {label: [one["id"] for one in failures if name in one[label]] for label in ("base", "tuned")}
    return {
        "name": name,
        "title": f"{title}{hostile}",
        "severity": severity,
        "is_found": False,
        "counts": {label: len(ids) for label, ids in members.items()},
        "fixed": [one for one in members["base"] if one not in members["tuned"]],
        "newly_broken": [one for one in members["tuned"] if one not in members["base"]],
        "members": members["tuned"],
        "shown": [],
        "remedy": f"Shorten the training answers. {hostile}",
    }
