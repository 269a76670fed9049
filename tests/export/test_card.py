"""The model card and its snippet, of runs whose settings are changed afterwards."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunesmith.export import usage
from tunesmith.export.card import model_card
from tunesmith.export.subject import Subject, open_subject
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


def test_four_bits_are_stated(subject: Subject, tmp_path: Path) -> None:
    assert "in four bits" not in card(subject)
    assert "BitsAndBytesConfig" not in usage.adapter(subject)
    quantised = changed(subject, tmp_path / "faq", method="qlora")
    assert "by the method qlora, on this base in four bits (NF4)" in card(quantised)
    snippet = usage.adapter(quantised)
    assert "import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig" in snippet
    assert "quantization_config=four_bits" in snippet
