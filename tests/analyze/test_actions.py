"""What is proposed rests on the training data, and the review table works in the next `prepare`."""

from __future__ import annotations

import csv
import json
import shlex
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from tests.evaluate.fakes import answer, example, record
from tunesmith.analyze.actions import Origin
from tunesmith.analyze.analysis import analyze_records
from tunesmith.analyze.analyze import write_analysis
from tunesmith.analyze.nearest import WORDS, Space
from tunesmith.analyze.results import Analysis
from tunesmith.config import AnalyzeConfig, PrepareConfig
from tunesmith.data.prepare import prepare
from tunesmith.data.storing.prepared import PreparedData
from tunesmith.evaluate.records import EvaluationRecord

RIGHT = "Hold the round button for five seconds until the lamp is green."
LOOP = "Press it now and wait a bit. " * 8
ROWS = [
    *(
        {"question": f"How do I clean part {i} of the machine?", "answer": f"Rinse part {i} with clean water and dry it."}
        for i in range(40)
    ),
    {"question": "How do I start the grinder?", "answer": LOOP},
    {"question": "How do I empty the grinder  today?", "answer": LOOP.replace("it", "that")},
]
ORIGIN = Origin(analysed=Path("runs/faq"), data=Path("prepared/faq"), model="m", trained_epochs=2, max_new_tokens=64, longest_reference=90)


def prepared(tmp_path: Path, **settings: object) -> PreparedData:
    file = tmp_path / "faq.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return prepare([file], tmp_path / "prepared", PrepareConfig(test_fraction=0, validation_fraction=0, **settings))  # type: ignore[arg-type]


def analysed(records: list[EvaluationRecord], data: PreparedData) -> Analysis:
    return analyze_records(records, data.train, AnalyzeConfig(), origin=ORIGIN)


