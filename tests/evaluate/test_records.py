from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluate.fakes import answered_again, record
from tunesmith.errors import RunError
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer, read_records, write_records
from tunesmith.types import Message

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANSWERS = st.builds(
    ModelAnswer,
    completion=st.text(),
    finish_reason=st.sampled_from(["end_of_turn", "max_new_tokens", "context_full"]),
    num_tokens=st.integers(0, 1000),
    loss_total=FINITE,
    num_supervised=st.integers(1, 1000),
    scores=st.dictionaries(st.text(), FINITE),
    explanations=st.dictionaries(st.text(), st.text()),
)
RECORDS = st.builds(
    EvaluationRecord,
    id=st.text(),
    source=st.text(),
    prompt=st.text(),
    reference=st.text(),
    messages=st.lists(st.builds(Message, role=st.sampled_from(["system", "user", "assistant"]), content=st.text())).map(tuple),
    answers=st.dictionaries(st.text(), ANSWERS, max_size=3),
)


@given(RECORDS)
def test_json_loses_nothing(original: EvaluationRecord) -> None:
    assert EvaluationRecord.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_files_lose_nothing(tmp_path: Path) -> None:
    records = [record(name="a", tuned="Ja, für 5 €\u2028\n"), record(name="b", base="<b>")]
    write_records(tmp_path / "records.jsonl", records)
    assert read_records(tmp_path / "records.jsonl") == records
    assert len((tmp_path / "records.jsonl").read_text(encoding="utf-8").split("\n")) == 3


def test_missing_records_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has not been evaluated.*tunesmith evaluate"):
        read_records(tmp_path / "records.jsonl")


@pytest.mark.parametrize("line", ['{"id": "a"}', "not json", '{"id": 1, "messages": [], "base": {}, "tuned": {}}'])
def test_foreign_records_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "records.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(RunError, match="evaluate the run again"):
        read_records(tmp_path / "records.jsonl")


def test_records_of_earlier_versions_are_refused(tmp_path: Path) -> None:
    """They had `base` and `tuned` beside the example, not in `answers`."""
    values = record(name="a").to_json()
    earlier = {key: value for key, value in values.items() if key != "answers"} | values["answers"]
    (tmp_path / "records.jsonl").write_text(json.dumps(earlier) + "\n", encoding="utf-8")
    with pytest.raises(RunError, match="evaluate the run again"):
        read_records(tmp_path / "records.jsonl")


def test_an_answer_of_another_model_is_named_or_refused() -> None:
    other = answered_again(record(name="a"), gemma=record(tuned="x").tuned)
    assert other.answer("gemma").completion == "x"
    alone = replace(other, answers={"gemma": other.answer("gemma")})
    assert alone.is_answered
    for label in ("base", "tuned"):
        with pytest.raises(RunError, match=f"faq.jsonl:a: example a has no answer of a model called '{label}'; expected 'gemma'"):
            getattr(alone, label)


def test_loss_is_per_supervised_token() -> None:
    assert record().base.loss == 2.0
