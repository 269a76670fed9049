"""A run's page and its part of a model card, from everything that is known of the run by now.

>>> write_pages(open_run(Path("runs/faq")))     # after an evaluation, an analysis, judging, benchmarks
"""

from __future__ import annotations

import json

from tunesmith.evaluate.benchmarks.page import render_section
from tunesmith.evaluate.benchmarks.report import read_benchmarks
from tunesmith.evaluate.judging.judgement import read_judgements
from tunesmith.evaluate.markdown import render_markdown
from tunesmith.evaluate.page import render_html
from tunesmith.evaluate.records import read_records
from tunesmith.evaluate.report import read_report
from tunesmith.files import write_text
from tunesmith.runs import RunDirectory


def refresh_pages(run: RunDirectory) -> None:
    """As `write_pages`, where the run was evaluated; else there is no page yet."""
    if run.evaluation_report_file.is_file():
        write_pages(run)


def write_pages(run: RunDirectory) -> None:
    """Write `evaluation/report.html` and `report.md` anew.

    Raises:
        RunError: the run was not evaluated, or something in it is from another version.
    """
    report, records = read_report(run), read_records(run.evaluation_records_file)
    file = run.analysis_file
    analysis = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    benchmarks = read_benchmarks(run)
    section = render_section(benchmarks) if benchmarks else None
    judgements = read_judgements(run)
    write_text(run.html_report_file, render_html(report, records, run.metrics(), analysis, judgements=judgements, benchmarks=section))
    write_text(run.markdown_report_file, render_markdown(report, analysis))