def test_rows_that_show_the_fault_go_into_a_review_that_prepare_carries_out(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    analysis = analysed([record(name="a", reference=RIGHT, tuned=LOOP), record(name="b", reference=RIGHT, tuned=RIGHT)], data)
    (action,) = [one for one in analysis.actions if one.group == "repetitive" and one.kind == "rows"]
    assert (action.cause, action.decision, sorted(row.source for row in action.rows)) == (
        "faulty",
        "drop",
        ["faq.jsonl:41", "faq.jsonl:42"],
    )
    assert "2 of 42 training answers (4.8%) show the same fault" in action.why

    write_analysis(tmp_path / "analysis", analysis, data.train, data)
    review = json.loads((tmp_path / "analysis" / "actions.json").read_text(encoding="utf-8"))["review"]
    with Path(review["file"]).open(encoding="utf-8-sig", newline="") as file:
        assert {row["decision"] for row in csv.DictReader(file)} == {"drop"}
    words = shlex.split(review["command"])
    import_module("tunesmith.cli.prepare").command.make_context("prepare", words[2:])  # it parses
    again = prepare([words[2]], tmp_path / "next", PrepareConfig(test_fraction=0, validation_fraction=0), review=Path(review["file"]))
    assert len(again.train) == 40


def test_ids_are_those_before_fixes(tmp_path: Path) -> None:
    ROWS_FIXED = [{**row, "question": row["question"].replace("grinder", "grinder\u200b")} for row in ROWS]
    file = tmp_path / "faq.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS_FIXED), encoding="utf-8")
    config = PrepareConfig(test_fraction=0, validation_fraction=0, fix=("control-characters",))
    data = prepare([file], tmp_path / "prepared", config)
    assert not any("\u200b" in one.prompt for one in data.train)
    write_analysis(tmp_path / "a", analysed([record(reference=RIGHT, tuned=LOOP)], data), data.train, data)
    assert len(prepare([file], tmp_path / "next", config, review=tmp_path / "a" / "review.csv").train) == 40


def test_a_table_that_was_worked_on_stays(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    analysis = analysed([record(reference=RIGHT, tuned=LOOP)], data)
    table = tmp_path / "a" / "review.csv"
    write_analysis(tmp_path / "a", analysis, data.train, data)
    write_analysis(tmp_path / "a", analysis, data.train, data)
    assert not (tmp_path / "a" / "review-2.csv").exists()
    edited = table.read_bytes().replace(b",drop", b",keep")
    table.write_bytes(edited)
    write_analysis(tmp_path / "a", analysis, data.train, data)
    assert table.read_bytes() == edited
    assert (tmp_path / "a" / "review-2.csv").is_file()


def test_contradicting_training_answers(tmp_path: Path) -> None:
    train = [
        *(example(f"How do I clean part {i}?", f"Rinse part {i}.") for i in range(9)),
        example("What does the filter cost?", "12 dollars."),
    ]
    records = [record(prompt="What does the filter cost?", reference="The filter costs 10 dollars.", tuned="Rinse it with water, I think.")]
    actions = analyze_records(records, train, AnalyzeConfig()).actions
    found = [action for action in actions if action.cause == "contradicting"]
    assert found
    assert {row.prompt for action in found for row in action.rows} == {"What does the filter cost?"}
    assert "by numbers" in found[0].rows[0].why


def test_missing_examples_are_asked_for_by_a_command_that_parses(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    records = [
        record(name=place, prompt=f"Which taxes apply in {place}?", reference=RIGHT, tuned="Hold it.")
        for place in ("Peru", "Oslo", "Rome", "Bali")
    ]
    (action,) = analysed(records, data).actions
    assert (action.group, action.cause) == ("too_short", "lacking")
    assert "4 of 4 failures" in action.why
    words = shlex.split(action.command or "")
    assert words[:6] == ["tunesmith", "synthesize", "errors", "runs/faq", "--groups", "too_short"]
    with import_module("tunesmith.cli.synthesize").command.make_context("synthesize", words[2:]) as context:
        assert context.params["count"] == 40


def test_near_examples_mean_training_and_a_limit_means_room(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    near = record(prompt="How do I clean part 7 of the machine?", reference=RIGHT, tuned="Hold it.")
    (action,) = analysed([near], data).actions
    assert (action.cause, action.command) == ("training", "tunesmith train prepared/faq --model m --epochs 3")
    cut = answer("Hold the round button", RIGHT, finish_reason="max_new_tokens")
    (action,) = analysed([record(reference=RIGHT, tuned=cut)], data).actions
    assert (action.cause, action.command) == ("limit", "tunesmith evaluate runs/faq --max-new-tokens 128")


def test_no_run_is_to_be_trained_both_longer_and_shorter(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    near = "How do I clean part 7 of the machine?"
    failures = [
        record(name="loop", prompt=near, reference=RIGHT, tuned="Wash it by hand and let it dry. " * 8),
        record(name="short", prompt=near, reference=RIGHT, tuned="Hold it."),
    ]
    again = "Rinse part 31 with clean water and dry it."
    recalled = [record(name=f"r{i}", prompt="Where is the warranty written down?", reference=RIGHT, tuned=again) for i in range(2)]
    assert {action.command for action in analysed(failures, data).actions if action.cause == "training"} == {
        "tunesmith train prepared/faq --model m --epochs 3"
    }
    assert {action.command for action in analysed(failures + recalled, data).actions if action.cause == "training"} == {
        "tunesmith train prepared/faq --model m --epochs 1"
    }


def test_where_the_validation_loss_rose_longer_training_is_not_proposed(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    near = record(prompt="How do I clean part 7 of the machine?", reference=RIGHT, tuned="Hold it.")
    (action,) = analyze_records([near], data.train, AnalyzeConfig(), origin=replace(ORIGIN, has_turned=True)).actions
    assert (action.kind, "synthesize errors runs/faq --groups too_short" in (action.command or "")) == ("synthesize", True)


def test_a_faulty_row_among_many_does_not_explain_failures(tmp_path: Path) -> None:
    train = [*(example(f"How do I clean part {i}?", f"Rinse part {i}.", name=str(i)) for i in range(150)), example("Start it?", LOOP)]
    failure = record(prompt="How do I clean part 7?", reference=RIGHT, tuned=LOOP.replace("wait", "rest"))
    causes = [
        action.cause for action in analyze_records([failure], train, AnalyzeConfig(), origin=ORIGIN).actions if action.group == "repetitive"
    ]
    assert causes == ["faulty", "training"]


def test_answers_are_made_again_from_the_same_examples(tmp_path: Path) -> None:
    cut = record(reference=RIGHT, tuned=answer("Hold the round button", RIGHT, finish_reason="max_new_tokens"))
    origin = replace(ORIGIN, options="--split validation --limit 60")
    (action,) = analyze_records([cut], prepared(tmp_path).train, AnalyzeConfig(), origin=origin).actions
    assert action.command == "tunesmith evaluate runs/faq --split validation --limit 60 --max-new-tokens 128"


def test_the_nearest_training_prompts_by_words() -> None:
    train = [example(f"How do I clean part {i}?", "x", name=str(i)) for i in range(20)] + [example("Where is my invoice?", "x", name="in")]
    space = Space.open(WORDS)
    (near,), usual = space.compare(["My invoice, where is it?"], train, count=2)
    assert (near[0].position, len(near)) == (20, 2)
    assert 0.8 < near[0].similarity <= 1.0001
    assert usual is None  # too few to say
    assert space.compare(["a"], [], count=2) == ([()], None)
    assert space.similarity("a", "a") is None
