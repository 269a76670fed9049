"""Scores and verdicts from records: forgetting is a number with an interval and a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tunesmith.config import BenchmarkConfig
from tunesmith.errors import DataError
from tunesmith.evaluate.benchmarks.catalog import FOUR, Benchmark
from tunesmith.evaluate.benchmarks.comparison import compare_average, compare_models
from tunesmith.evaluate.benchmarks.overlap import find_overlap
from tunesmith.evaluate.benchmarks.records import DocumentRecord, TaskResult
from tunesmith.evaluate.benchmarks.scores import Outcome, require_same_documents
from tunesmith.types import Example, Message

CONFIG = BenchmarkConfig(tasks=("hellaswag",), num_resamples=200)


def result(name: str, values: Sequence[float], *, metric: str = "acc_norm", score: float | None = None, mark: str = "") -> TaskResult:
    records = tuple(
        DocumentRecord(
            task=name,
            document=i,
            hash=f"{name}{i}{mark}",
            prompt_hash="",
            question=f"question {i}",
            right="yes",
            values={f"{metric},none": value},
            answers=[],
        )
        for i, value in enumerate(values)
    )
    mean = sum(values) / len(values)
    return TaskResult(
        name=name,
        num_fewshot=0,
        scores={f"{metric},none": mean if score is None else score},
        higher_is_better={metric: True},
        version="1",
        records=records,
        num_computed=0,
    )


def outcome(values: Sequence[float], name: str = "hellaswag", title: str = "HellaSwag") -> Outcome:
    return Outcome(benchmark=Benchmark(name=name, title=title, metric="acc_norm", leaves=()), results=(result(name, values),))


def shares(right: int, total: int, *, start: int = 0) -> list[float]:
    return [float(start <= i < start + right) for i in range(total)]


def test_forgetting_is_worse() -> None:
    base, tuned = shares(430, 1000), shares(410, 1000)
    [found] = compare_models("faq", "smollm2", {"hellaswag": {"smollm2": outcome(base), "faq": outcome(tuned)}}, CONFIG)
    assert found.verdict == "worse"
    assert found.sentence.startswith("worse: HellaSwag acc_norm 0.410 against 0.430, -0.020 [-0.029, -0.011], n = 1,000, p < 0.001")
    assert (found.test, found.num_documents) == ("exact McNemar", 1000)


def test_where_as_many_were_gained_as_lost_it_cannot_be_told_but_a_loss_is_bounded() -> None:
    [found] = compare_models("b", "a", {"x": {"a": outcome(shares(50, 200)), "b": outcome(shares(50, 200, start=3))}}, CONFIG)
    assert found.verdict == "cannot tell"
    assert found.interval
    assert found.interval.low == pytest.approx(-0.02744, abs=1e-5)
    assert "a loss beyond 0.028 is ruled out" in found.sentence, "rounded away from zero"


def test_scores_between_right_and_wrong_are_tested_by_signs() -> None:
    base = [0.3 + 0.001 * i for i in range(40)]
    tuned = [value + 0.05 + 0.001 * (i % 3) for i, value in enumerate(base)]
    [found] = compare_models("b", "a", {"x": {"a": outcome(base), "b": outcome(tuned)}}, CONFIG)
    assert (found.verdict, found.test) == ("better", "sign flips")


def test_p_is_corrected_for_the_number_of_benchmarks() -> None:
    pairs = {name: {"a": outcome(shares(100, 300), name), "b": outcome(shares(93, 300), name)} for name in ("x", "y", "z", "w")}
    alone = compare_models("b", "a", {"x": pairs["x"]}, CONFIG)
    together = compare_models("b", "a", pairs, CONFIG)
    assert alone[0].verdict == "worse"
    assert together[0].p_adjusted == pytest.approx(4 * alone[0].p_adjusted)
    assert together[0].verdict == "cannot tell"


def test_the_average_needs_all_four() -> None:
    pairs = {name: {"a": outcome(shares(100, 300), name), "b": outcome(shares(91, 300), name)} for name in FOUR}
    found = compare_models("b", "a", pairs, CONFIG)
    assert compare_average(found[:3], CONFIG) is None
    average = compare_average(found, CONFIG)
    assert average
    assert average.difference == pytest.approx(-0.03)
    assert average.deviation == pytest.approx(found[0].deviation / 2)
    assert average.sentence.startswith("worse: average of four 0.303 against 0.333, -0.030")


def test_a_metric_that_is_no_mean_has_a_score_and_no_comparison() -> None:
    strange = Outcome(
        benchmark=Benchmark(name="x", title="X", metric=None, leaves=()), results=(result("x", [0.0, 1.0], metric="f1", score=0.9),)
    )
    score = strange.score("f1,none", CONFIG)
    assert score
    assert (score.value, score.interval) == (0.9, None)
    assert compare_models("b", "a", {"x": {"a": strange, "b": strange}}, CONFIG) == ()


def test_of_a_group_every_document_counts_the_same() -> None:
    parts = (result("small", [1.0]), result("large", [0.0, 0.0, 1.0]))
    group = Outcome(benchmark=Benchmark(name="g", title="G", metric="acc_norm", leaves=()), results=parts)
    score = group.score("acc_norm,none", CONFIG)
    assert score
    assert (score.value, score.num_documents) == (0.5, 4)
    without = group.score("acc_norm,none", CONFIG, without={("large", 0), ("large", 1)})
    assert without
    assert (without.value, without.num_documents) == (1.0, 2)


def test_other_documents_are_not_compared() -> None:
    one = outcome([1.0, 0.0])
    other = Outcome(benchmark=one.benchmark, results=(result("hellaswag", [1.0, 0.0], mark="x"),))
    require_same_documents({"a": one, "b": one})
    with pytest.raises(DataError, match=r"hellaswag#0: a and b did not answer the same document \(2 differ\)"):
        require_same_documents({"a": one, "b": other})


def example(question: str, answer: str) -> Example:
    messages = (Message(role="user", content=question), Message(role="assistant", content=answer))
    return Example(id="1", source="faq.jsonl:1", group="1", messages=messages)


def record(number: int, question: str, right: str = "") -> DocumentRecord:
    return DocumentRecord(
        task="t", document=number, hash=str(number), prompt_hash="", question=question, right=right, values={}, answers=[]
    )


def test_documents_in_the_training_data_are_found() -> None:
    long = "What is the boiling point of water in degrees at the height of two thousand metres above the sea?"
    documents = [
        record(0, long),
        record(1, "What is 2 + 2?"),
        record(2, "What is 2 + 3?"),
        record(3, "One two three four five six", "seven"),
    ]
    examples = [
        example("Tell me: " + long.lower().replace("?", ""), "93"),
        example("what is 2  + 2", "4"),
        example("One two three four five six", "it is seven"),
    ]
    by_place = {("t", one.document): one for one in documents}
    assert find_overlap({"b": by_place}, examples, 13) == {"b": {("t", 0), ("t", 1), ("t", 3)}}
    assert find_overlap({"b": by_place}, [example("Hello?", "seven")], 13) == {"b": set()}
    assert find_overlap({"b": by_place}, [example("x", "one, two, three, four, five: six; SEVEN!")], 7) == {"b": {("t", 3)}}
