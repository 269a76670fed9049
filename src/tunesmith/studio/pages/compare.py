"""Runs beside each other: scores with intervals, the verdict between them, settings that differ, examples where they differ.

`/compare?run=A&run=B`; the first run is what the others are compared with.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.errors import TunesmithError
from tunesmith.studio.asking import Answers
from tunesmith.studio.filling import fill
from tunesmith.studio.pages.compare_examples import DifferingExamples
from tunesmith.studio.pages.compare_reading import Compared, differing_settings, score_rows
from tunesmith.studio.pages.evaluation_reading import read_evaluated
from tunesmith.studio.pages.examples import evaluation_address
from tunesmith.studio.readable import Unreadable, items, mapping, read_object, text
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import alert, card, code, data_table, heading, muted, note, run_address, tag

MOST_COMPARED = 6
"""Runs at a time; more answers do not fit beside each other."""
COLUMN = "run{}"
"""Name of a column; the run's name is its label, which is text."""


def install(studio: Studio) -> None:
    """The page."""
    verdicts = Answers()

    @studio.page("/compare", title="Compare", section="Compare")
    async def compare_page() -> None:
        wanted = ui.context.client.request.query_params.getlist("run")
        runs = await to_thread(studio.library.runs)
        evaluated = {run.name: run for run in runs if run.verdict is not None}
        if len(evaluated) < 2:
            muted("Runs are compared by their evaluations, and fewer than two have one. To evaluate a run:")
            code("tunesmith evaluate runs/NAME")
            return
        await ComparePage(studio, evaluated, verdicts).build([name for name in dict.fromkeys(wanted) if name in evaluated])


class ComparePage:
    """The choice, and everything about what is chosen."""

    def __init__(self, studio: Studio, runs: Mapping[str, RunSummary], verdicts: Answers) -> None:
        self.studio, self.runs, self.verdicts = studio, runs, verdicts

    async def build(self, chosen: Sequence[str]) -> None:
        options = {name: f"{name} ({run.model})" for name, run in self.runs.items()}
        first = list(chosen[:MOST_COMPARED])
        select = ui.select(options, value=first, multiple=True, with_input=True, label="Runs; the others are compared with the first")
        select.props("outlined use-chips stack-label options-dense").classes("ts-wide")
        select.on_value_change(lambda event: self._choose(list(event.value or ())))
        self.place = ui.element("div").classes("ts-sections")
        await self._show(first)

    async def _choose(self, chosen: list[str]) -> None:
        if len(chosen) > MOST_COMPARED:
            ui.notify(f"At most {MOST_COMPARED} runs at a time: the first {MOST_COMPARED} are shown.")
        chosen = chosen[:MOST_COMPARED]
        ui.navigate.history.replace(f"/compare?{urlencode([('run', name) for name in chosen])}")
        await self._show(chosen)

    async def _show(self, chosen: Sequence[str]) -> None:
        if len(chosen) >= 2:
            await fill(self.place, "Reading the evaluations", lambda: self._read(chosen), self._compare)
            return
        self.place.clear()
        with self.place:
            muted("Choose two runs or more.")

    async def _compare(self, compared: list[Compared]) -> None:
        _scores(compared)
        verdict = VerdictCard(compared, self.verdicts)
        _settings(compared)
        heading("Examples where they differ")
        await DifferingExamples(compared).build()
        verdict.ask()

    def _read(self, chosen: Sequence[str]) -> list[Compared]:
        library = self.studio.library
        found = []
        for name in chosen:
            run = self.runs[name]
            try:
                config = mapping(library.document(run.path / "run.json", "record", read_object), "config")
                found.append(Compared(run=run, config=config, evaluated=read_evaluated(library, run)))
            except Unreadable as reason:
                raise Unreadable(f"{name}: {reason}") from None
        return found


def _columns(first: str, compared: Sequence[Compared], *, align: str) -> list[dict[str, Any]]:
    columns = [
        {"name": COLUMN.format(number), "label": one.run.name, "field": COLUMN.format(number), "align": align}
        for number, one in enumerate(compared)
    ]
    return [{"name": "name", "label": first, "field": "name", "align": "left"}, *columns]


def _scores(compared: Sequence[Compared]) -> None:
    heading("Scores")
    with ui.element("div").classes("ts-row"):
        for one in compared:
            ui.link(f"Evaluation of {one.run.name}", evaluation_address(one.run.name))
    muted("In brackets the change against the run's own base model, with its interval.").classes("ts-small")
    rows = [
        {"name": title, **{COLUMN.format(number): cell for number, cell in enumerate(cells)}}
        for title, cells in score_rows(compared).items()
    ]
    data_table(_columns("Metric", compared, align="left"), rows, key="name")


class VerdictCard:
    """What follows from the scores, tested example by example; asked of `tunesmith runs compare` once the page has come."""

    def __init__(self, compared: Sequence[Compared], verdicts: Answers) -> None:
        self.compared, self.verdicts = compared, verdicts
        self.words: list[str] = ["runs", "compare", *(str(one.run.path) for one in compared)]
        with card():
            heading("Verdict")
            self.place = ui.element("div").classes("ts-stack")

    def ask(self) -> None:
        """Once the page has come. To be called last: who makes a timer sends the page as it stands."""
        ui.timer(0.05, self._ask, once=True)

    async def _ask(self, more: Sequence[str] = ()) -> None:
        self.place.clear()
        with self.place:
            muted("Comparing them example by example").props("role=status")
        try:
            found = await self.verdicts.ask([*self.words, *more, "--json"], made_of=self._files())
        except TunesmithError as error:
            self.place.clear()
            with self.place:
                alert(error.found.removeprefix("error: "))
                if not more:
                    with ui.element("div").classes("ts-row"):
                        ui.button("Compare on the examples that all have", on_click=lambda: self._ask(["--only-shared"])).props("outline")
            return
        self.place.clear()
        with self.place:
            self._answer(found)

    def _files(self) -> list[Path]:
        """What the verb reads."""
        directories = [one.run.directory for one in self.compared]
        return [file for run in directories for file in (run.path / "run.json", run.evaluation_report_file, run.evaluation_records_file)]

    def _answer(self, found: dict[str, Any]) -> None:
        first = text(found, "first") or ""
        for other in items(found, "others"):
            name = text(other, "run") or ""
            gained, lost = (len(items(other, key)) for key in ("newly_right", "newly_wrong"))
            ui.label(f"{first} to {name}: {gained:,} newly right, {lost:,} newly wrong").classes("ts-strong ts-text")
            for sentence in (text(one, "sentence") for one in items(other, "comparisons")):
                verdict = (sentence or "").partition(":")[0]
                tag("div", sentence or "").classes("ts-verdict ts-text").props(
                    f"data-verdict={verdict if verdict in ('better', 'worse') else 'unknown'}"
                )
        for one in items(found, "notes"):
            muted(text({"": one}, "") or "").classes("ts-small")


def _settings(compared: Sequence[Compared]) -> None:
    heading("Settings that differ")
    differing = differing_settings(compared)
    if len({one.run.data for one in compared}) > 1:
        note("They were trained on different data sets.")
    if not differing:
        muted("None.")
        return
    rows = [{"name": name, **{COLUMN.format(number): value for number, value in enumerate(values)}} for name, values in differing.items()]
    data_table(_columns("Setting", compared, align="left"), rows, key="name")
    with ui.element("div").classes("ts-row"):
        for one in compared:
            ui.link(f"Run {one.run.name}", run_address(one.run.name))
