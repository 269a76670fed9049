"""A sweep that nobody has run."""

from __future__ import annotations

import json
from pathlib import Path

from tunesmith.config import PrepareConfig, SweepConfig
from tunesmith.data.prepare import prepare
from tunesmith.sweep.directory import SweepDirectory


def make_sweep(directory: Path, *, model: str = "tiny") -> SweepDirectory:
    """Of two trials, on sixty questions; `directory/sweep`."""
    rows = [{"question": f"What is {n}?", "answer": f"{n} is {('red', 'green', 'blue')[n % 3]}."} for n in range(60)]
    (directory / "faq.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare([directory / "faq.jsonl"], directory / "prepared", PrepareConfig(near_threshold=1))
    config = SweepConfig(data=directory / "prepared", models=(model,), vary={"seed": (0, 1)})
    return SweepDirectory.create(directory / "sweep", config)
