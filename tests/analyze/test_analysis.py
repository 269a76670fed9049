from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.conftest import SHARED_DATA
from tests.evaluate.fakes import answer, example, raw_text_record, record
from tests.evaluate.test_page import parse
from tests.evaluate.test_report import report_of
from tunesmith.analyze.analysis import Analysis, analyze_records, write_analysis
from tunesmith.config import AnalyzeConfig
from tunesmith.errors import DataError
from tunesmith.evaluate.page import render_html
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.runs import RunDirectory

DECLINE = "I can only help with coffee machines, sorry."
TRAIN = [
    *(example(f"What is button {i} for?", f"Button {i} makes a drink of kind {i} with milk.") for i in range(30)),
    *(example(f"Why is animal {i} so loud?", DECLINE) for i in range(5)),
]
RIGHT = "Hold the round button for five seconds until the lamp is green."


def an_analysis() -> Analysis:
    cut = answer("It is", RIGHT, finish_reason="max_new_tokens")
    records = [
        record(name="fixed", reference=RIGHT, base="", tuned=RIGHT),
        record(name="fixed too", reference=RIGHT, base="", tuned=RIGHT),
        record(name="broken", reference=RIGHT, base=RIGHT, tuned=""),
        record(name="declined", prompt="Why do cats purr?", reference=DECLINE, base="Cats purr because they like it so.", tuned=DECLINE),
        record(name="cut", reference=RIGHT, base=cut, tuned=cut),
        record(name="short", reference=RIGHT, base=RIGHT, tuned="Hold the button."),
        record(name="wordy", reference=RIGHT, base="", tuned="Clean the machine with water, button or no button, every day."),
        raw_text_record("raw", (1.0, 1), (1.0, 1)),
    ]
    return analyze_records(records, TRAIN, AnalyzeConfig())


def test_groups_are_counted_side_by_side_the_tuned_model_s_most_frequent_first() -> None:
    analysis = an_analysis()
    assert [(group.name, group.num_base, group.num_tuned) for group in analysis.groups] == [
        ("too_short", 1, 2),
        ("empty", 3, 1),
        ("cut", 1, 1),
        ("unlike_reference", 0, 1),
        ("missed_redirection", 1, 0),
    ]
    assert analysis.num_examples == 7
    assert (analysis.num_without_failure_base, analysis.num_without_failure_tuned) == (2, 3)


def test_flips_of_each_group() -> None:
    flips = {group.name: (group.fixed, group.newly_broken) for group in an_analysis().groups}
    assert flips["empty"] == (("fixed", "fixed too", "wordy"), ("broken",))
    assert flips["too_short"] == ((), ("short",))
    assert flips["cut"] == ((), ())
    assert flips["missed_redirection"] == (("declined",), ())
    assert flips["unlike_reference"] == ((), ())  # its base was empty: nothing that worked was broken


def test_the_worst_failures_are_shown_in_full() -> None:
    group = an_analysis().groups[0]
    assert [shown.id for shown in group.shown] == ["cut", "short"]  # the lower token F1 first
    assert group.shown[1].completion == "Hold the button."
    assert group.shown[1].explanation == "3 words where the reference has 12 (limit 6)"
    assert group.remedy


def test_no_more_are_shown_than_asked_for() -> None:
    records = [record(name=str(i), reference=RIGHT, tuned="") for i in range(9)]
    for shown in (1, 3):
        assert len(analyze_records(records, TRAIN, AnalyzeConfig(shown=shown)).groups[0].shown) == shown


def test_redirections_are_learnt_and_told() -> None:
    assert [(item.text, item.num_prompts) for item in an_analysis().redirections] == [(DECLINE, 5)]
    without = analyze_records([record(tuned="x")], TRAIN[:10], AnalyzeConfig())
    assert any("redirections: none learnt" in note for note in without.notes)


def test_data_that_is_not_english_is_not_checked_for_spelling_and_says_so() -> None:
    german = [example("Wozu dient der Knopf?", "Der runde Knopf an der Seite schaltet das Gerät wieder ein.")]
    assert any("misspelt: not checked" in note for note in analyze_records([record()], german, AnalyzeConfig()).notes)


def test_the_threshold_of_right_is_the_evaluation_s() -> None:
    records = [record(reference=RIGHT, tuned="Press the round button for a time until the machine is off.")]
    assert analyze_records(records, TRAIN, AnalyzeConfig(), right_threshold=0.2).num_without_failure_tuned == 1
    assert analyze_records(records, TRAIN, AnalyzeConfig(), right_threshold=0.9).num_without_failure_tuned == 0


def test_lines_for_the_terminal() -> None:
    lines = an_analysis().summary_lines()
    assert lines[:7] == [
        "error group                 base  tuned  fixed  newly broken",
        "too short                      1      2      0             1",
        "empty                          3      1      3             1",
        "cut at the token limit         1      1      0             0",
        "wrong for another reason       0      1      0             0",
        "missed redirection             1      0      1             0",
        "none                           2      3   of 7 answers each",
    ]
    assert any(line.startswith("too short (2): Add full answers") for line in lines)
    assert not any(line.startswith("missed redirection (") for line in lines)  # nothing left to do


def test_files_of_the_run(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "faq")
    run.path.mkdir()
    analysis = an_analysis()
    write_analysis(run, analysis)
    document = json.loads((run.analysis_dir / "analysis.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(analysis.to_json()))
    assert next(iter(document)) == "schema_version"
    lines = [json.loads(line) for line in (run.analysis_dir / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 7
    assert lines[2] == {"id": "broken", "base": {}, "tuned": {"empty": "nothing was answered"}}
    write_analysis(run, analysis)  # again is fine


def test_nothing_answered_is_an_error() -> None:
    with pytest.raises(DataError, match="none of 1 records has answers"):
        analyze_records([raw_text_record("a", (1.0, 1), (1.0, 1))], TRAIN, AnalyzeConfig())


def test_order_of_the_records_changes_no_count() -> None:
    records = [record(name=str(i), reference=RIGHT, base="", tuned=RIGHT[: 5 * i]) for i in range(12)]
    shuffled = random.Random(1).sample(records, len(records))
    one, other = (analyze_records(order, TRAIN, AnalyzeConfig()) for order in (records, shuffled))
    assert [(g.name, g.num_tuned, set(g.fixed), g.shown) for g in one.groups] == [
        (g.name, g.num_tuned, set(g.fixed), g.shown) for g in other.groups
    ]


def test_real_data_end_to_end_on_one_page() -> None:
    """lamini_docs: the tuned model says the reference's first two thirds, the base the answer to another question."""
    file = SHARED_DATA / "sft" / "lamini_docs.jsonl"
    if not file.is_file():
        pytest.skip(f"real data is not here: {file}")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    train = [example(row["question"], row["answer"]) for row in rows[::3]]
    records: list[EvaluationRecord] = []
    for i, row in enumerate(rows[1:200:3]):
        reference, words = row["answer"], row["answer"].split()
        base, tuned = answer(rows[3 * i]["answer"], reference, loss=3 + i % 3), answer(" ".join(words[: len(words) * 2 // 3]), reference)
        records.append(record(name=str(i), prompt=row["question"], reference=reference, base=base, tuned=tuned))
    report = report_of(records)
    assert report.verdict == "better"
    analysis = analyze_records(records, train, AnalyzeConfig())
    assert sum(failure.tuned != {} for failure in analysis.failures) < sum(failure.base != {} for failure in analysis.failures)
    assert "Better than the base model" in parse(render_html(report, records, [], analysis.to_json())).text
