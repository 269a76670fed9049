"""Where documents come from: splits a folder has not, folders that are not there, the hub that is out of reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluate.benchmarks.local_data import arc_row, write_data_set
from tunesmith.config import BenchmarkConfig
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.benchmarks.catalog import Benchmark, TaskNames, find_benchmarks
from tunesmith.evaluate.benchmarks.sources import find_source
from tunesmith.evaluate.benchmarks.tasks import LoadedBenchmark, choose, load_benchmark

INDEX = TaskNames.plain()


def named(name: str) -> Benchmark:
    return find_benchmarks((name,), INDEX)[0]


def load(name: str, data: Path | None, said: list[str] | None = None, **settings: object) -> LoadedBenchmark:
    said = [] if said is None else said
    config = BenchmarkConfig.model_validate({"tasks": (name,), "data": data and str(data), **settings})
    return load_benchmark(named(name), INDEX, find_source(config.data, said.append), config, said.append)


def test_splits_that_are_not_there_are_taken_away(eval_data: Path) -> None:
    source = find_source(str(eval_data), pytest.fail)
    [leaf] = named("hellaswag").leaves
    changes = dict(source.overrides(leaf))
    assert changes.pop("dataset_kwargs").keys() == {"cache_dir"}
    assert changes == {"dataset_path": str(eval_data / "hellaswag"), "training_split": None}
    [leaf] = named("arc_easy").leaves
    assert source.overrides(leaf)["training_split"] is None
    [leaf] = named("truthfulqa_mc1").leaves
    assert "training_split" not in source.overrides(leaf), "the task has none"


def test_a_single_data_set_is_taken_by_its_folder(eval_data: Path) -> None:
    assert load("hellaswag", eval_data / "hellaswag").num_documents == 8


def test_a_folder_of_the_same_name_and_readme_is_another_one(tmp_path: Path) -> None:
    for number, count in (("1", 5), ("2", 7)):
        write_data_set(tmp_path / number / "ai2_arc", {"ARC-Easy": {"test": [arc_row(i) for i in range(count)]}})
    assert load("arc_easy", tmp_path / "1").num_documents == 5
    assert load("arc_easy", tmp_path / "2").num_documents == 7
    (tmp_path / "2" / "ai2_arc" / "ARC-Easy" / "test.parquet").unlink()
    (tmp_path / "1" / "ai2_arc" / "ARC-Easy" / "test.parquet").rename(tmp_path / "2" / "ai2_arc" / "ARC-Easy" / "test.parquet")
    assert load("arc_easy", tmp_path / "2").num_documents == 5, "its files have changed"


def test_without_test_questions_the_validation_ones_are_asked_and_it_is_said(tmp_path: Path) -> None:
    write_data_set(tmp_path / "ai2_arc", {"ARC-Easy": {"validation": [arc_row(i) for i in range(5)]}})
    said: list[str] = []
    assert load("arc_easy", tmp_path, said).num_documents == 5
    assert len(said) == 1
    assert "has no test split; its validation split is asked" in said[0]


def test_without_any_question_it_is_refused(tmp_path: Path) -> None:
    write_data_set(tmp_path / "ai2_arc", {"ARC-Easy": {"train": [arc_row(0)], "exam": [arc_row(1)]}})
    with pytest.raises(DataError, match=r"its splits are .*; expected test or validation, for arc_easy"):
        load("arc_easy", tmp_path)


def test_a_folder_without_the_data_set(eval_data: Path) -> None:
    with pytest.raises(DataError, match=r"no folder called mmlu \(there is ai2_arc, hellaswag, truthful_qa\)"):
        load("mmlu", eval_data)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    write_data_set(tmp_path / "ai2_arc", {"ARC-Challenge": {"test": [arc_row(0)]}})
    with pytest.raises(DataError, match="with the configuration ARC-Easy"):
        load("arc_easy", tmp_path)


def test_the_hub_out_of_reach_is_one_paragraph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    said: list[str] = []
    with pytest.raises(DataError, match="its data cannot be read from the Hugging Face hub") as caught:
        load("arc_easy", None, said)
    assert "\n" not in str(caught.value)
    assert said == ["arc_easy: reading allenai/ai2_arc ARC-Easy from the hub's cache on this machine (HF_HUB_OFFLINE is set)"]


def test_a_sample_is_seeded_and_not_the_first(eval_data: Path) -> None:
    sample = load("arc_easy", eval_data, limit=5).tasks[0].chosen
    assert sample == load("arc_easy", eval_data, limit=5).tasks[0].chosen
    assert sample != load("arc_easy", eval_data, limit=5, seed=1).tasks[0].chosen
    assert list(sample) == sorted(sample) != list(range(5))
    assert load("arc_easy", eval_data, limit=5, first=True).tasks[0].chosen == tuple(range(5))
    assert load("arc_easy", eval_data, limit=500).tasks[0].chosen == tuple(range(12))


def test_a_sample_of_a_group_is_of_all_its_documents() -> None:
    chosen = choose([100, 10, 1000], BenchmarkConfig(tasks=("mmlu",), limit=111))
    assert [len(one) for one in chosen] == pytest.approx([10, 1, 100], abs=8)
    assert sum(map(len, chosen)) == 111


def test_more_worked_examples_than_there_are(eval_data: Path) -> None:
    with pytest.raises(ConfigError, match=r"4 worked examples for arc_easy; expected fewer than the 4 there are"):
        load("arc_easy", eval_data, num_fewshot=4)
    assert load("arc_easy", eval_data, num_fewshot=2).tasks[0].num_fewshot == 2
    assert load("truthfulqa_mc1", eval_data, num_fewshot=2).tasks[0].num_fewshot == 0, "the task is fixed at none"
