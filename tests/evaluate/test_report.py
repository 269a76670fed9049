from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.evaluate.fakes import answer, answered_again, raw_text_record, record
from tunesmith.config import EvaluateConfig
from tunesmith.errors import RunError
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.evaluate.report import EvaluationReport, build_report

REFERENCE = "Press the reset button twice."


def records_of_a_good_run(count: int = 30) -> list[EvaluationRecord]:
    """The base rambles until it is cut; the tuned model is right but for every third example."""
    found = []
    for i in range(count):
        base = answer("Well, it depends on many things.", REFERENCE, loss=3 + i % 5 / 10, finish_reason="max_new_tokens")
        tuned = answer("Press the reset button." if i % 3 else "No idea.", REFERENCE, loss=2 + i % 4 / 10)
        found.append(record(name=f"r{i}", base=base, tuned=tuned))
    return found


def report_of(records: list[EvaluationRecord], **settings: object) -> EvaluationReport:
    config = EvaluateConfig(num_resamples=300, **settings)  # type: ignore[arg-type]
    return build_report(records, config, run_name="faq", model_name="smol", split="test", data_fingerprint="abc", num_left_out=2)


def test_a_good_run() -> None:
    report = report_of(records_of_a_good_run())
    assert report.verdict == "better"
    assert [item.metric.name for item in report.headline] == ["loss", "rouge_l"]
    assert (len(report.flips.newly_right), len(report.flips.both_wrong)) == (20, 10)
    assert (report.base.num_ended, report.tuned.num_ended, report.tuned.num_answers) == (0, 30, 30)
    assert report.base.finish_reasons == {"end_of_turn": 0, "stop_string": 0, "max_new_tokens": 30, "context_full": 0}
    assert (report.base.median_words, report.tuned.median_words, report.reference_median_words) == (6, 4, 5)


def test_lines_for_the_terminal() -> None:
    assert report_of(records_of_a_good_run()).summary_lines() == [
        "better: loss 2.14 against 3.20, -1.06 [-1.13, -0.99], n = 30, p < 0.001",
        "better: ROUGE-L 0.59 against 0.00, +0.59 [+0.41, +0.74], n = 30, p < 0.001",
        "",
        "                base   tuned  difference  95 % interval     verdict",
        "loss            3.20    2.14       -1.06  [-1.13, -0.99]    better",
        "ROUGE-L         0.00    0.59       +0.59  [+0.41, +0.74]    better",
        "exact match     0.00    0.00        0.00  [-0.09, +0.09]    cannot tell",
        "token F1        0.00    0.57       +0.57  [+0.40, +0.71]    better",
        "chrF             9.2    52.6       +43.3  [+28.5, +55.7]    better",
        "",
        "right (token F1 at least 0.50): 20 against 0 of 30; newly right 20, newly wrong 0, p < 0.001",
        "ended by itself: 100 % against 0 % of 30 answers",
        "median length in words: 4 against 6, references 5",
        "left out, too long: 2 examples",
    ]


def test_json_loses_nothing_and_starts_with_its_version_and_verdict() -> None:
    report = report_of(records_of_a_good_run())
    document = report.to_json()
    assert list(document)[:3] == ["schema_version", "verdict", "headline"]
    assert document["schema_version"] == 2
    assert EvaluationReport.from_json(json.loads(json.dumps(document))) == report


def test_one_example_can_be_reported_and_written() -> None:
    report = report_of(records_of_a_good_run(1))
    assert report.verdict == "cannot tell"
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert "none for n = 1" in "\n".join(report.summary_lines())


def test_a_report_of_another_version_is_refused() -> None:
    with pytest.raises(RunError, match="schema version 1"):
        EvaluationReport.from_json({**report_of(records_of_a_good_run(2)).to_json(), "schema_version": 1})


def test_raw_text_has_a_loss_and_no_answers() -> None:
    report = report_of([raw_text_record(f"r{i}", (30.0 + i % 3, 10), (20.0 + i % 2, 10)) for i in range(20)])
    assert [item.metric.name for item in report.comparisons] == ["loss"]
    assert report.verdict == "better"
    assert "no answers: raw text has a loss only" in report.summary_lines()
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_better_and_worse_together_cannot_tell() -> None:
    mixed = [answered_again(item, tuned=replace(item.tuned, loss_total=99.0 + i % 3)) for i, item in enumerate(records_of_a_good_run())]
    report = report_of(mixed)
    assert [item.verdict for item in report.headline] == ["worse", "better"]
    assert report.verdict == "cannot tell"


def test_the_settings_are_kept() -> None:
    report = report_of(records_of_a_good_run(), seed=7, confidence=0.9)
    assert report.settings["seed"] == 7
    assert report.confidence_words == "90 %"
    assert report.settings["generation"]["temperature"] == 0
