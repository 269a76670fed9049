"""What an evaluation says: metrics with intervals, flips, error groups one clicks into, and the examples.

`/evaluation` lists the runs, `/evaluation/RUN` is one evaluation, `/evaluation/RUN/group?group=NAME` one of its error groups.
"""

from __future__ import annotations

import math
from asyncio import to_thread
from collections.abc import Mapping
from typing import Any

from nicegui import ui

from tunesmith.studio.pages.evaluation_reading import FLIPS, Evaluated, Group, Wanted, read_evaluated
from tunesmith.studio.pages.examples import ExampleList, evaluation_address, group_address
from tunesmith.studio.readable import find, items, number, text, whole
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.reports import run_reports
from tunesmith.studio.shell import Studio, not_found
from tunesmith.studio.widgets import (
    NONE,
    card,
    code,
    data_table,
    heading,
    muted,
    note,
    run_address,
    shown_command,
    shown_moment,
    shown_path,
    shown_score,
    tag,
)

RUN_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "name", "label": "Run", "field": "name", "sortable": True, "align": "left"},
    {"name": "created", "label": "Created", "field": "created", "sortable": True, "align": "left"},
    {"name": "model", "label": "Model", "field": "model", "sortable": True, "align": "left"},
    {"name": "verdict", "label": "Tuned against base", "field": "verdict", "sortable": True, "align": "left"},
    {"name": "scores", "label": "Scores and changes", "field": "scores", "align": "left"},
)
METRIC_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "name", "label": "Metric", "field": "name", "align": "left"},
    {"name": "base", "label": "Base", "field": "base", "align": "right"},
    {"name": "tuned", "label": "Tuned", "field": "tuned", "align": "right"},
    {"name": "difference", "label": "Difference", "field": "difference", "align": "right"},
    {"name": "interval", "label": "Interval", "field": "interval", "align": "left"},
    {"name": "p", "label": "p, adjusted", "field": "p", "align": "right"},
    {"name": "n", "label": "Examples", "field": "n", "align": "right"},
    {"name": "verdict", "label": "Verdict", "field": "verdict", "align": "left"},
)
GROUP_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "title", "label": "Error group", "field": "title", "sortable": True, "align": "left"},
    {"name": "severity", "label": "Severity", "field": "severity_rank", "sortable": True, "align": "left"},
    {"name": "base", "label": "Base", "field": "base", "sortable": True, "align": "right"},
    {"name": "tuned", "label": "Tuned", "field": "tuned", "sortable": True, "align": "right"},
    {"name": "fixed", "label": "Fixed", "field": "fixed", "sortable": True, "align": "right"},
    {"name": "broken", "label": "Newly broken", "field": "broken", "sortable": True, "align": "right"},
)
MOST_ROWS = 50
"""Runs in a page of the list."""
SEVERITIES = ("catastrophic", "major", "minor")


def install(studio: Studio) -> None:
    """The pages."""

    @studio.page("/evaluation", title="Evaluation", section="Evaluation")
    async def runs_page() -> None:
        runs = await to_thread(studio.library.runs)
        _runs([run for run in runs if run.status == "finished"], studio)

    @studio.page("/evaluation/{name}", title="Evaluation", section="Evaluation", first_heading=None)
    async def evaluation_page(name: str, words: str = "", flip: str = "", group: str = "", of: str = "tuned", page: int = 1) -> None:
        run = await _run(studio, name)
        if run is not None:
            ui.page_title(f"Evaluation of {run.name} - tunesmith studio")
            evaluated = await to_thread(read_evaluated, studio.library, run)
            _head(run, evaluated)
            listed = ExampleList(
                studio.library, run, Wanted(words=words, flip=flip, group=group, of=of), page=page, address=evaluation_address(run.name)
            )
            tag("a").props("name=examples").classes("ts-anchor")
            heading("Examples")
            await listed.build(evaluated)

    @studio.page("/evaluation/{name}/group", title="Error group", section="Evaluation", first_heading=None)
    async def group_page(name: str, group: str = "", of: str = "tuned", words: str = "", flip: str = "", page: int = 1) -> None:
        run = await _run(studio, name)
        if run is None:
            return
        evaluated = await to_thread(read_evaluated, studio.library, run)
        found = next((one for one in evaluated.groups() if one.name == group), None)
        if found is None:
            heading("No such error group", level=1)
            not_found("The analysis has no error group of this name.")
            return
        _group_head(run, evaluated, found)
        address = f"{evaluation_address(run.name)}/group"
        wanted = Wanted(words=words, flip=flip, group=group, of=of)
        listed = ExampleList(studio.library, run, wanted, page=page, address=address, group_fixed=True)
        await listed.build(evaluated)


