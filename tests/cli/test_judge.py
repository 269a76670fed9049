"""`tunesmith judge` as it is typed, against an endpoint over real HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chat.endpoint import Endpoint, serving
from tests.cli.conftest import Tunesmith
from tests.evaluate.judging.helpers import by_quality, is_good, make_run, part, verdict


def test_in_words(tunesmith: Tunesmith, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    with serving(Endpoint(by_quality(is_good))) as endpoint:
        done = tunesmith("judge", run.path, "--judge", endpoint.url, "--judge-model", "m", "--budget-cost", "9", "--price-prompt", "1000")
        again = tunesmith("judge", run.path, "--judge", endpoint.url, "--judge-model", "m", "--inconsistent", "tie")
        assert len(endpoint.requests) == 24
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("better: win rate of faq against smol 1.00 [")
    assert lines[0].endswith("12 wins, 0 losses, 0 ties, n = 12, p < 0.001")
    assert "24 calls; 0 gave no verdict" in lines
    assert "1,200 prompt tokens and 480 of replies, cost 1.2000" in lines
    assert f"tunesmith rank {run.judge_votes_file}" in done.stderr
    assert "24 calls, 24 of them made by an earlier run; 0 gave no verdict" in again.stdout


def test_as_json(tunesmith: Tunesmith, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("Scale: 0 to 4\nBe kind.\n", encoding="utf-8")
    with serving(Endpoint(lambda prompt: verdict(prompt, "4" if "good" in part(prompt, "ANSWER") else "0"))) as endpoint:
        judge = ("--judge", endpoint.url, "--judge-model", "m", "--mode", "pointwise", "--rubric", rubric)
        done = tunesmith("judge", run.path, *judge, "--json")
    assert done.code == 0, done.stderr
    assert done.document["conclusions"] == ["better"]
    assert (done.document["summaries"][0]["difference"], done.document["rubric"]["highest"]) == (4.0, 4)
    assert Path(done.document["file"]).is_file()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "no --judge is given"),
        (("--judge", "http://127.0.0.1:9/v1"), "--judge-model is not given"),
        (("--judge", "m", "--rubric", "missing.txt"), "there is no file 'missing.txt'"),
        (("--judge", "m", "--votes", "missing.csv"), "there is no such file"),
        (("--judge", "m", "--budget-cost", "3"), "--price-prompt"),
        (("--judge", "m", "--repeats", "0"), "repeats"),
    ],
)
def test_mistakes(words: tuple[str, ...], complaint: str, tunesmith: Tunesmith, tmp_path: Path) -> None:
    done = tunesmith("judge", make_run(tmp_path / "runs").path, *words)
    assert (done.code, done.stdout) == (2, "")
    assert complaint in done.stderr


def test_a_run_that_was_not_evaluated(tunesmith: Tunesmith, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    run.evaluation_records_file.unlink()
    done = tunesmith("judge", run.path, "--judge", "m")
    assert done.code == 2
    assert "the run has not been evaluated" in done.stderr
