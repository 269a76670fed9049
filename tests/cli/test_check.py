"""`tunesmith check`: says what is wrong, changes nothing, fails only when asked to."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Tunesmith, write_rows

ROWS = [{"question": f"What does part {n} do?", "answer": f"Part {n} turns the wheel number {n} of the engine."} for n in range(30)]
FAULTY = [
    *ROWS,
    {"question": "Who helps me?", "answer": "Write to ann@firm.org."},
    {"question": "And then?", "answer": "TODO"},
    dict(ROWS[0]),
    {"question": "", "answer": ""},
]


def test_findings_are_readable(tunesmith: Tunesmith, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "faq.jsonl", FAULTY)
    result = tunesmith("check", file)
    assert result.code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "read 34 rows from faq.jsonl: question -> prompt, answer -> completion (question/answer)"
    assert lines[1] == "looked at 32 different examples"
    assert "problem pii: 1 example (3.1 %) holds personal data or secrets: 1 with an e-mail address" in lines
    assert "         faq.jsonl:31: Write to ann@firm.org." in lines
    assert "         prepare: kept; to change that: --fix pii" in lines
    assert any(line.startswith("note    exact-duplicates: 1 example") for line in lines)
    assert "next: tunesmith prepare" in result.stderr
    assert "--fix pii --drop placeholder-answer" in result.stderr


def test_nothing_is_changed(tunesmith: Tunesmith, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "faq.jsonl", FAULTY)
    before = file.read_bytes()
    tunesmith("check", file)
    assert file.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["faq.jsonl"]


def test_json_is_one_document(tunesmith: Tunesmith, tmp_path: Path) -> None:
    document = tunesmith("check", write_rows(tmp_path / "faq.jsonl", FAULTY), "--json").document
    assert document["schema_version"] == 1
    assert document["counts"] == {"examples": 32}
    found = {one["check"]: one for one in document["findings"]}
    assert found["pii"]["option"] == "--fix pii"
    assert found["unusable-rows"]["figures"] == {"problems": {"blank row": 1}}


def test_a_script_can_ask_to_fail(tunesmith: Tunesmith, tmp_path: Path) -> None:
    clean, faulty = write_rows(tmp_path / "clean.jsonl", ROWS), write_rows(tmp_path / "faulty.jsonl", FAULTY)
    assert tunesmith("check", clean, "--fail-on", "problem").code == 0
    refused = tunesmith("check", faulty, "--fail-on", "problem")
    assert refused.code == 3
    assert "pii" in refused.stderr


def test_the_page_is_written(tunesmith: Tunesmith, tmp_path: Path) -> None:
    file, page = write_rows(tmp_path / "faq.jsonl", FAULTY), tmp_path / "faq.html"
    result = tunesmith("check", file, "--html", page)
    assert f"written: {page}" in result.stdout
    assert page.read_text(encoding="utf-8").startswith("\n<!doctype html>") or "<!doctype html>" in page.read_text(encoding="utf-8")[:20]


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tunesmith: Tunesmith, tmp_path: Path) -> None:
    result = tunesmith("check", write_rows(tmp_path / "faq.jsonl", ROWS), "--html", tmp_path / "nowhere" / "faq.html")
    assert result.code == 2
    assert result.stdout == ""
    assert "correct --html" in result.stderr


def test_tokens_are_counted_with_a_model(tunesmith: Tunesmith, tmp_path: Path, tiny_llama: Path) -> None:
    file = write_rows(tmp_path / "faq.jsonl", ROWS)
    document = tunesmith("check", file, "--model", tiny_llama, "--max-length", "12", "--json").document
    found = {one["check"]: one for one in document["findings"]}
    assert found["lengths"]["figures"]["unit"] == "tokens"
    assert found["over-length"]["figures"]["limit"] == 12
    assert found["over-length"]["figures"]["estimated"] is False


def test_checks_can_be_chosen(tunesmith: Tunesmith, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "faq.jsonl", FAULTY)
    found = {one["check"] for one in tunesmith("check", file, "--only", "pii, lengths", "--json").document["findings"]}
    assert found == {"pii", "lengths", "exact-duplicates", "unusable-rows"}
    assert "there is no check 'pi'" in tunesmith("check", file, "--only", "pi").stderr


def test_a_file_that_is_not_there(tunesmith: Tunesmith) -> None:
    result = tunesmith("check", "nowhere.csv")
    assert result.code == 2
    assert "nowhere.csv" in result.stderr


def test_the_built_in_set_has_no_problem(tunesmith: Tunesmith) -> None:
    found = tunesmith("check", "tunesmith-faq", "--json", "--fail-on", "problem")
    assert found.code == 0
    assert json.loads(found.stdout)["counts"] == {"examples": 450}


def test_a_prepared_directory_is_looked_at_for_leaks(tunesmith: Tunesmith, tmp_path: Path) -> None:
    file, out = write_rows(tmp_path / "faq.jsonl", ROWS), tmp_path / "prepared"
    assert tunesmith("prepare", file, "--out", out, "--near-threshold", "1", "--test-fraction", "0.2").code == 0
    result = tunesmith("check", out, "--near-threshold", "0.3", "--json")
    found = {one["check"]: one for one in result.document["findings"]}
    assert result.document["counts"]["test"] > 0
    assert found["leakage"]["figures"]["near_prompts"] > 0
    assert "exact-duplicates" not in found


def test_questions_of_benchmarks_are_found(tunesmith: Tunesmith, tmp_path: Path) -> None:
    asked = "Which part of the engine turns the wheel that is driven by the longest chain of all?"
    suite = write_rows(
        tmp_path / "exam.jsonl", [{"question": asked}, {"question": "What is the capital of the smallest country of the world?"}]
    )
    file = write_rows(tmp_path / "faq.jsonl", [*ROWS, {"question": asked, "answer": "The seventh part does."}])
    found = {one["check"]: one for one in tunesmith("check", file, "--against", suite, "--json").document["findings"]}
    assert found["benchmark-overlap"]["count"] == 1
    assert "benchmark-overlap" not in {one["check"] for one in tunesmith("check", file, "--json").document["findings"]}


def test_what_was_left_out_and_not_used_is_said(tunesmith: Tunesmith, tmp_path: Path) -> None:
    folder = tmp_path / "faq"
    folder.mkdir()
    write_rows(folder / "rows.jsonl", [{**row, "page": 1} for row in ROWS])
    (folder / "picture.png").write_bytes(b"x")
    lines = tunesmith("check", folder, "--limit", "20").stdout.splitlines()
    assert "note: faq/rows.jsonl: left out 1 of the kind .png" in lines
    assert "note: faq/rows.jsonl: not used: page" in lines
    assert "used a sample of 20 of them (limit 20, seed 0)" in lines
