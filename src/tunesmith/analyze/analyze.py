"""From a run's evaluation to its analysis, and onto the run's page.

>>> analysis = analyze_run(open_run(Path("runs/faq")), AnalyzeConfig())
>>> print("\\n".join(analysis.summary_lines()))
"""

from __future__ import annotations

from tunesmith.analyze.analysis import Analysis, analyze_records, write_analysis
from tunesmith.config import AnalyzeConfig
from tunesmith.data.prepared import load_data_of
from tunesmith.evaluate.evaluate import read_report
from tunesmith.evaluate.page import render_html
from tunesmith.evaluate.records import read_records
from tunesmith.files import write_text
from tunesmith.runs import RunDirectory


def analyze_run(run: RunDirectory, config: AnalyzeConfig) -> Analysis:
    """Analyse a run's latest evaluation; write `analysis/`, and `report.html` again with the error groups in it.

    Raises:
        RunError: the run was not evaluated, or its data set has changed since.
        DataError: its data set is gone.
    """
    report = read_report(run)
    records = read_records(run.evaluation_records_file)
    train_examples = load_data_of(run).train  # redirections and vocabulary are learnt from what was trained on
    analysis = analyze_records(records, train_examples, config, right_threshold=report.settings["right_threshold"])
    write_analysis(run, analysis)
    write_text(run.html_report_file, render_html(report, records, run.metrics(), analysis.to_json()))
    return analysis
