"""Evaluated runs with answers to rate; nothing in them was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.studio.made import HOSTILE_TEXT, make_run
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer, write_records
from tunesmith.runs import RunDirectory
from tunesmith.types import Message

BASE = "tiny-llama"


def answer(completion: str) -> ModelAnswer:
    return ModelAnswer(
        completion=completion, finish_reason="end_of_turn", num_tokens=9, loss_total=3.0, num_supervised=9, scores={"rouge_l": 0.5}
    )


def base_says(number: int) -> str:
    return f"It may well be that {number} has some colour or other."


def tuned_says(number: int) -> str:
    return f"Number {number} is red."


def make_rated(
    runs: Path, name: str, data: Path, *, num_examples: int = 10, tuned: Callable[[int], str] = tuned_says, prompt: str = ""
) -> RunDirectory:
    """A run that was evaluated on so many examples; the base's answers are the same in all."""
    path = make_run(runs, name, 9, data=data, state="evaluated")
    records = []
    for number in range(num_examples):
        asked = prompt or f"What colour is number {number}?"
        answers = {"base": answer(base_says(number)), "tuned": answer(tuned(number))}
        messages = (Message(role="user", content=asked),)
        source = f"faq.jsonl:{number + 1}"
        records.append(
            EvaluationRecord(id=f"example-{number}", source=source, prompt=asked, reference="Red.", messages=messages, answers=answers)
        )
    run = RunDirectory(path)
    write_records(run.evaluation_records_file, records)
    return run


def make_hostile_rated(runs: Path, data: Path) -> RunDirectory:
    return make_rated(runs, "rated-hostile", data, num_examples=2, tuned=lambda number: f"{HOSTILE_TEXT} {number}", prompt=HOSTILE_TEXT)
