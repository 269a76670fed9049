"""Hugging Face data sets: folders in hub layout, saved folders, and the choice of configuration and split."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunesmith.data.reading.hub import Choice, read_hub
from tunesmith.data.reading.readers import read_rows
from tunesmith.data.reading.sources import open_sources
from tunesmith.errors import AssetError, DataError


def json_lines(path: Path, *questions: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"question": question, "answer": "yes"}) + "\n" for question in questions), encoding="utf-8")


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    folder = tmp_path / "faqs"
    json_lines(folder / "german" / "one.jsonl", "Wie?")
    json_lines(folder / "english" / "one.jsonl", "How?")
    json_lines(folder / "english" / "two.jsonl", "Why?")
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: german\n  data_files:\n  - split: test\n    path: german/one.jsonl\n"
        "- config_name: english\n  data_files:\n  - split: test\n    path: english/one.jsonl\n  - split: dev\n    path: english/two.jsonl\n"
        "---\nTwo languages.\n"
    )
    return folder


def test_files_named_by_split_give_train_and_say_so(tmp_path: Path) -> None:
    json_lines(tmp_path / "faqs" / "train.jsonl", "How?", "Why?")
    json_lines(tmp_path / "faqs" / "test.jsonl", "When?")
    (source,) = open_sources([tmp_path / "faqs"])
    assert [(row.values["question"], row.source) for row in source.read()] == [("How?", "faqs/train#1"), ("Why?", "faqs/train#2")]
    assert source.note == "took the split train of train, test"
    assert [row.source for row in read_rows(tmp_path / "faqs", split="test")] == ["faqs/test#1"]


@pytest.mark.parametrize("files", [["train.jsonl"], ["train-0.jsonl", "train-1.jsonl"]])
def test_reading_a_folder_leaves_nothing_in_the_home(tmp_path: Path, files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "home")
    for file in files:
        json_lines(tmp_path / "faqs" / file, "How?")
    assert len(read_rows(tmp_path / "faqs", split="train")) == len(files)
    assert not (tmp_path / "home").exists()


def test_an_edited_folder_is_read_anew(tmp_path: Path) -> None:
    json_lines(tmp_path / "faqs" / "train.jsonl", "How?")
    assert len(read_rows(tmp_path / "faqs")) == 1
    json_lines(tmp_path / "faqs" / "train.jsonl", "How?", "Why?")
    assert len(read_rows(tmp_path / "faqs")) == 2


def test_configuration_after_a_colon(configured: Path) -> None:
    assert [row.source for row in read_rows(f"{configured}:german")] == ["faqs:german/test#1"]


def test_configuration_or_split_not_chosen(configured: Path) -> None:
    with pytest.raises(DataError, match="it has several configurations; expected one of german, english") as caught:
        read_rows(configured)
    assert caught.value.remedy == f"name one, as in `{configured}:german`"
    with pytest.raises(DataError, match="there is no configuration 'french'"):
        read_rows(f"{configured}:french")
    with pytest.raises(DataError, match="it has the splits test, dev and none is called train"):
        read_rows(f"{configured}:english")
    with pytest.raises(DataError, match="there is no split 'train'; expected one of test, dev"):
        read_rows(f"{configured}:english", split="train")


def test_saved_folders(tmp_path: Path) -> None:
    import datasets

    one = datasets.Dataset.from_list([{"question": "How?", "answer": "So."}])
    one.save_to_disk(str(tmp_path / "one"))
    assert [row.source for row in read_rows(tmp_path / "one")] == ["one#1"]
    with pytest.raises(DataError, match="expected no choice of split"):
        read_rows(tmp_path / "one", split="train")
    datasets.DatasetDict({"train": one, "test": one}).save_to_disk(str(tmp_path / "two"))
    (source,) = open_sources([tmp_path / "two"])
    assert (source.label, source.note) == ("two/train", "took the split train of train, test")


def test_folder_without_data(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: there is no file in it"):
        read_rows(tmp_path / "empty")


def test_folder_of_unlike_files_is_read_file_by_file(tmp_path: Path) -> None:
    json_lines(tmp_path / "faqs" / "a.jsonl", "How?")
    (tmp_path / "faqs" / "b.jsonl").write_text('{"left": 1}\n')
    assert [(row.source, "left" in row.values) for row in read_rows(tmp_path / "faqs")] == [
        ("faqs/a.jsonl:1", False),
        ("faqs/b.jsonl:1", True),
    ]


def test_several_files_of_a_split_are_read_one_by_one(tmp_path: Path) -> None:
    json_lines(tmp_path / "faqs" / "train-a.jsonl", "How?")
    (tmp_path / "faqs" / "train-b.jsonl").write_text('{"left": 1}\n')
    json_lines(tmp_path / "faqs" / "test.jsonl", "When?")
    assert [row.source for row in read_rows(tmp_path / "faqs")] == ["faqs/train-a.jsonl:1", "faqs/train-b.jsonl:1"]


def test_unlike_files_of_a_split_say_what_differs(tmp_path: Path) -> None:
    (tmp_path / "faqs").mkdir()
    (tmp_path / "faqs" / "train-a.csv").write_text("question,answer\nHow?,So\n")
    (tmp_path / "faqs" / "train-b.csv").write_text("left\n1\n")
    with pytest.raises(DataError, match=r"faqs: the folder cannot be read .*left"):
        read_rows(tmp_path / "faqs")


def test_prepared_directory_is_not_prepared_again(tmp_path: Path) -> None:
    json_lines(tmp_path / "done" / "train.jsonl", "How?")
    (tmp_path / "done" / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="this folder was written by `tunesmith prepare`"):
        read_rows(tmp_path / "done")


def test_real_parquet_folder(shared_data: Path) -> None:
    (source,) = open_sources([f"{shared_data / 'eval' / 'ai2_arc'}:ARC-Easy"])
    assert (source.label, len(list(source.read()))) == ("ai2_arc:ARC-Easy/train", 2251)
    with pytest.raises(DataError, match="one of ARC-Easy, ARC-Challenge"):
        read_rows(shared_data / "eval" / "ai2_arc")


def test_class_numbers_become_names(tmp_path: Path) -> None:
    import datasets

    classes = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["card_arrival", "card_lost"])})
    rows = {"text": ["Where is it?", "Gone!", "?"], "label": [0, 1, -1]}
    datasets.Dataset.from_dict(rows, features=classes).save_to_disk(str(tmp_path / "intents"))
    assert [row.values["label"] for row in read_rows(tmp_path / "intents")] == ["card_arrival", "card_lost", None]


def test_a_limit_draws_a_seeded_sample_from_the_stream(tmp_path: Path) -> None:
    """The function that reads the hub, given a folder in the hub's layout: the datasets library treats both alike."""
    json_lines(tmp_path / "faqs" / "train.jsonl", *(f"question {number}" for number in range(200)))

    def sample(seed: int) -> list[str]:
        found = read_hub(str(tmp_path / "faqs"), None, Choice(limit=20, seed=seed))
        assert (found.label, found.note) == (
            f"{tmp_path / 'faqs'}/train",
            f"a sample of at most 20 rows drawn from its stream (seed {seed})",
        )
        assert len(list(found.records())) == 20
        return [record["question"] for record in found.records()]

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert len(set(sample(1))) == 20
    everything = read_hub(str(tmp_path / "faqs"), None, Choice())
    assert (everything.note, len(list(everything.records()))) == ("", 200)


def test_what_the_datasets_library_says_of_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from datasets.exceptions import DatasetGenerationError

    for error in (RuntimeError("Dataset scripts are no longer supported, but found faq.py"), DatasetGenerationError("broken")):

        def names(_: str, error: Exception = error) -> list[str]:
            raise error

        monkeypatch.setattr(datasets, "get_dataset_config_names", names)
        with pytest.raises(AssetError, match="acme/faq: the data set could not be had from the hub"):
            read_hub("acme/faq", None, Choice())
