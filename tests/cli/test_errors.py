"""A user's mistake through the command line: exit code, one paragraph with place, found, expected and remedy, nothing lost."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import ROWS, Result, Tunesmith, Workspace, interrupt, write_rows


def assert_refused(result: Result, *, place: str, found: str, code: int = 2) -> None:
    """One paragraph on standard error, nothing on standard output."""
    assert result.code == code
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    paragraph = result.stderr.strip().splitlines()[-1]
    assert result.stderr.count("error: ") == 1
    match = re.fullmatch(r"error: (.+?): (.+); expected (.+)\. To go on: (.+)\.", paragraph)
    assert match, paragraph
    assert place in match[1]
    assert found in match[2]


@pytest.fixture
def prepare(tunesmith: Tunesmith, tmp_path: Path):
    """Prepare one file with this content; whatever happens, a refusal leaves nothing behind."""

    def run(name: str, content: bytes, *options: str) -> Result:
        (tmp_path / name).write_bytes(content)
        result = tunesmith("prepare", name, "--out", "prepared", *options)
        assert (tmp_path / "prepared").exists() == (result.code == 0)
        return result

    return run


def test_missing_file(tunesmith: Tunesmith) -> None:
    assert_refused(tunesmith("prepare", "nowhere.csv", "--out", "x"), place="nowhere.csv", found="no such file")


def test_no_file(tunesmith: Tunesmith) -> None:
    assert_refused(tunesmith("prepare", "--out", "x"), place="prepare", found="no data")


def test_empty_file(prepare) -> None:
    assert_refused(prepare("faq.jsonl", b""), place="faq.jsonl", found="empty")


def test_not_utf8(prepare) -> None:
    result = prepare("faq.csv", "question,answer\nWo ist die Tür?,Hier ist die schöne Tür.\n".encode("cp1252"))
    assert_refused(result, place="faq.csv:2", found="not UTF-8")
    assert "--encoding" in result.stderr


def test_broken_json(prepare) -> None:
    result = prepare("faq.jsonl", b'{"question": "Hi?", "answer": "Hello."}\n{"question": "Bye?\n')
    assert_refused(result, place="faq.jsonl:2", found="broken JSON at column")


def test_missing_column(prepare) -> None:
    result = prepare("faq.csv", b"question,reply\nHi?,Hello.\n")
    assert_refused(result, place="faq.csv", found="question, reply")
    assert "--completion-key" in result.stderr


def test_named_column_that_is_not_there(prepare) -> None:
    result = prepare("faq.csv", b"question,answer\nHi?,Hello.\n", "--completion-key", "reply")
    assert_refused(result, place="faq.csv", found="no column 'reply'")


def test_empty_answer(prepare) -> None:
    result = prepare("faq.jsonl", b'{"question": "Hi?", "answer": "Hello."}\n{"question": "Bye?", "answer": ""}\n')
    assert_refused(result, place="faq.jsonl:2", found="is empty")
    assert "--on-invalid drop" in result.stderr


def test_answer_that_is_no_string(prepare) -> None:
    result = prepare("faq.jsonl", b'{"question": "Hi?", "answer": 42}\n')
    assert_refused(result, place="faq.jsonl:1", found="42, of type int")


def test_no_usable_row_left(prepare) -> None:
    result = prepare("faq.jsonl", b'{"question": "Hi?", "answer": 42}\n', "--on-invalid", "drop")
    assert_refused(result, place="faq.jsonl", found="no usable row is left")


def test_out_is_taken(tunesmith: Tunesmith, finished: Workspace, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "faq.jsonl", ROWS)
    assert_refused(tunesmith("prepare", rows, "--out", finished.data), place="prepared", found="never overwritten")


@pytest.fixture
def long_data(tunesmith: Tunesmith, tmp_path: Path) -> Path:
    """Examples of which none fits a context of 256 tokens."""
    rows = [{"question": f"{number}?", "answer": f"{number} is a number. " * 80} for number in range(20)]
    assert tunesmith("prepare", write_rows(tmp_path / "long.jsonl", rows), "--out", "long").code == 0
    return tmp_path / "long"


def test_example_longer_than_the_context(tunesmith: Tunesmith, long_data: Path, tiny_llama: Path) -> None:
    result = tunesmith("train", long_data, "--model", tiny_llama)
    assert_refused(result, place="long.jsonl:", found="examples are too long", code=3)
    assert not Path("runs").exists()


def test_no_example_left(tunesmith: Tunesmith, long_data: Path, tiny_llama: Path) -> None:
    result = tunesmith("train", long_data, "--model", tiny_llama, "--over-length", "drop")
    assert_refused(result, place="training split", found="none of 17 examples is left")


def test_unknown_model(tunesmith: Tunesmith, finished: Workspace) -> None:
    result = tunesmith("train", finished.data, "--model", "smolm2-135m-instruct")
    assert_refused(result, place="smolm2-135m-instruct", found="no named model")
    assert "smollm2-135m-instruct" in result.stderr
    assert_refused(tunesmith("preview", finished.data, "--model", "nothing"), place="nothing", found="no named model")
    assert_refused(tunesmith("generate", "nothing", "Hello?"), place="nothing", found="no named model")


def test_data_that_was_not_prepared(tunesmith: Tunesmith, tiny_llama: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "faq.jsonl", ROWS)
    assert_refused(tunesmith("train", rows, "--model", tiny_llama), place="faq.jsonl", found="not a prepared directory")


def test_run_name_taken(tunesmith: Tunesmith, workspace: Workspace, tiny_llama: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in workspace.run.rglob("*")}
    result = tunesmith("train", workspace.data, "--model", tiny_llama, "--name", "faq")
    assert_refused(result, place="runs/faq", found="never overwritten")
    assert {path: path.stat().st_mtime_ns for path in workspace.run.rglob("*")} == before


@pytest.mark.parametrize("verb", [("evaluate",), ("analyze",), ("runs", "show"), ("train", "--resume"), ("generate",)])
def test_run_from_a_newer_version(verb: tuple[str, ...], tunesmith: Tunesmith, workspace: Workspace) -> None:
    file = workspace.run / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema_version": 99}))
    words = [*verb, workspace.run, *(["Hello?"] if verb == ("generate",) else [])]
    assert_refused(tunesmith(*words), place="run.json", found="schema version 99")


@pytest.mark.parametrize("verb", [("evaluate",), ("analyze",), ("runs", "show"), ("train", "--resume")])
def test_no_such_run(verb: tuple[str, ...], tunesmith: Tunesmith) -> None:
    assert_refused(tunesmith(*verb, "runs/nothing"), place="runs/nothing", found="no run.json")


def test_resume_with_changed_data(tunesmith: Tunesmith, tiny_llama: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "faq.jsonl", ROWS)
    assert tunesmith("prepare", rows, "--out", "data").code == 0
    assert tunesmith("train", "data", "--model", tiny_llama, "--name", "a", "--max-steps", "2", "--evaluate-every", "1").code == 0
    interrupt(tmp_path / "runs" / "a")
    shutil.rmtree(tmp_path / "data")
    assert tunesmith("prepare", rows, "--out", "data", "--seed", "1").code == 0
    assert_refused(tunesmith("train", "--resume", "runs/a"), place="runs/a", found="has changed")
    assert (tmp_path / "runs" / "a" / "checkpoints" / "step-00000001").is_dir()


def test_resume_of_a_finished_run(tunesmith: Tunesmith, workspace: Workspace) -> None:
    assert_refused(tunesmith("train", "--resume", workspace.run), place="runs/faq", found="complete")


@pytest.mark.parametrize("others", [["data"], ["--model", "m"], ["--epochs", "2"], ["--lora-rank", "4"], ["--runs-dir", "r"]])
def test_resume_beside_other_settings(others: list[str], tunesmith: Tunesmith) -> None:
    result = tunesmith("train", "--resume", "runs/a", *others)
    assert_refused(result, place="train --resume", found="DIR" if others == ["data"] else others[0])


@pytest.mark.parametrize(
    ("words", "place", "found"),
    [
        (["frobnicate"], "tunesmith", "no verb 'frobnicate'"),
        (["--frobnicate"], "tunesmith", "no such option"),
        (["train", "x", "--frobnicate"], "tunesmith train", "no such option"),
        (["train", "x", "--model", "m", "--epochs", "many"], "tunesmith train", "invalid value for '--epochs'"),
        (["train", "x", "--model", "m", "--method", "lorra"], "tunesmith train", "'lorra' is not one of"),
        (["train", "x", "--model", "m", "--epochs", "-1"], "train", "epochs is -1"),
        (["train", "x", "--model", "m", "--lora-rank", "0"], "train", "lora.rank is 0"),
        (["train", "x"], "tunesmith train", "--model is missing"),
        (["train", "--model", "m"], "tunesmith train", "DIR is missing"),
        (["prepare", "faq.csv"], "tunesmith prepare", "missing option '--out'"),
        (["prepare", "faq.csv", "--out", "x", "--test-fraction", "2"], "prepare", "test_fraction is 2"),
        (["preview", "x"], "tunesmith preview", "missing option '--model'"),
        (["evaluate"], "tunesmith evaluate", "missing argument"),
        (["demo", "--epochs", "0"], "demo", "--epochs 0"),
        (["generate", "m", "Hi", "--file", "f"], "generate", "a PROMPT and --file"),
        (["generate", "m", "Hi", "--out", "f"], "generate", "--out without --file"),
        (["generate", "m", "Hi", "--base"], "generate", "--base with m"),
        (["generate", "m", "Hi", "--temperature", "-1"], "generate", "temperature is -1"),
        (["runs", "shwo"], "tunesmith runs", "no such command 'shwo'"),
        (["models", "accept", "gema"], "gema", "no named model"),
    ],
)
def test_a_wrong_command_line(words: list[str], place: str, found: str, tunesmith: Tunesmith) -> None:
    assert_refused(tunesmith(*words), place=place, found=found)


def test_a_misspelt_verb_is_recognised(tunesmith: Tunesmith) -> None:
    assert "perhaps you mean `tunesmith evaluate`" in tunesmith("evalaute").stderr


def test_markup_in_the_users_words_is_text(tunesmith: Tunesmith) -> None:
    result = tunesmith("prepare", "[bold]faq[/bold].csv", "--out", "x")
    assert_refused(result, place="[bold]faq[/bold].csv", found="no such file")
