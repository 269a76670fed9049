"""Names of benchmarks: plain ones, tasks, groups, and those there are not."""

from __future__ import annotations

import pytest

from tunesmith.errors import ConfigError
from tunesmith.evaluate.benchmarks.catalog import PLAIN, TaskNames, find_benchmarks


@pytest.fixture(scope="module")
def index() -> TaskNames:
    return TaskNames.plain()


def test_plain_names(index: TaskNames) -> None:
    found = find_benchmarks(("truthfulqa", "arc", "hellaswag"), index)
    assert [(one.name, one.metric) for one in found] == [
        ("truthfulqa_mc1", "acc"),
        ("truthfulqa_mc2", "acc"),
        ("arc_easy", "acc"),
        ("arc_challenge", "acc_norm"),
        ("hellaswag", "acc_norm"),
    ]
    assert found[2].leaves[0].config["dataset_path"] == "allenai/ai2_arc"
    assert found[3].leaves[0].config["dataset_path"] == "allenai/ai2_arc", "what a task's file includes counts, too"


def test_a_group_is_one_benchmark(index: TaskNames) -> None:
    [mmlu] = find_benchmarks(("mmlu",), index)
    assert len(mmlu.leaves) == 57
    assert len({leaf.name for leaf in mmlu.leaves}) == 57
    [stem] = find_benchmarks(("mmlu_stem",), index)
    assert {leaf.name for leaf in stem.leaves} < {leaf.name for leaf in mmlu.leaves}


def test_a_tag_is_its_tasks_and_nothing_comes_twice(index: TaskNames) -> None:
    assert [one.name for one in find_benchmarks(("ai2_arc", "arc", "arc_easy"), index)] == ["arc_challenge", "arc_easy"]


@pytest.mark.parametrize(
    ("name", "near"), [("helaswag", "hellaswag"), ("arc_eazy", "arc_easy"), ("MMLU", "mmlu"), ("truthful_qa", "truthfulqa")]
)
def test_an_unknown_name(index: TaskNames, name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no benchmark '{name}'.*perhaps you mean .*{near}"):
        find_benchmarks((name,), index)


def test_other_names_take_the_whole_index() -> None:
    assert TaskNames.for_names([*PLAIN, "mmlu_anatomy"], pytest.fail).manager.all_tasks == TaskNames.plain().manager.all_tasks
