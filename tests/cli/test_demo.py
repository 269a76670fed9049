"""`tunesmith demo` on a tiny model and a few rows; the real one is `make demo`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import ROWS, Tunesmith, write_rows


@pytest.fixture(autouse=True)
def small(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS[:20])
    monkeypatch.setattr("tunesmith.demo.MODEL", str(tiny_llama))
    monkeypatch.setattr("tunesmith.demo.builtin_data_file", lambda: rows)


def test_demo(tunesmith: Tunesmith) -> None:
    result = tunesmith("demo", "--out", "here", "--epochs", "1")
    assert result.code == 0, result.stderr
    for words in ("prepare", "preflight passed", "⟦", "validation loss", "answers", "next: tunesmith generate here/runs/demo"):
        assert words in result.stderr
    assert "report: here/runs/demo/evaluation/report.html" in result.stdout
    again = tunesmith("demo", "--out", "here")
    assert again.code == 2
    assert "never overwritten" in again.stderr


def test_demo_as_json(tunesmith: Tunesmith) -> None:
    document = tunesmith("demo", "--epochs", "0.5", "--json").document
    assert document["run"] == "tunesmith-demo/runs/demo"
    assert document["report"]["verdict"] in ("better", "worse", "cannot tell")
