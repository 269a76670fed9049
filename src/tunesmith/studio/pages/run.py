"""One run: curves while it trains, settings, data, preflight, reports; stopping and resuming it."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.errors import TunesmithError
from tunesmith.studio.metrics import Metrics, Point, thin
from tunesmith.studio.pages.examples import evaluation_address
from tunesmith.studio.pages.lineage import lineage_card
from tunesmith.studio.processes import Started, stop
from tunesmith.studio.readable import Unreadable, items, mapping, number, read_object, text, whole
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.reports import run_reports
from tunesmith.studio.shell import Studio, not_found
from tunesmith.studio.theme import curve_options, preload_charts
from tunesmith.studio.widgets import (
    card,
    code,
    facts,
    heading,
    many_facts,
    muted,
    note,
    run_address,
    shown_command,
    shown_moment,
    shown_number,
    shown_path,
    shown_steps,
    status_badge,
    tag,
)

RENEW_SECONDS = 2.0
REPORT_TITLES = {"evaluation": "Evaluation report", "benchmarks": "Benchmark report"}
GIGABYTE = 1e9
UNITS = {"Loss": "nats per supervised token", "Learning rate": "", "Speed": "tokens per second", "Memory": "GB"}
"""Of each chart, shown beside its title."""
FROM_ZERO = ("Speed", "Memory")
"""Charts where a small change must not look like a large one."""
MOST_SHOWN = 400
"""Settings of a run; ours has forty."""


def install(studio: Studio) -> None:
    """The page at `/runs/NAME`."""

    @studio.page("/runs/{name}", title="Run", section="Runs", first_heading=None)
    async def run_page(name: str) -> None:
        run = await to_thread(studio.library.run, name)
        started = studio.starter.get(name)
        if run is None and started is None:
            heading("No such run", level=1)
            not_found("There is no run of this name.")
        elif run is None and started is not None:
            StartingPage(studio, started).build()
        elif run is not None:
            ui.page_title(f"{run.name} - tunesmith studio")
            await RunPage(studio, run).build()


class StartingPage:
    """A process of ours whose run is not there yet, or never came to be."""

    def __init__(self, studio: Studio, started: Started) -> None:
        self.studio, self.started = studio, started

    def build(self) -> None:
        with ui.element("div").classes("ts-row"):
            heading(self.started.name, level=1)
            self.badge = status_badge("starting")
            self.stop_button = _button("Stop", "stop", self.started.stop)
        self.message = muted("The model is loaded and the examples are checked; the run appears with its first step.")
        code(" ".join(["tunesmith", *self.started.words]))
        heading("What it printed")
        self.log = tag("pre").classes("ts-log").props("tabindex=0")
        self.timer = ui.timer(1.0, self._renew)

    def _renew(self) -> None:
        self.log.text = self.started.tail()
        if self.studio.library.run(self.started.name) is not None:
            ui.navigate.to(run_address(self.started.name))
        elif (exit_code := self.started.exit_code) is not None:
            self.timer.deactivate()
            self.stop_button.visible = False
            self.badge.text = "failed"
            self.badge.props("data-status=failed")
            self.message.text = f"It ended with exit code {exit_code} before there was a run."
            self.message.classes(replace="ts-alert")


class RunPage:
    """A run that is there."""

    def __init__(self, studio: Studio, run: RunSummary) -> None:
        self.studio, self.run = studio, run
        self.version: object = None

    async def build(self) -> None:
        run = self.run
        with ui.element("div").classes("ts-row"):
            heading(run.name, level=1)
            self.badge = status_badge(run.status)
        self.reason = ui.label().classes("ts-alert")
        if run.status == "unreadable":
            self._show_status()
            return
        with ui.element("div").classes("ts-row"):
            self.stop_button = _button("Stop", "stop", self._stop)
            self.resume_button = _button("Resume", "play_arrow", self._resume)
            self.summary = muted("")
        self._show_status()
        self._charts()
        await self._show_metrics()
        record = await to_thread(_record, run)
        with ui.element("div").classes("ts-grid"):
            with ui.element("div").classes("ts-pile"):
                self._results()
                if run.verdict is None:  # the shorter column
                    lineage_card(self.studio, run)
            with ui.element("div").classes("ts-pile"):
                _data_card(run, record)
                if run.verdict is not None:
                    lineage_card(self.studio, run)
        _settings_card(record)
        self._log()
        self.timer = ui.timer(RENEW_SECONDS, self._renew)

    async def _renew(self) -> None:
        run = await to_thread(self.studio.library.run, self.run.name)
        if run is None:
            self.timer.deactivate()
            self.reason.text = "The run's directory is gone."
            self.reason.visible = True
            return
        if run != self.run:
            self.run = run
            self._show_results()
        self._show_status()
        self._show_log()
        await self._show_metrics()

    def _show_status(self) -> None:
        run = self.run
        started = self.studio.starter.get(run.name)
        is_starting = run.status in ("interrupted", "failed") and started is not None and started.exit_code is None
        status = "starting" if is_starting else run.status
        if self.badge.text != status:
            self.badge.text = status
            self.badge.props(f"data-status={status}")
        self.reason.text = f"{'It cannot be read: ' if run.status == 'unreadable' else ''}{run.reason or ''}"
        self.reason.visible = bool(run.reason) and not is_starting
        if run.status == "unreadable":
            return
        self.stop_button.visible = run.is_running and run.process is not None and run.process.is_alive
        self.resume_button.visible = status in ("interrupted", "failed")
        speed = f", {run.tokens_per_second:,.0f} tokens/s" if run.tokens_per_second else ""
        best = f", best validation loss {run.best_loss:.4f}" if run.best_loss is not None else ""
        self.summary.text = f"{shown_steps(run)} steps{speed}{best}"

    def _charts(self) -> None:
        preload_charts()
        with ui.element("div").classes("ts-grid ts-charts"):
            self.charts = {title: self._chart(title) for title in UNITS}
        self.bad_lines = muted("").classes("ts-small")

    def _chart(self, title: str) -> ui.echart:
        with card():
            with ui.element("div").classes("ts-row ts-titled"):
                heading(title)
                muted(UNITS[title]).classes("ts-small")
            label = f"{title} over the steps" + (f", in {UNITS[title]}" if UNITS[title] else "")
            return ui.echart(curve_options({})).classes("ts-chart").props(f'role=img aria-label="{label}"')

    async def _show_metrics(self) -> None:
        metrics = await to_thread(self.studio.library.metrics, self.run)
        if metrics.version == self.version:
            return
        self.version = metrics.version
        for title, curves in _curves(metrics).items():
            chart = self.charts[title]
            chart.options.update(curve_options(curves, dots=("validation",), zero=title in FROM_ZERO))
            chart.update()
        self.bad_lines.text = f"{metrics.num_bad_lines:,} lines of metrics.jsonl cannot be read." if metrics.num_bad_lines else ""

    def _results(self) -> None:
        with card():
            heading("Results")
            self.results = ui.element("div").classes("ts-stack")
        self._show_results()

    def _show_results(self) -> None:
        self.results.clear()
        with self.results:
            facts(_result_facts(self.run))
            if self.run.status == "finished":
                with ui.element("div").classes("ts-row"):
                    for title, address in _further_pages(self.run):
                        ui.link(title, address)
            for kind in run_reports(self.run):
                ui.link(REPORT_TITLES[kind], f"/reports{run_address(self.run.name)}/{kind}", new_tab=True)
            if self.run.status == "finished" and self.run.verdict is None:
                muted("Not evaluated yet:")
                code(f"tunesmith evaluate {shown_path(self.run.path)}")

    def _log(self) -> None:
        self.started = self.studio.starter.get(self.run.name)
        if self.started is not None:
            with card():
                heading("What it printed")
                self.log = tag("pre").classes("ts-log").props("tabindex=0")
                self.exit = muted("")
            self._show_log()

    def _show_log(self) -> None:
        if self.started is not None:
            self.log.text = self.started.tail()
            exit_code = self.started.exit_code
            self.exit.text = "" if exit_code is None else f"It ended with exit code {exit_code}."

    def _stop(self) -> None:
        try:
            stop(self.run.directory)
        except TunesmithError as error:
            ui.notify(str(error), type="negative")
        else:
            ui.notify("It finishes its step, saves, and stops.")

    def _resume(self) -> None:
        try:
            self.studio.starter.start(self.run.name, ["train", "--resume", self.run.path])
        except TunesmithError as error:
            ui.notify(str(error), type="negative")
        else:
            ui.navigate.reload()


def _button(label: str, icon: str, pressed: Callable[[], None]) -> ui.button:
    return ui.button(label, icon=icon, on_click=pressed).props("outline dense padding='xs md'")


def _record(run: RunSummary) -> dict[str, Any]:
    return read_object(run.path / "run.json")


def _curves(metrics: Metrics) -> dict[str, dict[str, list[Point]]]:
    steps, validations = metrics.steps, metrics.validations
    gigabytes = [None if size is None else size / GIGABYTE for size in steps["memory_bytes"]]
    losses = {"training": thin(steps["step"], steps["loss"])}
    if validations["step"]:
        losses["validation"] = thin(validations["step"], validations["loss"])
    return {
        "Loss": losses,
        "Learning rate": {"learning rate": thin(steps["step"], steps["learning_rate"])},
        "Speed": {"tokens per second": thin(steps["step"], steps["tokens_per_second"])},
        "Memory": {"memory": thin(steps["step"], gigabytes)},
    }


def _result_facts(run: RunSummary) -> Iterator[tuple[str, str]]:
    yield "Created", shown_moment(run.created)
    yield "Model", run.model
    yield "Method", f"{run.method}, {run.objective}" if run.objective else run.method
    if run.parent:
        yield "Trained from", run.parent
    yield "Steps", shown_steps(run)
    yield "Best loss", shown_number(run.best_loss, "{:.4f}")
    if run.verdict:
        yield "Verdict", run.verdict
    for score in run.scores:
        base, tuned = (f"{value:.{score.decimals}f}" for value in (score.base, score.tuned))
        change, low, high = (f"{value:+.{score.decimals}f}" for value in (score.difference, *score.interval))
        yield score.title, f"{base} -> {tuned}, change {change} [{low}, {high}]"


def _further_pages(run: RunSummary) -> list[tuple[str, str]]:
    """What one may do with a finished run."""
    wanted = urlencode({"run": run.name})
    pages = [("Ask it in the playground", f"/playground?{wanted}")]
    if run.verdict is not None:
        pages = [("Evaluation", evaluation_address(run.name)), ("Rate its answers", f"/rate?{wanted}"), *pages]
    return pages


def _data_card(run: RunSummary, record: dict[str, Any]) -> None:
    with card():
        heading("Data and preflight")
        facts([("Directory", shown_path(run.data)), ("Fingerprint", (text(record, "data", "fingerprint") or "")[:16])])
        try:
            preflight = read_object(run.path / "preflight.json")
        except Unreadable as reason:
            muted(f"No preflight: {reason}")
            return
        for split in ("train", "validation"):
            if seen := mapping(preflight, split):
                note(_preflight_sentence(split, seen))


def _preflight_sentence(split: str, seen: dict[str, Any]) -> str:
    counts = {name: shown_number(number(seen, name)) for name in ("num_examples", "num_tokens", "num_supervised", "longest", "max_length")}
    left_out = (
        f"; {len(items(seen, 'dropped'))} left out, {len(items(seen, 'cut'))} cut" if items(seen, "dropped") or items(seen, "cut") else ""
    )
    return (
        f"{split}: {counts['num_examples']} examples, {counts['num_tokens']} tokens, {counts['num_supervised']} of them supervised; "
        f"the longest has {counts['longest']} of {counts['max_length']} allowed{left_out}"
    )


def _settings_card(record: dict[str, Any]) -> None:
    with card():
        heading("Settings")
        many_facts(list(_settings(record))[:MOST_SHOWN])
        command = [word for word in items(record, "command") if isinstance(word, str)]
        if command:
            muted("Started by")
            code(shown_command(["tunesmith", *command[1:]]))


def _settings(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in mapping(record, "config").items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}"[:80], str(one)[:200]) for inner, one in value.items() if one is not None)
        elif value is not None:
            yield key[:80], (shown_path(value) if isinstance(value, str) else str(value))[:200]
    if (threads_used := whole(record, "threads")) is not None:
        yield "threads", str(threads_used)
    if commit := text(record, "git_commit"):
        yield "git commit", commit[:12]