async def _run(studio: Studio, name: str) -> RunSummary | None:
    """An evaluated run; else the page says what is missing."""
    run = await to_thread(studio.library.run, name)
    if run is None:
        heading("No such run", level=1)
        not_found("There is no run of this name.")
        return None
    if run.verdict is None:
        heading(run.name, level=1)
        muted("This run has not been evaluated. Compare it with its base model on the held-out examples:")
        code(f"tunesmith {'evaluate' if run.status == 'finished' else 'train --resume'} {shown_path(run.path)}")
        ui.link("The run", run_address(run.name))
        return None
    return run


def _runs(runs: list[RunSummary], studio: Studio) -> None:
    if not runs:
        muted(f"No run in {studio.library.runs_dir} has finished. A finished run is evaluated by:")
        code("tunesmith evaluate runs/NAME")
        return
    rows = [
        {
            "name": run.name,
            "address": evaluation_address(run.name),
            "created": run.created,
            "created_text": shown_moment(run.created),
            "model": run.model,
            "verdict": run.verdict or "not evaluated",
            "scores": "; ".join(map(shown_score, run.scores)),
        }
        for run in runs
    ]
    with ui.element("div").classes("ts-row"):
        made = ui.input(label="Filter").props('outlined dense clearable type=search aria-label="Filter runs"')
    table = data_table(RUN_COLUMNS, rows, key="name", link="name", per_page=MOST_ROWS if len(rows) > MOST_ROWS else 0)
    made.bind_value_to(table, "filter", forward=lambda value: value or "")


def _head(run: RunSummary, evaluated: Evaluated) -> None:
    report = evaluated.report
    heading(run.name, level=1)
    with ui.element("div").classes("ts-row"):
        verdict = text(report, "verdict") or ""
        tag("span", verdict).classes("ts-verdict").props(f"data-verdict={verdict if verdict in ('better', 'worse') else 'unknown'}")
        muted(_about(report, evaluated))
        ui.link("Run", run_address(run.name))
        if "evaluation" in run_reports(run):
            ui.link("Report to send or print", f"/reports{run_address(run.name)}/evaluation", new_tab=True)
    if evaluated.records.num_bad:
        note(f"{evaluated.records.num_bad:,} lines of the records cannot be read and are left out.")
    table = data_table(METRIC_COLUMNS, [row for one in items(report, "comparisons") if (row := metric_row(one))], key="name")
    table.props("dense")
    _flips(run, evaluated)
    _groups(run, evaluated)


def _about(report: Mapping[str, Any], evaluated: Evaluated) -> str:
    left_out = whole(report, "num_left_out")
    parts = [
        f"{evaluated.num_examples:,} examples of the {text(report, 'split') or '?'} split",
        f"{left_out:,} too long" if left_out else "",
        f"tuned against {text(report, 'model_name')}" if text(report, "model_name") else "",
        text(report, "date") or "",
    ]
    return ", ".join(part for part in parts if part)


def metric_row(comparison: object) -> dict[str, Any] | None:
    """A row of `METRIC_COLUMNS`; None where the document has no figures."""
    base, tuned, difference = (number(comparison, key) for key in ("base", "tuned", "difference"))
    name = text(comparison, "metric", "title") or text(comparison, "metric", "name")
    if base is None or tuned is None or difference is None or not name:
        return None
    ends = [found for end in items(comparison, "interval") if (found := number({"": end}, "")) is not None]
    places = _decimals(min(6, max(0, whole(comparison, "metric", "decimals") or 0)), ends)
    p_value = number(comparison, "p_adjusted")
    return {
        "name": name,
        "base": f"{base:.{places}f}",
        "tuned": f"{tuned:.{places}f}",
        "difference": f"{difference:+.{places}f}",
        "interval": "[" + ", ".join(f"{end:+.{places}f}" for end in ends) + "]" if len(ends) == 2 else NONE,
        "p": NONE if p_value is None else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}",
        "n": f"{whole(comparison, 'num_examples') or 0:,}",
        "verdict": text(comparison, "verdict") or "",
    }


