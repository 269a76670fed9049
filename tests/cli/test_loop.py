"""The whole way through the command line on a tiny model: prepare, preview, train, generate, evaluate, analyze, runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import ROWS, Result, Tunesmith, Workspace, interrupt, write_rows


def succeed(result: Result) -> Result:
    assert result.code == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_prepare(tunesmith: Tunesmith, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "faq.jsonl", ROWS)
    result = succeed(tunesmith("prepare", rows, "--out", "a"))
    assert "read 40 rows from faq.jsonl: question -> prompt" in result.stdout
    assert "a/report.json" in result.stdout
    assert "next: tunesmith preview a --model smollm2-135m-instruct" in result.stderr
    document = succeed(tunesmith("prepare", rows, "--out", "b", "--test-fraction", "0.5", "--seed", "3", "--json")).document
    assert document["directory"] == "b"
    assert document["settings"]["seed"] == 3
    assert document["counts"]["test"] == 17


def test_prepare_the_built_in_data(tunesmith: Tunesmith) -> None:
    document = succeed(tunesmith("prepare", "tunesmith-faq", "--out", "faq", "--limit", "50", "--json")).document
    assert document["counts"]["rows_read"] >= 400
    assert document["counts"]["examples_kept"] == 50


def test_preview(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    result = succeed(tunesmith("preview", finished.data, "--model", tiny_llama, "--count", "2"))
    assert result.stdout.count("<|im_start|>assistant\n⟦") == 2
    assert result.stdout.count("<|im_end|>⟧") == 2
    assert "train: 35 examples" in result.stdout
    assert "0 are over 256" in result.stdout


def test_preview_of_one_place(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    result = succeed(tunesmith("preview", finished.data, "--model", tiny_llama, "--source", "faq.jsonl:8", "--tokens"))
    assert "What is 7?" in result.stdout
    assert result.stdout.count("⟦") == 2  # the legend's and the example's
    assert any(line.split()[-2:] == ["'<|im_end|>'", "supervised"] for line in result.stdout.splitlines())


def test_preview_with_the_data_sets_template(tunesmith: Tunesmith, tiny_llama: Path, tmp_path: Path) -> None:
    succeed(tunesmith("prepare", write_rows(tmp_path / "faq.jsonl", ROWS), "--out", "a", "--template", "qa"))
    for words in ([], ["--template", "auto"]):
        assert "### Answer:\n⟦" in succeed(tunesmith("preview", "a", "--model", tiny_llama, *words)).stdout
    assert "assistant\n⟦" in succeed(tunesmith("preview", "a", "--model", tiny_llama, "--template", "chat")).stdout


def test_preview_as_json(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    words = ["preview", finished.data, "--model", tiny_llama, "--split", "test", "--index", "2", "--json"]
    document = succeed(tunesmith(*words)).document
    (example,) = document["examples"]
    assert document["num_examples"] == 2
    assert len(example["token_ids"]) == len(example["supervised"])
    assert "".join(span["text"] for span in example["spans"] if span["supervised"]).endswith("<|im_end|>")


def test_preview_with_a_runs_own_template(tunesmith: Tunesmith, workspace: Workspace) -> None:
    result = succeed(tunesmith("preview", workspace.data, "--model", workspace.run, "--count", "1"))
    assert "<|im_start|>assistant\n⟦" in result.stdout
    other = succeed(tunesmith("preview", workspace.data, "--model", workspace.run, "--count", "1", "--template", "qa"))
    assert "### Answer:\n⟦" in other.stdout


@pytest.mark.parametrize(
    "choice", [["--index", "99"], ["--source", "faq.jsonl:999"], ["--index", "0"], ["--index", "1", "--source", "faq.jsonl:8"]]
)
def test_preview_of_what_is_not_there(choice: list[str], tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    result = tunesmith("preview", finished.data, "--model", tiny_llama, *choice)
    assert result.code == 2
    assert "To go on:" in result.stderr


def test_train_says_everything_before_and_while_it_trains(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    result = succeed(tunesmith("train", finished.data, "--model", tiny_llama, "--name", "a", "--max-steps", "4", "--evaluate-every", "2"))
    assert result.stdout == "the tuned model is in runs/a/model\n"
    for words in ("preflight passed", "parameters train", "memory: ", "a step: 8 examples", "<|im_start|>assistant\n⟦", "step 4/4  epoch"):
        assert words in result.stderr
    assert "step 2: validation loss" in result.stderr
    assert "next: tunesmith evaluate runs/a" in result.stderr
    assert "Warning" not in result.stderr


def test_train_takes_every_setting(tunesmith: Tunesmith, finished: Workspace, tiny_llama: Path) -> None:
    words = ["train", finished.data, "--model", tiny_llama, "--name", "a", "--max-steps", "1", "--lora-rank", "2", "--lora-alpha", "4"]
    document = succeed(tunesmith(*words, "--template", "qa", "--patience", "0", "--activation-checkpointing", "--json")).document
    assert document["path"] == "runs/a"
    assert document["num_steps"] == 1
    config = json.loads(Path("runs/a/run.json").read_text())["config"]
    assert (config["lora"]["rank"], config["lora"]["alpha"], config["lora"]["dropout"]) == (2, 4.0, 0.0)
    assert (config["template"], config["patience"], config["activation_checkpointing"]) == ("qa", 0, True)


def test_resume(tunesmith: Tunesmith, workspace: Workspace) -> None:
    interrupt(workspace.run)
    listed = succeed(tunesmith("runs", "--json")).document["runs"]
    assert [run["state"] for run in listed] == ["unfinished"]
    shown = succeed(tunesmith("runs", "show", workspace.run))
    assert f"next: tunesmith train --resume {workspace.run}" in shown.stderr
    assert succeed(tunesmith("train", "--resume", workspace.run, "--json")).document["num_steps"] == 4
    assert succeed(tunesmith("runs", "--json")).document["runs"][0]["state"] == "complete"


def test_generate_one(tunesmith: Tunesmith, workspace: Workspace) -> None:
    words = ["generate", workspace.run, "What is 7?", "--max-new-tokens", "8", "--dtype", "float32"]
    printed = succeed(tunesmith(*words)).stdout
    document = succeed(tunesmith(*words, "--json")).document
    assert printed == document["completion"] + "\n"
    assert document["finish_reason"] in ("end_of_turn", "max_new_tokens")
    base = succeed(tunesmith(*words, "--base", "--json")).document
    assert base["prompt"] == document["prompt"]
    drawn = succeed(tunesmith(*words, "--temperature", "5", "--top-k", "50", "--seed", "1", "--system", "Be brief.", "--json")).document
    assert drawn["completion"] != document["completion"]
    for narrow in (["--top-k", "1"], ["--top-p", "0.0001"]):  # nothing but the likeliest token is left to draw
        likeliest = succeed(tunesmith(*words, "--temperature", "5", *narrow, "--json")).document
        assert likeliest["completion"] == document["completion"]


def test_generate_from_a_file(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("What is 1?\n\nWhat is 2?\n", encoding="utf-8")
    words = ["generate", workspace.run, "--file", "questions.txt", "--max-new-tokens", "8", "--dtype", "float32"]
    result = succeed(tunesmith(*words))
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["prompt"] for record in records] == ["What is 1?", "What is 2?"]
    assert [record["source"] for record in records] == ["questions.txt:1", "questions.txt:3"]
    assert all(set(record) == {"source", "prompt", "completion", "finish_reason"} for record in records)
    assert "1 blank line" in result.stderr
    single = succeed(tunesmith("generate", workspace.run, "What is 2?", *words[4:], "--json")).document
    assert records[1]["completion"] == single["completion"]
    with_system = succeed(tunesmith(*words, "--system", "red green blue one two three", "--json")).document["completions"]
    assert len(with_system) == 2
    assert [record["completion"] for record in with_system] != [record["completion"] for record in records]


def test_generate_into_a_file(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("What is 1?\n", encoding="utf-8")
    words = ["generate", workspace.run, "--file", "questions.txt", "--out", "new/answers.jsonl", "--max-new-tokens", "2"]
    assert succeed(tunesmith(*words)).stdout == "1 completion is in new/answers.jsonl\n"
    before = Path("new/answers.jsonl").read_text()
    again = tunesmith(*words)
    assert again.code == 2
    assert "never overwritten" in again.stderr
    assert Path("new/answers.jsonl").read_text() == before


def test_a_run_keeps_its_template(tunesmith: Tunesmith, workspace: Workspace) -> None:
    result = tunesmith("generate", workspace.run, "Hi?", "--template", "qa")
    assert result.code == 2
    assert "the template it was trained with" in result.stderr


def test_evaluate_and_analyze(tunesmith: Tunesmith, workspace: Workspace) -> None:
    too_early = tunesmith("analyze", workspace.run)
    assert too_early.code == 2
    assert f"`tunesmith evaluate {workspace.run}`" in too_early.stderr

    words = ["evaluate", workspace.run, "--max-new-tokens", "8", "--batch-size", "4", "--split", "train", "--limit", "6"]
    result = succeed(tunesmith(*words))
    assert f"report: {workspace.run}/evaluation/report.html" in result.stdout
    assert f"next: tunesmith analyze {workspace.run}" in result.stderr
    report = succeed(tunesmith(*words, "--confidence", "0.8", "--json")).document
    assert (report["num_examples"], report["split"]) == (6, "train")
    assert report["settings"]["confidence"] == 0.8
    assert report["settings"]["generation"]["max_new_tokens"] == 8
    assert Path(report["html"]).is_file()

    analysis = succeed(tunesmith("analyze", workspace.run, "--shown", "1", "--embeddings", "words"))
    assert "error group" in analysis.stdout
    assert "  asked  What is" in analysis.stdout
    document = succeed(tunesmith("analyze", workspace.run, "--length-ratio", "3", "--embeddings", "words", "--json")).document
    assert document["settings"]["length_ratio"] == 3

    (listed,) = succeed(tunesmith("runs", "--json")).document["runs"]
    assert listed["evaluation"]["verdict"] == report["verdict"]
    assert report["verdict"] in succeed(tunesmith("runs", "show", workspace.run)).stdout


def test_analysis_of_data_that_changed_since(tunesmith: Tunesmith, workspace: Workspace, tmp_path: Path) -> None:
    words = ["evaluate", workspace.run, "--max-new-tokens", "2", "--limit", "2"]
    succeed(tunesmith(*words))
    rows = write_rows(tmp_path / "faq.jsonl", ROWS)
    succeed(tunesmith("prepare", rows, "--out", "other", "--seed", "5"))
    record = workspace.run / "run.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"data": {**values["data"], "directory": str(tmp_path / "other")}}))
    result = tunesmith("analyze", workspace.run)
    assert result.code == 2
    assert "has changed" in result.stderr


def test_a_gate_refuses_after_the_report(tunesmith: Tunesmith, workspace: Workspace) -> None:
    words = ["evaluate", workspace.run, "--max-new-tokens", "2", "--limit", "2", "--require", "better", "--json"]
    result = tunesmith(*words)
    assert result.document["verdict"] != "better"  # two examples can tell nothing
    assert result.code == 3
    assert "expected better" in result.stderr


def test_runs(tunesmith: Tunesmith, workspace: Workspace) -> None:
    result = succeed(tunesmith("runs"))
    head, row = result.stdout.splitlines()
    assert head.split()[:3] == ["run", "created", "model"]
    assert row.startswith("runs/faq ")
    assert "4/4" in row
    assert "complete" in row
    assert succeed(tunesmith("runs", "list")).stdout == result.stdout
    shown = succeed(tunesmith("runs", "show", "runs/faq"))
    for words in ("method lora", "4 of 4 steps, complete", "tokens/s", "fingerprint"):
        assert words in " ".join(shown.stdout.split())
    document = succeed(tunesmith("runs", "show", "runs/faq", "--json")).document
    assert document["record"]["config"]["method"] == "lora"
    assert document["manifest"]["num_steps"] == 4


@pytest.mark.parametrize(("columns", "shown"), [(200, 10), (80, 7), (20, 6)])
def test_runs_in_a_narrow_terminal(
    columns: int, shown: int, tunesmith: Tunesmith, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("tunesmith.cli.runs.is_terminal", lambda: True)
    head, row = succeed(tunesmith("runs")).stdout.splitlines()
    assert len(re.split(r"  +", head)) == shown
    assert row.startswith(f"{workspace.run.relative_to(workspace.run.parents[1])} ")
    if columns >= 80:
        assert max(len(head), len(row)) <= columns


def test_a_run_of_a_newer_version_does_not_hide_the_others(tunesmith: Tunesmith, workspace: Workspace) -> None:
    newer = workspace.run.parent / "newer"
    newer.mkdir()
    (newer / "run.json").write_text('{"schema_version": 99, "surprise": true}', encoding="utf-8")
    try:
        result = succeed(tunesmith("runs"))
        _, unreadable, row = result.stdout.splitlines()
        assert unreadable.split()[0] == "runs/newer"
        assert "unreadable" in unreadable
        assert row.startswith("runs/faq ")
        assert "schema version 99; expected at most 1" in " ".join(result.stderr.split())
        document = succeed(tunesmith("runs", "--json")).document
        assert [(run["path"], run["state"]) for run in document["runs"]] == [("runs/newer", "unreadable"), ("runs/faq", "complete")]
        assert "install a newer tunesmith" in document["runs"][0]["note"]
    finally:
        shutil.rmtree(newer)


def test_no_runs(tunesmith: Tunesmith) -> None:
    assert succeed(tunesmith("runs", "--runs-dir", "nowhere", "--json")).document == {"runs_dir": "nowhere", "runs": []}
    assert "no runs in runs" in succeed(tunesmith("runs")).stderr


def test_continuing_a_run(tunesmith: Tunesmith, workspace: Workspace) -> None:
    succeed(tunesmith("train", workspace.data, "--model", "runs/faq", "--name", "more", "--max-steps", "1"))
    runs = {run["path"]: run for run in succeed(tunesmith("runs", "--json")).document["runs"]}
    assert Path(runs["runs/more"]["parent"]).name == "faq"
    assert "from" in succeed(tunesmith("runs")).stdout
