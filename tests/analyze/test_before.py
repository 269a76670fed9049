"""Before any training: a model answers held-out examples, and `synthesize errors` reads what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.analyze.before import analyze_model, default_out, read_questions
from tunesmith.config import AnalyzeConfig, EvaluateConfig, GenerateConfig, PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.errors import DataError
from tunesmith.synthesize.inputs import read_failures

WORDS = AnalyzeConfig(embeddings="words")
EVALUATION = EvaluateConfig(limit=3, generation=GenerateConfig(max_new_tokens=4))


@pytest.fixture
def faq(tmp_path: Path) -> Path:
    rows = [{"question": f"What is {number}?", "answer": f"{number} is the colour red, as we know."} for number in range(40)]
    file = tmp_path / "faq.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_a_prepared_data_set(tiny_llama: Path, faq: Path, tmp_path: Path) -> None:
    data = prepare([faq], tmp_path / "prepared", PrepareConfig(test_fraction=0.2))
    out = default_out(data.directory, str(tiny_llama))
    assert out == tmp_path / "prepared-analysis-tiny-llama"
    analysis = analyze_model(str(tiny_llama), [data.directory], out, WORDS, EVALUATION)
    assert (analysis.labels, analysis.num_examples) == (("base",), 3)
    assert analysis.groups
    assert any("--max-new-tokens 64" in (action.command or "") for action in analysis.actions)
    held_out = {example.id for example in data.test}
    assert {failure.id for failure in analysis.failures} <= held_out
    groups, read = read_failures(out, [analysis.groups[0].name])
    assert (len(groups), read.directory) == (1, data.directory)
    assert analyze_model(str(tiny_llama), [data.directory], out, WORDS, EVALUATION).to_json() == analysis.to_json()  # again is fine


def test_files_are_asked_in_part_and_compared_with_the_rest(faq: Path) -> None:
    questions = read_questions([faq], EvaluateConfig(limit=10))
    assert (len(questions.asked), len(questions.others), questions.data) == (10, 30, None)
    assert not {one.id for one in questions.asked} & {one.id for one in questions.others}
    assert read_questions([faq], EvaluateConfig(limit=10)) == questions


def test_another_directory_is_never_written_into(tiny_llama: Path, faq: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(DataError, match="is no analysis"):
        analyze_model(str(tiny_llama), [faq], tmp_path / "mine", WORDS, EVALUATION)
