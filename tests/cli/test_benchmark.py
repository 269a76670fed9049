"""`tunesmith benchmark` as a person uses it: a run beside its base, what was in the training data, and every way it can refuse."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="needs the extra: pip install 'tunesmith[bench]'")

from tests.cli.conftest import Tunesmith, Workspace
from tests.evaluate.benchmarks.local_data import arc_row, write_data_set, write_truthful

QUESTIONS = [arc_row(i) for i in range(10)] + [{**arc_row(99), "question": "What is 7?"}, {**arc_row(98), "question": "What is 8?"}]


@pytest.fixture
def eval_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve questions, two of which stand in what the run was (or held out) trained on."""
    monkeypatch.setattr("tunesmith.evaluate.benchmarks.sources.cache_dir", lambda: tmp_path / "cache")
    write_data_set(tmp_path / "eval" / "ai2_arc", {"ARC-Easy": {"test": QUESTIONS}})
    write_truthful(tmp_path / "eval")
    return tmp_path / "eval"


def test_a_run_beside_its_base(tunesmith: Tunesmith, workspace: Workspace, eval_data: Path) -> None:
    words = ["benchmark", workspace.run, "--tasks", "arc_easy,truthfulqa", "--data", eval_data, "--dtype", "float32"]
    done = tunesmith(*words)
    assert done.code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(("better: ARC-Easy acc", "worse: ARC-Easy acc", "cannot tell with n = 12: ARC-Easy acc"))
    assert lines[4].split() == ["benchmark", "metric", "n", "shots", "tiny-llama", "faq"]
    assert any("ARC-Easy" in line and " of 12 documents stand" in line for line in lines)
    assert any(
        line == "TruthfulQA mc1: none of 6 documents stands in what faq was trained on (runs of 13 words, or an equal prompt)"
        for line in lines
    )
    assert "without chat template" in lines[-2]
    assert "faq: ARC-Easy 12/12" in done.stderr
    assert (workspace.run / "benchmarks" / "report.html").is_file()
    document = tunesmith(*words, "--json").document
    assert document["models"] == ["tiny-llama", "faq"]
    assert [one["benchmark"] for one in document["comparisons"]] == ["arc_easy", "truthfulqa_mc1", "truthfulqa_mc2"]
    [overlap] = document["benchmarks"][0]["overlaps"]
    assert overlap["num_overlapping"] in {1, 2}, "of the two, those that were not held out"
    assert overlap["without"]["faq"]["num_documents"] == 12 - overlap["num_overlapping"]
    assert document["verdicts"] == [one["sentence"] for one in document["comparisons"]]


def test_a_model_alone_has_scores_and_no_verdict(tunesmith: Tunesmith, tiny_llama: Path, eval_data: Path, tmp_path: Path) -> None:
    words = ["benchmark", tiny_llama, "--tasks", "arc_easy", "--data", eval_data / "ai2_arc", "--limit", "3", "--first", "--out", "mine"]
    done = tunesmith(*words)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[1].split()[:5] == ["ARC-Easy", "acc", "3", "of", "12"]
    assert "the first 3 documents of each benchmark" in done.stdout
    assert (tmp_path / "mine" / "report.json").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", ""], "at least one name"),
        (["--tasks", "arc_easy", "--first"], "first needs a limit"),
        (["--tasks", "arc_easy", "--limit", "0"], "limit is 0"),
        (["--tasks", "mmlu"], "no folder called mmlu"),
        ([], "missing option '--tasks'"),
    ],
    ids=str,
)
def test_mistakes_are_one_paragraph(tunesmith: Tunesmith, tiny_llama: Path, eval_data: Path, words: list[str], message: str) -> None:
    done = tunesmith("benchmark", tiny_llama, *words, "--data", eval_data)
    assert (done.code, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_there(tunesmith: Tunesmith, tiny_llama: Path) -> None:
    done = tunesmith("benchmark", tiny_llama, "--tasks", "arc", "--data", "nowhere")
    assert done.code == 2
    assert "nowhere: there is no such file or folder" in done.stderr


def test_without_the_extra(tunesmith: Tunesmith, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("tunesmith.evaluate.benchmarks")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("lm_eval", "lm_eval.api.model"):
        monkeypatch.setitem(sys.modules, name, None)
    done = tunesmith("benchmark", tiny_llama, "--tasks", "arc")
    assert done.code == 2
    assert "pip install 'tunesmith[bench]'" in done.stderr
