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
                "train 1,185, validation 70, test 140 (seed 123)",
            ],
        ),
        (
            "sft/llamafactory_alpaca_en_demo.json",
            {},
            [
                "read 999 rows from llamafactory_alpaca_en_demo.json: instruction + input -> prompt, output -> completion (Alpaca)",
                "kept 985, removed 14 exact duplicates",
                "train 837, validation 49, test 99 (seed 0)",
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
            ["read 300 rows from llamafactory_kto_en_demo.json: messages -> conversation (OpenAI messages)", "kept 300"],
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
    assert prepared.summary().splitlines()[: len(summary)] == summary


def test_sources_point_at_the_line(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "sft" / "lamini_docs.jsonl"
    prepared = prepare([file], tmp_path / "out", PrepareConfig())
    lines = file.read_text(encoding="utf-8").split("\n")
    for example in prepared.test[:20]:
        assert json.loads(lines[int(example.source.partition(":")[2]) - 1])["question"] == example.prompt


def test_banking_asks_for_its_columns(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"banking77_train\.csv:2: the columns text, category can be read as raw text, or as prompts"):
        prepare([shared_data / "sft" / "banking77_train.csv"], tmp_path / "out", PrepareConfig())


def test_templated_copy_stops_at_its_empty_answer(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lamini_docs_templated.jsonl:424: the completion \(column 'answer'\) is empty"):
        prepare([shared_data / "sft" / "lamini_docs_templated.jsonl"], tmp_path / "out", PrepareConfig())
