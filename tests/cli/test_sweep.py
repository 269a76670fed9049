"""`tunesmith sweep` from the command line: one trial that works, and mistakes that are said before any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tunesmith, Workspace

QUICK = ("--set", "max-steps=2", "--set", "estimate=false", "--max-new-tokens", "4", "--limit", "2")


def test_a_sweep_and_its_report(workspace: Workspace, tiny_llama: Path, tunesmith: Tunesmith) -> None:
    result = tunesmith("sweep", workspace.data, "--model", tiny_llama, "--vary", "lora-rank=2", *QUICK, "--out", "sweeps/one")
    assert result.code == 0, result.stderr
    assert "001-rank-2" in result.stdout
    assert "best by validation loss: 001-rank-2" in result.stdout
    record = json.loads(Path("sweeps/one/runs/001-rank-2/run.json").read_text(encoding="utf-8"))
    assert record["config"]["lora"]["rank"] == 2
    again = tunesmith("sweep", "--resume", "sweeps/one", "--json")
    assert again.document["best"] == "001-rank-2"
    assert "1 of them ended before" in again.stderr
    shown = tunesmith("runs", "list", "--runs-dir", "sweeps/one/runs", "--json")
    assert len(shown.document["runs"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "DIR is missing"),
        (("DATA",), "--model is missing"),
        (("DATA", "--model", "x"), "--out is missing"),
        (("DATA", "--model", "x", "--out", "s", "--sizes", "some"), "numbers with commas"),
        (("DATA", "--model", "x", "--out", "s", "--sizes", "1000"), "the size 1000"),
        (("DATA", "--model", "x", "--out", "s", "--vary", "epochs"), "KEY=VALUE"),
        (("DATA", "--model", "x", "--out", "s", "--vary", "epochs=1", "--vary", "epochs=2"), "'epochs=2' after epochs=1"),
        (("DATA", "--model", "x", "--out", "s", "--vary", "colour=red"), "no setting 'colour'"),
        (("DATA", "--model", "x", "--out", "s", "--set", "learning-rate=fast"), "learning_rate is 'fast'"),
        (("DATA", "--model", "x", "--out", "s", "--processes", "0"), "--processes"),
        (("DATA", "--model", "x", "--out", "s", "--retries", "-1"), "--retries"),
        (("DATA", "--model", "x", "--out", "s", "--gpus", "1"), "without --on ray"),
        (("DATA", "--model", "x", "--out", "s", "--on", "ray", "--gpus", "1.5"), "a part of one GPU, or a whole number"),
        (("DATA", "--model", "x", "--out", "s", "--on", "ray", "--processes", "2"), "--processes with --on ray"),
        (("--resume", "nowhere"), "no sweep.json"),
        (("--resume", "nowhere", "--sizes", "1"), "sizes beside it"),
        (("nowhere", "--model", "x", "--out", "s"), "there is no such directory"),
    ],
)
def test_mistakes_are_said_before_any_trial(words: tuple[str, ...], said: str, workspace: Workspace, tunesmith: Tunesmith) -> None:
    result = tunesmith("sweep", *(workspace.data if word == "DATA" else word for word in words))
    assert result.code == 2
    assert said in result.stderr
    assert not Path("s").exists()
