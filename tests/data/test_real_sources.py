"""The real data sets beside the repository: which are read without any option, as what, and which are refused for what reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.config import PrepareConfig
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import to_examples
from tunesmith.data.reading.sources import open_sources
from tunesmith.errors import DataError

ALPACA = "instruction + input -> prompt, output -> completion (Alpaca)"


@pytest.mark.parametrize(
    ("file", "num_rows", "words", "num_invalid"),
    [
        ("sft/lamini_docs.jsonl", 1400, "question -> prompt, answer -> completion (question/answer)", 1),
        ("sft/lamini_docs_templated.jsonl", 1400, "question -> prompt, answer -> completion (question/answer)", 1),
        ("sft/llamafactory_alpaca_en_demo.json", 999, ALPACA, 0),
        ("sft/llamafactory_identity.json", 91, ALPACA, 0),
        ("sft/llmadapters_arc_easy_train.json", 2251, ALPACA, 0),
        ("sft/alpaca_seed_tasks.jsonl", 175, ALPACA, 0),
        ("sft/fastchat_dummy_conversation.json", 500, "conversations -> conversation (ShareGPT)", 0),
        ("sft/banking77_train.csv", 10003, "text -> prompt, category -> completion (classification)", 0),
        ("sft/banking77_test.csv", 3080, "text -> prompt, category -> completion (classification)", 0),
        ("preference/llamafactory_kto_en_demo.json", 300, "messages -> conversation, label -> desirable or not (OpenAI messages)", 0),
        (
            "preference/rasbt_instruction_data_with_preference_1100.json",
            1100,
            "instruction + input -> prompt, chosen -> better answer, rejected -> worse answer (Alpaca preference pairs)",
            6,
        ),
        ("text/tinyshakespeare.txt", 1, "text -> raw text, every token supervised", 0),
    ],
)
def test_read_without_options(shared_data: Path, file: str, num_rows: int, words: str, num_invalid: int) -> None:
    (source,) = open_sources([shared_data / file])
    rows = list(source.read())
    layout = recognise(rows, PrepareConfig())
    result = to_examples(rows, layout, PrepareConfig(on_invalid="drop"))
    assert (len(rows), str(layout), len(result.invalid), source.note, source.remarks()) == (num_rows, words, num_invalid, "", "")


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("eval/mmlu/anatomy/test.parquet", "the column choices holds the choices of a question, which the prompt would lack"),
        ("eval/ai2_arc/ARC-Easy/test.parquet", "the columns id, question, choices, answerKey are no layout"),
        ("eval/truthful_qa/TruthfulQA_2025.csv", "the columns Type, Category, Question, Best Answer"),
        ("eval/truthful_qa/mc_task_2025.json", "the columns question, mc0_targets, mc1_targets, mc2_targets are no layout"),
        ("judge/evalica/llmfao.csv", "the columns id, prompt, model_x, model_y, worker, winner, left, right are no layout"),
        ("judge/fastchat/mt_bench/question.jsonl", "the columns question_id, category, turns, reference are no layout"),
    ],
)
def test_refused_for_their_columns(shared_data: Path, file: str, found: str) -> None:
    """Benchmarks and votes are no prompts with answers: they are read, and their columns listed."""
    (source,) = open_sources([shared_data / file])
    with pytest.raises(DataError) as caught:
        recognise(source.read(), PrepareConfig())
    assert caught.value.found.startswith(found)


def test_a_folder_of_all_of_them(shared_data: Path) -> None:
    names = [source.label for source in open_sources([shared_data / "sft"])]
    assert names == sorted(f"sft/{file.name}" for file in (shared_data / "sft").iterdir())


def test_an_edited_copy_in_an_archive_reads_the_same(shared_data: Path, tmp_path: Path) -> None:
    import zipfile

    file = shared_data / "sft" / "lamini_docs.jsonl"
    with zipfile.ZipFile(tmp_path / "docs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(file, "lamini_docs.jsonl")
    (plain,), (packed,) = open_sources([file]), open_sources([tmp_path / "docs.zip"])
    assert [dict(row.values) for row in packed.read()] == [dict(row.values) for row in plain.read()]
    assert packed.sha256 == plain.sha256
