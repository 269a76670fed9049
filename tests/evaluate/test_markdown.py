from __future__ import annotations

from dataclasses import replace

from tests.evaluate.fakes import raw_text_record
from tests.evaluate.test_page import analysis_of
from tests.evaluate.test_report import records_of_a_good_run, report_of
from tunesmith.evaluate.markdown import escaped, render_markdown
from tunesmith.evaluate.table import example_row


def test_the_card() -> None:
    report = replace(report_of(records_of_a_good_run()), date="2026-01-31")
    assert render_markdown(report, analysis_of("see this")).splitlines() == [
        "## Evaluation",
        "",
        "Better than the base model on 30 held-out examples (2026-01-31).",
        "",
        "| metric | base | tuned | difference | 95 % interval | n | verdict |",
        "|---|---:|---:|---:|---|---:|---|",
        *(_row(line) for line in report.summary_lines()[4:9]),
        "",
        "Right (token F1 at least 0.50): 20 of 30, the base model 0; 20 newly right, 0 newly wrong; ended by itself: 100 % of the answers.",
        "",
        "- base model: smol",
        "- run: faq",
        "- data: test split, 30 examples, 2 examples left out as too long, fingerprint `abc`",
        "- decoding: greedy, at most 256 new tokens, seed 0",
        "- verdict: by loss and ROUGE-L; paired tests, corrected for 5 metrics (Holm)",
        "",
        "### Known failures",
        "",
        "29 of 30 answers are in no error group.",
        "",
        "| error group | base | tuned |",
        "|---|---:|---:|",
        "| empty | 3 | 1 |",
    ]


def _row(line: str) -> str:
    """A line of the terminal's table as a row."""
    title, rest = line[:12].strip(), line[12:]
    base, tuned, difference, *interval = rest.replace("cannot tell", "cannot_tell").split()
    verdict = interval.pop().replace("_", " ")
    return f"| {title} | {base} | {tuned} | {difference} | {' '.join(interval)} | 30 | {verdict} |"


def test_raw_text_and_one_example_have_a_card() -> None:
    text = render_markdown(report_of([raw_text_record(f"r{i}", (30.0, 10), (20.0, 10)) for i in range(3)]))
    assert "Right (" not in text
    assert "| loss | 3.00 | 2.00 |" in text
    assert "Cannot be told apart from the base model on 1 held-out example (" in render_markdown(report_of(records_of_a_good_run(1)))


def test_names_of_users_break_no_table() -> None:
    assert escaped("a|b\n*c* <script>") == r"a\|b \*c\* \<script\>"
    report = replace(report_of(records_of_a_good_run(3)), run_name="x | y\n# z")
    assert "- run: x \\| y \\# z\n" in render_markdown(report)


def test_a_row_of_the_data_frame() -> None:
    records = records_of_a_good_run(4)
    row = example_row(records[1], report_of(records))
    assert list(row)[:5] == ["id", "source", "prompt", "reference", "change"]
    assert (row["id"], row["change"]) == ("r1", "newly_right")
    assert row["tuned_answer"] == "Press the reset button."
    assert row["tuned_rouge_l"] == records[1].tuned.scores["rouge_l"]
    assert row["base_loss"] == records[1].base.loss
    without = replace(records[1], answers={**records[1].answers, "base": replace(records[1].base, scores={})})
    assert example_row(without, report_of(records))["base_rouge_l"] is None
    assert example_row(without, report_of(records))["change"] is None
