"""Runs beside each other, and the rounds that led from one to the next."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunesmith.config import EvaluateConfig, PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.errors import RunError
from tunesmith.evaluate.records import EvaluationRecord, ModelAnswer, write_records
from tunesmith.evaluate.report import build_report
from tunesmith.evaluate.rounds import lineage_lines, trace_rounds
from tunesmith.evaluate.runs import compare_runs
from tunesmith.files import write_json
from tunesmith.runs import RunDirectory, create_run
from tunesmith.types import Message

CONFIG = EvaluateConfig(scorers=("rouge_l", "token_f1", "chrf"))


def answer(score: float, loss: float, *, tokens: int = 10) -> ModelAnswer:
    scores = {"exact_match": 0.0, "token_f1": score, "rouge_l": score, "chrf": 100 * score}
    return ModelAnswer(completion="x", finish_reason="end_of_turn", num_tokens=5, loss_total=loss, num_supervised=tokens, scores=scores)


def record(number: int, tuned: ModelAnswer) -> EvaluationRecord:
    text = f"question number {number} of them"
    return EvaluationRecord(
        id=f"id-{number}",
        source=f"faq.jsonl:{number}",
        prompt=text,
        reference="a rather long answer to it",
        messages=(Message(role="user", content=text),),
        answers={"base": answer(0.1, 30.0), "tuned": tuned},
    )


def make_run(
    directory: Path, name: str, records: list[EvaluationRecord], data: PreparedData | None = None, *, model: str = "tiny", **config: Any
) -> RunDirectory:
    values = {
        "created": f"2026-01-01T00:00:{name[-1] if name[-1].isdecimal() else 0}0",
        "config": {"epochs": 2.0, "lora": {"rank": 16}, **config},
        "model": {"name": model},
        "parent": None,
        "data": {"directory": str(data.directory if data else directory), "fingerprint": data.fingerprint if data else "none"},
    }
    run = create_run(directory, name, values)
    if records:
        run.evaluation_dir.mkdir()
        write_records(run.evaluation_records_file, records)
        report = build_report(records, CONFIG, run_name=name, model_name=model, split="test", data_fingerprint="f")
        write_json(run.evaluation_report_file, report.to_json())
    return run


def test_every_run_is_compared_with_the_first(tmp_path: Path) -> None:
    first = make_run(tmp_path, "run-1", [record(n, answer(0.3 + n % 5 / 50, 20.0)) for n in range(40)])
    second = make_run(tmp_path, "run-2", [record(n, answer(0.55 + n % 7 / 50, 18.0 + n % 3 / 10)) for n in range(40)])
    third = make_run(tmp_path, "run-3", [record(n, answer(0.3 + n % 5 / 50, 20.0)) for n in range(40)])
    found = compare_runs([first, second, third], CONFIG)
    assert (found.first, found.num_examples, [other.run for other in found.others]) == ("run-1", 40, ["run-2", "run-3"])
    assert found.means["run-1"]["loss"] == pytest.approx(2.0)
    assert found.means["tiny"]["rouge_l"] == pytest.approx(0.1)
    better, same = found.others
    assert {comparison.verdict for comparison in better.comparisons} == {"better"}
    assert (len(better.newly_right), better.newly_wrong) == (40, ())
    assert {comparison.verdict for comparison in same.comparisons} == {"cannot tell"}
    assert all(comparison.difference == 0 for comparison in same.comparisons)
    assert better.comparisons[0].p_adjusted >= better.comparisons[0].p_value * 2 - 1e-12  # looked at with three others
    assert json.loads(json.dumps(found.to_json()))["first"] == "run-1"


def with_base(records: list[EvaluationRecord], base: ModelAnswer) -> list[EvaluationRecord]:
    return [dataclasses.replace(one, answers={**one.answers, "base": base}) for one in records]


def test_each_base_model_has_a_row_of_its_own(tmp_path: Path) -> None:
    records = [record(n, answer(0.3, 20.0)) for n in range(12)]
    large = with_base(records, dataclasses.replace(answer(0.2, 25.0), completion="larger"))
    other_way = with_base(records, dataclasses.replace(answer(0.15, 25.0), completion="another template"))
    runs = [
        make_run(tmp_path, "run-1", records),
        make_run(tmp_path, "run-2", large, model="large"),
        make_run(tmp_path, "run-3", records),
        make_run(tmp_path, "run-4", other_way),
    ]
    found = compare_runs(runs, CONFIG)
    assert list(found.means) == ["tiny", "large", "tiny (run-4)", "run-1", "run-2", "run-3", "run-4"]
    assert found.bases == {"tiny": ("run-1", "run-3"), "large": ("run-2",), "tiny (run-4)": ("run-4",)}
    assert [found.means[label]["rouge_l"] for label in found.bases] == pytest.approx([0.1, 0.2, 0.15])
    assert found.summary_lines()[-1] == "3 rows are base models: tiny of run-1, run-3; large of run-2; tiny (run-4) of run-4"


def test_runs_called_like_a_base_model_or_base_are_told_apart(tmp_path: Path) -> None:
    names = ["base", "tuned", "tiny"]
    runs = [make_run(tmp_path, name, [record(n, answer(0.3 + i / 10, 20.0)) for n in range(12)]) for i, name in enumerate(names)]
    found = compare_runs(runs, CONFIG)
    assert list(found.means) == ["tiny (base)", *names]
    assert [means["rouge_l"] for means in found.means.values()] == pytest.approx([0.1, 0.3, 0.4, 0.5])
    assert found.first == "base"
    assert "tiny is the run of that name; the row of the base model tiny is tiny (base)" in found.notes
    assert compare_runs(runs[:2], CONFIG).notes == ()


def test_other_examples_are_refused_unless_the_shared_ones_will_do(tmp_path: Path) -> None:
    first = make_run(tmp_path, "run-1", [record(n, answer(0.3, 20.0 + n)) for n in range(20)])
    second = make_run(tmp_path, "run-2", [record(n, answer(0.4, 19.0 + n)) for n in range(5, 22)])
    with pytest.raises(RunError, match=r"7 of the examples .* --only-shared"):
        compare_runs([first, second], CONFIG)
    found = compare_runs([first, second], CONFIG, only_shared=True)
    assert (found.num_examples, found.num_left_out) == (15, 7)
    nothing = make_run(tmp_path, "run-3", [record(n, answer(0.4, 19.0)) for n in range(50, 60)])
    with pytest.raises(RunError, match="no example is shared"):
        compare_runs([first, nothing], CONFIG, only_shared=True)


def test_losses_over_other_tokens_are_not_compared(tmp_path: Path) -> None:
    first = make_run(tmp_path, "run-1", [record(n, answer(0.3, 20.0)) for n in range(12)])
    others = [
        dataclasses.replace(
            record(n, answer(0.4, 20.0, tokens=12)), answers={"base": answer(0.1, 30, tokens=12), "tuned": answer(0.4, 20.0, tokens=12)}
        )
        for n in range(12)
    ]
    found = compare_runs([first, make_run(tmp_path, "run-2", others)], CONFIG)
    assert "loss" not in found.titles
    assert "different tokens" in found.summary_lines()[-1]


def test_one_run_twice_and_a_run_not_evaluated_are_refused(tmp_path: Path) -> None:
    first = make_run(tmp_path, "run-1", [record(n, answer(0.3, 20.0)) for n in range(12)])
    with pytest.raises(RunError, match="two or more different"):
        compare_runs([first, first], CONFIG)
    with pytest.raises(RunError, match="has not been evaluated"):
        compare_runs([first, make_run(tmp_path, "run-2", [])], CONFIG)


def prepared(directory: Path, name: str, rows: dict[str, str], like: Path | None = None) -> PreparedData:
    file = directory / f"{name}.jsonl"
    file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows.items()), encoding="utf-8")
    settings = PrepareConfig(near_threshold=1, test_fraction=0.2, like=str(like) if like else None)
    return prepare([file], directory / name, settings)


def test_rounds_are_linked_by_the_examples_they_share(tmp_path: Path) -> None:
    rows = {f"What is thing {n} made of, please?": f"Of stuff {n}." for n in range(60)}
    one = prepared(tmp_path, "data-1", rows)
    kept = {example.prompt for example in one.test} | {example.prompt for example in one.validation}
    changed = dict(rows)
    trained = [question for question in rows if question not in kept]
    changed[trained[0]] = "Of something else."
    del changed[trained[1]]
    changed |= {f"How does one mend gadget {n}?": f"With tool {n}." for n in range(4)}
    two = prepared(tmp_path, "data-2", changed, like=one.directory)
    other = prepared(tmp_path, "data-3", {f"Who wrote book {n} of the series?": f"Author {n}." for n in range(40)})
    runs_dir = tmp_path / "runs"
    records = [record(n, answer(0.3, 20.0)) for n in range(12)]
    runs = [
        make_run(runs_dir, "run-1", records, one),
        make_run(runs_dir, "run-2", records, other),
        make_run(runs_dir, "run-3", [], two, epochs=3.0),
    ]
    (runs_dir / "run-1" / "analysis").mkdir()
    groups = [{"title": "too short", "num_tuned": 2}, {"title": "cut", "num_tuned": 5}, {"title": "empty", "num_tuned": 0}]
    write_json(runs_dir / "run-1" / "analysis" / "analysis.json", {"groups": groups})
    rounds = trace_rounds(runs)
    assert [one.previous for one in rounds] == [None, None, "run-1"]
    assert rounds[0].groups == {"cut": 5, "too short": 2}
    change = rounds[2].change
    assert change is not None
    added = 4 - sum(example.prompt.startswith("How does one mend") for example in (*two.test, *two.validation))
    assert (change.num_added, change.num_removed, change.num_reanswered) == (added, 1, 1)
    assert change.same_test == ({example.id for example in one.test} == {example.id for example in two.test})
    assert rounds[2].settings == {"epochs": (2.0, 3.0)}
    text = "\n".join(lineage_lines(rounds))
    assert "since run-1: training examples" in text
    assert "epochs 2.0 -> 3.0" in text
    assert "failures: 5 cut, 2 too short" in text

    shutil.rmtree(other.directory)
    gone = trace_rounds(runs)[1]
    assert (gone.num_train, gone.change) == (None, None)
    assert "cannot be read" in str(gone.note)


def test_an_example_without_the_deciding_score_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    known = [record(n, answer(0.9, 20.0)) for n in range(12)]
    unknown = dataclasses.replace(answer(0.9, 20.0), scores={"exact_match": 0.0})
    first = make_run(tmp_path, "run-1", [*known, record(12, answer(0.0, 20.0)), record(13, unknown)])
    second = make_run(tmp_path, "run-2", [*known, record(12, unknown), record(13, answer(0.0, 20.0))])
    (found,) = compare_runs([first, second], CONFIG).others
    assert (found.newly_right, found.newly_wrong) == ((), ())


def test_the_means_beside_each_other_are_over_the_same_examples(tmp_path: Path) -> None:
    unknown = dataclasses.replace(answer(0.0, 20.0), scores={"exact_match": 0.0})
    first = make_run(tmp_path, "run-1", [record(n, answer(0.8 if n < 6 else 0.2, 20.0)) for n in range(12)])
    second = make_run(tmp_path, "run-2", [record(n, answer(0.8, 20.0) if n < 6 else unknown) for n in range(12)])
    found = compare_runs([first, second], CONFIG)
    assert found.means["run-1"]["rouge_l"] == found.means["run-2"]["rouge_l"] == pytest.approx(0.8)


def test_lineage_counts_examples_and_not_prompts(tmp_path: Path) -> None:
    rows = [{"prompt": f"Tell me about thing {n % 15}, please.", "completion": f"Thing {n} is made of {n} parts."} for n in range(60)]
    (tmp_path / "faq.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    data = prepare([tmp_path / "faq.jsonl"], tmp_path / "data", PrepareConfig())
    (only,) = trace_rounds([make_run(tmp_path, "run-1", [], data)])
    assert only.num_train == len(data.train)
    assert len(data.train) > 15
