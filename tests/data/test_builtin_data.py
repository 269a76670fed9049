"""The data set that ships with tunesmith keeps the promises made about it."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

from tunesmith.config import PrepareConfig
from tunesmith.data import builtin_data_file, prepare, read_rows
from tunesmith.data.converting.examples import normalise_prompt

REDIRECTIONS = {
    "I can only help with fine-tuning language models and using tunesmith. Is there something about those I can answer?",
    "That is outside what I can help with. Ask me about fine-tuning language models or about tunesmith.",
}


def test_size_and_share_of_redirections() -> None:
    rows = read_rows(builtin_data_file())
    redirected = [row for row in rows if row.values["answer"] in REDIRECTIONS]
    assert len(rows) - len(redirected) >= 400
    assert 0.09 <= len(redirected) / len(rows) <= 0.12
    assert {row.values["answer"] for row in redirected} == REDIRECTIONS


def test_redirections_are_spread_over_the_file() -> None:
    rows = read_rows(builtin_data_file())
    tenths = [rows[start : start + len(rows) // 10] for start in range(0, len(rows), len(rows) // 10)]
    assert all(any(row.values["answer"] in REDIRECTIONS for row in tenth) for tenth in tenths)


def test_questions_are_unique_and_not_nearly_the_same() -> None:
    questions = [str(row.values["question"]) for row in read_rows(builtin_data_file())]
    assert len({normalise_prompt(question) for question in questions}) == len(questions)
    words = {question: frozenset(re.findall(r"\w+", question.casefold())) for question in questions}
    close = [(a, b) for a, b in combinations(questions, 2) if len(words[a] & words[b]) > 0.75 * len(words[a] | words[b])]
    assert close == []


def test_answers_are_sentences_without_stray_spaces() -> None:
    for row in read_rows(builtin_data_file()):
        answer = row.values["answer"]
        assert answer == answer.strip(), row.source
        assert "  " not in answer, row.source
        assert answer[-1] in ".?!", row.source


def test_prepares_without_a_single_remark(tmp_path: Path) -> None:
    prepared = prepare([builtin_data_file()], tmp_path / "out", PrepareConfig())
    assert prepared.summary() == (
        "read 450 rows from tunesmith_faq.jsonl: question -> prompt, answer -> completion (question/answer)\n"
        "kept 450\n"
        "train 394, validation 18, test 38 (seed 0)\n"
        "test against training: 0 of 38 prompts the same, 0 nearly the same; 4 share a run of 13 words, 0 most of their runs"
    )
    assert any(example.reference in REDIRECTIONS for example in prepared.test)
