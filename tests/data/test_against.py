"""`against` names benchmarks whose questions `prepare` finds, says and, when asked, leaves out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import DataError

QUESTION = "Which of these materials would best keep a cup of hot tea warm for the whole of a long winter afternoon?"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rows = [{"question": f"What does part {number} of the engine do?", "answer": f"It turns wheel {number}."} for number in range(40)]
    rows.append({"question": f"Tell me. {QUESTION}", "answer": "Wool."})
    data, suite = tmp_path / "faq.jsonl", tmp_path / "exam.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    suite.write_text(json.dumps({"question": QUESTION, "answer": "B"}) + "\n", encoding="utf-8")
    return data, suite


def test_questions_of_benchmarks_are_found_and_dropped(files: tuple[Path, Path], tmp_path: Path) -> None:
    data, suite = files
    kept = prepare([data], tmp_path / "kept", PrepareConfig(against=(str(suite),)))
    [finding] = [one for one in kept.findings() if one["check"] == "benchmark-overlap"]
    assert finding["count"] == 1
    assert finding["specimens"][0]["source"] == "faq.jsonl:41 and exam.jsonl/exam.jsonl#1"
    dropped = prepare([data], tmp_path / "dropped", PrepareConfig(against=(str(suite),), drop=("benchmark-overlap",)))
    assert len(dropped.train) + len(dropped.validation) + len(dropped.test) == 40
    removed = [json.loads(line) for line in (tmp_path / "dropped" / "removed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["source"], one["reason"]) for one in removed] == [("faq.jsonl:41", "benchmark-overlap")]


def test_a_benchmark_that_is_not_there_stops_the_preparation(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        prepare([files[0]], tmp_path / "out", PrepareConfig(against=(str(tmp_path / "nothing"),)))
    assert not (tmp_path / "out").exists()
