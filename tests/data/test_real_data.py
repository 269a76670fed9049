"""The real data sets beside the repository, as a user would prepare them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data import prepare
from tunesmith.errors import DataError


@pytest.mark.parametrize(
    ("file", "options", "summary"),
    [
        (
            "sft/lamini_docs.jsonl",
            {"seed": 123},
            [
                "read 1,400 rows from lamini_docs.jsonl: question -> prompt, answer -> completion (question/answer)",
                "kept 1,395, removed 4 exact duplicates, dropped 1 row (1 blank row)",
                "train 1,175, validation 67, test 153 (seed 123)",
            ],
        ),
        (
            "sft/llamafactory_alpaca_en_demo.json",
            {},
            [
                "read 999 rows from llamafactory_alpaca_en_demo.json: instruction + input -> prompt, output -> completion (Alpaca)",
                "kept 985, removed 14 exact duplicates",
                "train 840, validation 44, test 101 (seed 0)",
            ],
        ),
        (
            "sft/fastchat_dummy_conversation.json",
            {},
            ["read 500 rows from fastchat_dummy_conversation.json: conversations -> conversation (ShareGPT)", "kept 500"],
        ),
        (
            "preference/llamafactory_kto_en_demo.json",
            {},
            [
                "read 300 rows from llamafactory_kto_en_demo.json: messages -> conversation, label -> desirable or not (OpenAI messages)",
                "kept 300 judged answers (150 desirable, 150 not)",
            ],
        ),
        (
            "preference/rasbt_instruction_data_with_preference_1100.json",
            {"on_invalid": "drop"},
            [
                "read 1,100 rows from rasbt_instruction_data_with_preference_1100.json: instruction + input -> prompt, "
                "chosen -> better answer, rejected -> worse answer (Alpaca preference pairs)",
                "kept 1,094 preference pairs, dropped 6 rows (6 chosen equals rejected)",
                "train 936, validation 43, test 115 (seed 0)",
                "note: rasbt_instruction_data_with_preference_1100.json: not used: output (the right answer is chosen)",
            ],
        ),
        (
            "text/tinyshakespeare.txt",
            {},
            [
                "read 1 row from tinyshakespeare.txt: text -> raw text, every token supervised",
                "kept 1 document, cut into 195 passages",
                "train 1, validation 64, test 130 (consecutive passages)",
            ],
        ),
        (
            "sft/banking77_test.csv",
            {"prompt_key": "text", "completion_key": "category"},
            [
                "read 3,080 rows from banking77_test.csv: text -> prompt, category -> completion (as named)",
                "kept 3,079, removed 1 exact duplicate",
            ],
        ),
        (
            "eval/hellaswag/validation.parquet",
            {"prompt_key": "ctx", "completion_key": "label"},
            ["read 10,042 rows from validation.parquet: ctx -> prompt, label -> completion (as named)"],
        ),
    ],
)
def test_summary(shared_data: Path, tmp_path: Path, file: str, options: dict[str, Any], summary: list[str]) -> None:
    prepared = prepare([shared_data / file], tmp_path / "out", PrepareConfig(**options))
    lines = [line for line in prepared.summary().splitlines() if not line.startswith("test against training: ")]
    assert lines[: len(summary)] == summary


def test_sources_point_at_the_line(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "sft" / "lamini_docs.jsonl"
    prepared = prepare([file], tmp_path / "out", PrepareConfig())
    lines = file.read_text(encoding="utf-8").split("\n")
    for example in prepared.test[:20]:
        assert json.loads(lines[int(example.source.partition(":")[2]) - 1])["question"] == example.prompt


def test_banking_is_recognised(shared_data: Path, tmp_path: Path) -> None:
    prepared = prepare([shared_data / "sft" / "banking77_train.csv"], tmp_path / "out", PrepareConfig())
    assert prepared.summary().startswith(
        "read 10,003 rows from banking77_train.csv: text -> prompt, category -> completion (classification)"
    )


def test_templated_copy_stops_at_its_empty_answer(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lamini_docs_templated.jsonl:424: the completion \(column 'answer'\) is empty"):
        prepare([shared_data / "sft" / "lamini_docs_templated.jsonl"], tmp_path / "out", PrepareConfig())


def test_pairs_that_are_none_stop_with_their_place(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "preference" / "rasbt_instruction_data_with_preference_1100.json"
    with pytest.raises(DataError, match=r"1100\.json#123: chosen and rejected are both .* the first of 6 unusable rows out of 1,100"):
        prepare([file], tmp_path / "out", PrepareConfig())


def test_the_first_pair_and_the_first_judged_answer(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "preference"
    whole = {"test_fraction": 0, "validation_fraction": 0}
    config = PrepareConfig(on_invalid="drop", **whole)
    pair = prepare([folder / "rasbt_instruction_data_with_preference_1100.json"], tmp_path / "pairs", config).train[0]
    assert pair.source == "rasbt_instruction_data_with_preference_1100.json#1"
    assert pair.prompt == "Evaluate the following phrase by transforming it into the spelling given.\n\nfreind --> friend"
    assert pair.reference == 'The spelling of the given phrase "freind" is incorrect, the correct spelling is "friend".'
    assert (
        pair.rejected == 'The spelling of the given phrase "freind" is flat out wrong, get it together, the correct spelling is "friend".'
    )
    judged = prepare([folder / "llamafactory_kto_en_demo.json"], tmp_path / "judged", PrepareConfig(**whole)).train[0]
    assert judged.label is True
    assert judged.prompt.startswith("The Federal Trade Commission is going after spyware")
    assert judged.reference.startswith("Ooh ooh ah ah!")


def test_passages_of_a_book_are_the_book(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "text" / "tinyshakespeare.txt"
    prepared = prepare([file], tmp_path / "out", PrepareConfig())
    text = file.read_text(encoding="utf-8")
    assert "".join(one.text or "" for one in (*prepared.train, *prepared.validation, *prepared.test)) == text
    assert len(prepared.train[0].text or "") == pytest.approx(0.85 * len(text), rel=0.01)
    lines = text.split("\n")
    for one in prepared.test:
        assert (one.text or "").startswith(lines[int(one.source.partition(":")[2]) - 1])