def _decimals(usual: int, ends: list[float]) -> int:
    """As the terminal has it (`evaluate/wording.py`, which loads scipy): enough to show the interval's width, at most two more."""
    width = ends[1] - ends[0] if len(ends) == 2 else 0.0
    return min(max(usual, math.ceil(-math.log10(width))), usual + 2) if width > 0 else usual


def _flips(run: RunSummary, evaluated: Evaluated) -> None:
    if not evaluated.flips:
        return
    heading("Right and wrong")
    p_value = number(evaluated.report, "flips", "p_value")
    meaning = f"Right is {evaluated.right_words()}." if evaluated.right_words() else ""
    tested = "" if p_value is None else f" Gained against lost: p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'} (McNemar)."
    muted(f"{meaning}{tested}").classes("ts-small")
    with ui.element("div").classes("ts-tiles"):
        for kind, title in FLIPS.items():
            count = len(items(evaluated.report, "flips", kind))
            with (
                ui.link(target=f"{evaluation_address(run.name)}{Wanted(flip=kind).address()}#examples")
                .classes("ts-tile")
                .props(f"data-flip={kind}")
            ):
                tag("span", f"{count:,}").classes("ts-tile-number")
                tag("span", title)


def _groups(run: RunSummary, evaluated: Evaluated) -> None:
    heading("Error groups")
    if evaluated.analysis is None:
        muted("The failures have not been sorted into groups yet:")
        code(f"tunesmith analyze {shown_path(run.path)}")
        return
    groups = evaluated.groups()
    without = {label: whole(evaluated.analysis, f"num_without_failure_{label}") for label in ("base", "tuned")}
    said = ", ".join(f"{label} {count:,}" for label, count in without.items() if count is not None)
    muted(f"Answers in no group: {said} of {evaluated.num_examples:,}.").classes("ts-small")
    if groups:
        data_table(GROUP_COLUMNS, [_group_row(run, group) for group in groups], key="name", link="title")
    for one in items(evaluated.analysis, "notes"):
        muted(text({"": one}, "") or "").classes("ts-small")


def _group_row(run: RunSummary, group: Group) -> dict[str, Any]:
    rank = SEVERITIES.index(group.severity) if group.severity in SEVERITIES else len(SEVERITIES)
    return {
        "name": group.name,
        "title": group.title,
        "address": group_address(run.name, group.name),
        "severity_rank": rank,
        "severity_text": group.severity,
        "base": group.counts.get("base", 0),
        "tuned": group.counts.get("tuned", 0),
        "fixed": group.num_fixed,
        "broken": group.num_broken,
    }


def _group_head(run: RunSummary, evaluated: Evaluated, group: Group) -> None:
    heading(group.title, level=1)
    with ui.element("div").classes("ts-row"):
        tag("span", group.severity).classes("ts-chip")
        counts = ", ".join(f"{label} {count:,}" for label, count in group.counts.items())
        muted(f"answers in this group: {counts}; fixed {group.num_fixed:,}, newly broken {group.num_broken:,}")
        ui.link(f"Evaluation of {run.name}", evaluation_address(run.name))
    if group.is_found:
        muted("Found by likeness among the answers that no rule explains: a way to read them, not a truth about them.").classes("ts-small")
    actions = [one for one in items(evaluated.analysis, "actions") if find(one, "group") == group.name]
    if group.remedy or actions:
        with card():
            heading("What to do")
            muted(group.remedy)
            for action in actions:
                ui.label(text(action, "why") or "").classes("ts-text")
                if command := text(action, "command"):
                    code(shown_command(command))
                elif count := whole(action, "rows"):
                    muted(
                        f"{count:,} training rows to {text(action, 'decision') or 'look at'}: {run.directory.analysis_dir / 'review.csv'}"
                    )
    heading("Examples")
