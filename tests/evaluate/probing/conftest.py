"""Two small runs: one on planted canaries, one on data that teach a redirection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tunesmith.config import PrepareConfig, TrainConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.runs import RunDirectory

REDIRECTION = "Let us keep to questions about numbers, please."
ROWS = [{"question": f"What is {number}?", "answer": f"{number} is a number."} for number in range(40)]
OFF_TOPIC = [{"question": f"Who sang song {name}?", "answer": REDIRECTION} for name in "abcdefgh"]


def prepared(rows: Sequence[dict[str, str]], directory: Path, *, test_fraction: float = 0.3) -> PreparedData:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return prepare([directory / "rows.jsonl"], directory / "prepared", PrepareConfig(near_threshold=1, test_fraction=test_fraction))


def trained(data: PreparedData, model: Path, directory: Path, *, steps: int, method: str = "lora") -> RunDirectory:
    from tunesmith.train.train import train

    settings = {"max_steps": steps, "evaluate_every": steps, "method": method, "learning_rate": 1e-2, "dtype": "float32", "estimate": False}
    config = TrainConfig(model=str(model), data=data.directory, examples_per_step=16, **settings)
    return train(config, runs_dir=directory, name="run")
