"""The table of runs: status, scores with intervals, lineage; sorted and filtered in the browser, renewed every few seconds."""

from __future__ import annotations

from asyncio import to_thread
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from tunesmith.evaluate.wording import counted
from tunesmith.studio.processes import Started
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import NONE, data_table, muted, run_address, shown_moment, shown_number, shown_path, shown_score, shown_steps

RENEW_SECONDS = 3.0
ROWS_PER_PAGE = 25
"""Drawing rows takes a browser longer than the server takes to read them."""
ALL = "all"
STATUSES = ("running", "finished", "interrupted", "failed", "unreadable")

COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "name", "label": "Run", "field": "name", "sortable": True, "align": "left"},
    {"name": "status", "label": "Status", "field": "status", "sortable": True, "align": "left"},
    {"name": "created", "label": "Created", "field": "created", "sortable": True, "align": "left"},
    {"name": "model", "label": "Model", "field": "model", "sortable": True, "align": "left"},
    {"name": "method", "label": "Method", "field": "method", "sortable": True, "align": "left"},
    {"name": "data", "label": "Data", "field": "data", "sortable": True, "align": "left"},
    {"name": "steps", "label": "Steps", "field": "steps", "sortable": True, "align": "right"},
    {"name": "loss", "label": "Best loss", "field": "loss", "sortable": True, "align": "right"},
    {"name": "speed", "label": "Tokens/s", "field": "speed", "sortable": True, "align": "right"},
    {"name": "score", "label": "Score and change", "field": "score", "sortable": True, "align": "left"},
    {"name": "parent", "label": "From", "field": "parent", "sortable": True, "align": "left"},
)


def install(studio: Studio) -> None:
    """The page at `/`."""

    @studio.page("/", title="Runs", section="Runs")
    async def runs_page() -> None:
        await RunsTable(studio).build()


class RunsTable:
    """The table, its filter, and what renews it."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.status = ALL
        self.runs: list[RunSummary] = []

    async def build(self) -> None:
        await self._read()
        if not self.runs and not self._starting():
            muted(f"There are no runs in {shown_path(self.studio.library.runs_dir)}.")
            if "/new" in self.studio.paths:
                ui.link("Start a new run", "/new")
        with ui.element("div").classes("ts-row ts-spread"):
            with ui.element("div").classes("ts-row ts-filters"):
                text_filter = (
                    ui.input(label="Filter").props('outlined dense clearable type=search aria-label="Filter runs"').classes("ts-choice")
                )
                chosen = ui.select(self._choices(), value=ALL, label="Status", on_change=lambda event: self._choose(event.value))
                chosen.props("outlined dense options-dense").classes("ts-choice")
            self.counts = muted("")
        self.chosen = chosen
        self.table = data_table(COLUMNS, self._rows(), key="name", link="name", per_page=ROWS_PER_PAGE)
        text_filter.bind_value_to(self.table, "filter", forward=lambda value: value or "")
        self._show()
        ui.timer(RENEW_SECONDS, self._renew)

    async def _read(self) -> None:
        self.runs = await to_thread(self.studio.library.runs)

    async def _renew(self) -> None:
        await self._read()
        self._show()

    def _choose(self, status: str) -> None:
        self.status = status
        self._show()

    def _show(self) -> None:
        if (rows := self._rows()) != self.table.rows:
            self.table.rows = rows
            self.chosen.set_options(self._choices(), value=self.status)
        self.counts.text = f"{counted(len(self.runs), 'run')} in {shown_path(self.studio.library.runs_dir)}/"

    def _choices(self) -> dict[str, str]:
        counts = Counter[str](run.status for run in self.runs)
        return {ALL: f"all ({len(self.runs)})"} | {status: f"{status} ({counts[status]})" for status in STATUSES}

    def _rows(self) -> list[dict[str, Any]]:
        starting = [_starting_row(one) for one in self._starting()] if self.status == ALL else []
        return starting + [run_row(run) for run in self.runs if self.status in (ALL, run.status)]

    def _starting(self) -> Sequence[Started]:
        """Processes of ours whose run is not there: it comes, or it never came to be."""
        known = {run.name for run in self.runs}
        return [one for one in self.studio.starter.all() if one.name not in known]


def run_row(run: RunSummary) -> dict[str, Any]:
    """Numbers sort as numbers; `…_text` is what shows."""
    first = next(iter(run.scores[1:]), None) or next(iter(run.scores), None)  # the loss comes first; the words produced say more
    return {
        "name": run.name,
        "address": run_address(run.name),
        "status": run.status,
        "status_status": run.status,
        "created": run.created,
        "created_text": shown_moment(run.created),
        "model": run.model if run.status != "unreadable" else f"cannot be read: {run.reason}",
        "method": run.method,
        "data": run.data,
        "data_text": run.data.rstrip("/").rpartition("/")[2],
        "steps": run.num_steps,
        "steps_text": shown_steps(run) if run.status != "unreadable" else "",
        "loss": run.best_loss,
        "loss_text": shown_number(run.best_loss, "{:.4f}"),
        "speed": run.tokens_per_second,
        "speed_text": shown_number(run.tokens_per_second),
        "score": first.tuned if first else None,
        "score_text": f"{run.verdict}: {shown_score(first)}" if first else run.verdict or NONE,
        "parent": run.parent or "",
    }


def _starting_row(started: Started) -> dict[str, Any]:
    failed = started.exit_code not in (None, 0)
    status = "failed" if failed else "starting"
    return {"name": started.name, "address": run_address(started.name), "status": status, "status_status": status}
