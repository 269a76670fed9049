from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import SHARED_DATA
from tests.evaluate.fakes import answer, example, raw_text_record, record
from tests.evaluate.test_page import parse
from tests.evaluate.test_report import report_of
from tunesmith.analyze.actions import Origin
from tunesmith.analyze.analysis import analyze_records
from tunesmith.analyze.analyze import write_analysis
from tunesmith.analyze.lines import lines_of, table_lines
from tunesmith.analyze.results import Analysis
from tunesmith.analyze.severity import read_severities
from tunesmith.config import AnalyzeConfig
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.page import render_html
from tunesmith.evaluate.records import EvaluationRecord

DECLINE = "I can only help with coffee machines, sorry."
TRAIN = [
    *(example(f"What is button {i} for?", f"Button {i} makes a drink of kind {i} with milk.") for i in range(30)),
    *(example(f"Why is animal {i} so loud?", DECLINE) for i in range(5)),
]
RIGHT = "Hold the round button for five seconds until the lamp is green."


def an_analysis() -> Analysis:
    return analyze_records(some_records(), TRAIN, AnalyzeConfig())


def some_records() -> list[EvaluationRecord]:
    cut = answer("It is", RIGHT, finish_reason="max_new_tokens")
    return [
        record(name="fixed", reference=RIGHT, base="", tuned=RIGHT),
        record(name="fixed too", reference=RIGHT, base="", tuned=RIGHT),
        record(name="broken", reference=RIGHT, base=RIGHT, tuned=""),
        record(name="declined", prompt="Why do cats purr?", reference=DECLINE, base="Cats purr because they like it so.", tuned=DECLINE),
        record(name="cut", reference=RIGHT, base=cut, tuned=cut),
        record(name="short", reference=RIGHT, base=RIGHT, tuned="Hold the button."),
        record(name="wordy", reference=RIGHT, base="", tuned="Clean the machine with water, button or no button, every day."),
        raw_text_record("raw", (1.0, 1), (1.0, 1)),
    ]


def test_groups_are_counted_side_by_side_the_worst_first_then_the_tuned_model_s_most_frequent() -> None:
    analysis = an_analysis()
    assert [(group.severity, group.name, group.num_base, group.num_tuned) for group in analysis.groups] == [
        ("catastrophic", "empty", 3, 1),
        ("major", "cut", 1, 1),
        ("major", "unlike_reference", 0, 1),
        ("major", "missed_redirection", 1, 0),
        ("minor", "too_short", 0, 1),
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
    group = an_analysis().groups[-1]
    assert [shown.id for shown in group.shown] == ["short"]
    assert group.shown[0].completion == "Hold the button."
    assert group.shown[0].explanation == "3 words where the reference has 12 (limit 6)"
    assert group.shown[0].change == "new: too short"
    assert group.remedy


def test_what_changed_from_one_model_to_the_other() -> None:
    changes = {failure.id: failure.change for failure in an_analysis().failures if failure.change}
    assert (changes["fixed"].kind, changes["fixed"].gone, changes["fixed"].new) == ("newly_right", ("empty",), ())
    assert changes["broken"].sentence == "was right, now wrong: empty is new"
    assert changes["wordy"].sentence == "wrong both times: empty is gone, wrong for another reason is new"
    assert changes["cut"].sentence == "wrong both times: the same failures"


def test_severities_are_the_user_s_to_set(tmp_path: Path) -> None:
    file = tmp_path / "severity.yaml"
    file.write_text("too_short: catastrophic\nempty: major\n", encoding="utf-8")
    severity = read_severities([str(file), "empty=minor"])
    assert severity == {"too_short": "catastrophic", "empty": "minor"}
    groups = analyze_records(some_records(), TRAIN, AnalyzeConfig(severity=severity)).groups
    assert [group.name for group in groups] == ["too_short", "cut", "unlike_reference", "missed_redirection", "empty"]
    for wrong in ("too_shrot=minor", "empty=bad", str(tmp_path / "none.yaml")):
        with pytest.raises(ConfigError):
            read_severities([wrong])


def test_one_model_alone_before_any_training(tmp_path: Path) -> None:
    records = [replace(one, answers={"base": one.answers["base"]}) for one in some_records()]
    analysis = analyze_records(records, TRAIN, AnalyzeConfig(), origin=Origin(analysed=tmp_path, data=Path("prepared/faq"), model="m"))
    assert analysis.labels == ("base",)
    assert analysis.groups[0].to_json()["num_base"] == 3
    assert all(failure.change is None for failure in analysis.failures)
    assert table_lines(analysis)[0].split() == ["severity", "error", "group", "base"]
    assert {action.command for action in analysis.actions if action.cause == "training"} <= {"tunesmith train prepared/faq --model m"}
    write_analysis(tmp_path, analysis, TRAIN, None)
    assert json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))["num_without_failure_base"] == 2


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


def test_the_rule_of_right_is_the_evaluation_s() -> None:
    records = [record(reference=RIGHT, tuned="Press the round button for a time until the machine is off.")]
    for threshold, right in ((0.2, 1), (0.9, 0)):
        rule = RightRule(metric="token_f1", threshold=threshold)
        assert analyze_records(records, TRAIN, AnalyzeConfig(), right_rule=rule).num_without_failure_tuned == right


def test_lines_for_the_terminal() -> None:
    lines = lines_of(an_analysis())
    assert lines[:7] == [
        "severity      error group                     base   tuned   fixed  newly broken",
        "catastrophic  empty                              3       1       3             1",
        "major         cut at the limit                   1       1       0             0",
        "major         wrong for another reason           0       1       0             0",
        "major         missed redirection                 1       0       1             0",
        "minor         too short                          0       1       0             1",
        "              none                               2       3   of 7 answers each",
    ]
    assert "3 answers became right, 2 became wrong" in lines
    assert any(line.startswith("  1 empty (1)") for line in lines)
    assert not any("missed redirection (" in line for line in lines)  # nothing left to do


def test_files_of_the_run(tmp_path: Path) -> None:
    analysis = an_analysis()
    write_analysis(tmp_path, analysis, TRAIN, None)
    document = json.loads((tmp_path / "analysis.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(analysis.to_json()))
    assert next(iter(document)) == "schema_version"
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 7
    assert lines[2] == {
        "id": "broken",
        "source": "faq.jsonl:broken",
        "base": {},
        "tuned": {"empty": "nothing was answered"},
        "kind": "newly_wrong",
        "change": "was right, now wrong: empty is new",
    }
    write_analysis(tmp_path, analysis, TRAIN, None)  # again is fine


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
    assert analysis.num_without_failure_tuned > analysis.num_without_failure_base
    assert "Better than the base model" in parse(render_html(report, records, [], analysis.to_json())).text
