"""A new run: data, model and settings; what the model will see, what it will take, the exact command; and start."""

from __future__ import annotations

import shlex
from asyncio import to_thread
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nicegui import ui

from tunesmith.assets import list_models
from tunesmith.errors import TunesmithError
from tunesmith.runs import default_name, require_free
from tunesmith.studio.asking import ask
from tunesmith.studio.readable import items, number, text
from tunesmith.studio.reading import DataSummary, RunSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.theme import length_options
from tunesmith.studio.training_form import FIELDS, Field, check, parse, setting_words, train_words
from tunesmith.studio.widgets import alert, card, code, facts, heading, muted, run_address, shown_number, shown_path, spans_view

CHOICE, ENTRY = "outlined dense options-dense stack-label", "outlined dense stack-label"


def install(studio: Studio) -> None:
    """The page at `/new`; `?data=NAME` and `?model=NAME` choose beforehand."""

    @studio.page("/new", title="New run", section="New run")
    async def new_run_page(data: str = "", model: str = "") -> None:
        data_sets = await to_thread(studio.library.data_sets)
        runs = await to_thread(studio.library.runs)
        models = await to_thread(_models, runs)
        NewRun(studio, {one.name: one for one in data_sets if one.reason is None}, models).build(data, model)


class NewRun:
    """The form and what it asks."""

    def __init__(self, studio: Studio, data_sets: Mapping[str, DataSummary], models: Mapping[str, str]) -> None:
        self.studio, self.data_sets, self.models = studio, data_sets, models
        self.entries: dict[str, Any] = {}

    def build(self, data: str, model: str) -> None:
        if not self.data_sets:
            muted(f"There are no prepared data sets in {self.studio.library.data_dir}. Make one:")
            code(f"tunesmith prepare faq.csv --out {shown_path(self.studio.library.data_dir / 'faq')}")
            return
        with ui.element("div").classes("ts-form"):
            with card():
                heading("Data and model")
                self._what(data, model)
            with card():
                heading("Settings")
                with ui.element("div").classes("ts-fields"):
                    for field in FIELDS:
                        self.entries[field.name] = self._entry(field)
            with card():
                heading("Command")
                self._actions()
        self.answer = ui.element("div")
        self._show_command()

    def _actions(self) -> None:
        self.command = code("")
        self.problem = alert("")
        with ui.element("div").classes("ts-row"):
            self.start_button = ui.button("Start training", icon="play_arrow", on_click=self._start)
            self.preview_button = ui.button("Preview", icon="visibility", on_click=self._preview).props("outline")
            self.estimate_button = ui.button("Estimate", icon="timer", on_click=self._estimate).props("outline")
        muted("Preview shows what the model will see. Estimate measures a few micro-batches; nothing is trained.").classes("ts-small")

    def _what(self, data: str, model: str) -> None:
        first = data if data in self.data_sets else next(iter(self.data_sets))
        labels = {name: f"{name} ({one.num_examples[0]:,} examples)" for name, one in self.data_sets.items()}
        self.data = ui.select(labels, value=first, label="Prepared data", with_input=True, on_change=self._show_command).props(CHOICE)
        models = {**self.models, **({model: model} if model and model not in self.models else {})}
        chosen = model or next(iter(models))
        self.model = ui.select(
            models, value=chosen, label="Model", with_input=True, new_value_mode="add-unique", on_change=self._show_command
        )
        self.model.props(CHOICE)
        muted("Choose a named model or an earlier run, or type a hub id, a folder or a .gguf file and press Enter.").classes("ts-small")
        self.name = ui.input("Name of the run", placeholder="date, data and model", on_change=self._show_command).props(ENTRY)
        for one in (self.data, self.model, self.name):
            one.classes("ts-wide")

    def _entry(self, field: Field) -> Any:
        if field.kind == "choice":
            return ui.select(list(field.choices), value=field.default, label=field.label, on_change=self._show_command).props(CHOICE)
        made = ui.input(field.label, placeholder=field.default, on_change=self._show_command).props(ENTRY)
        return made.props("inputmode=decimal autocomplete=off")

    def _chosen(self) -> tuple[str, str, dict[str, Any]]:
        """Data, model and settings as they are entered now.

        Raises:
            ValueError, ConfigError: they cannot be used.
        """
        data = shown_path(self.data_sets[self.data.value].path)
        model = str(self.model.value or "")
        values = parse({name: entry.value for name, entry in self.entries.items()})
        check(data, model, values)
        return data, model, values

    def _words(self) -> list[str]:
        data, model, values = self._chosen()
        name = (self.name.value or "").strip() or default_name(Path(data), model)
        require_free(self.studio.library.runs_dir, name)
        return train_words(data=data, model=model, runs_dir=shown_path(self.studio.library.runs_dir), name=name, values=values)

    def _show_command(self) -> None:
        try:
            self.command.text = shlex.join(["tunesmith", *self._words()])
            self.problem.visible = False
            self.start_button.enable()
        except (ValueError, TunesmithError) as error:  # ConfigError is both
            self.problem.text = str(error)
            self.problem.visible = True
            self.start_button.disable()

    async def _start(self) -> None:
        try:
            words = self._words()
            name = words[-1].removeprefix("--name=")
            self.studio.starter.start(name, words)
        except (ValueError, TunesmithError) as error:
            ui.notify(str(error), type="negative", multi_line=True)
        else:
            ui.navigate.to(run_address(name))

    async def _preview(self) -> None:
        await self._ask(self.preview_button, "preview", "Reading the data with the model's tokenizer", _show_preview)

    async def _estimate(self) -> None:
        await self._ask(self.estimate_button, "estimate", "Loading the model and measuring a few micro-batches", _show_estimate)

    async def _ask(self, button: ui.button, verb: str, meanwhile: str, show: Any) -> None:
        try:
            data, model, values = self._chosen()
        except (ValueError, TunesmithError) as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        words = [verb, data, *(setting_words(model, values) if verb == "estimate" else [f"--model={model}"]), "--json"]
        button.disable()
        self._answer(lambda: _waiting(meanwhile))
        try:
            found = await ask(words)
        except TunesmithError as error:
            reason = str(error)
            self._answer(lambda: alert(reason))
        else:
            self._answer(lambda: show(found))
        finally:
            button.enable()

    def _answer(self, show: Any) -> None:
        self.answer.clear()
        with self.answer:
            show()


def _waiting(text: str) -> None:
    with ui.element("div").classes("ts-row").props("role=status"):
        ui.spinner(size="1.4em")
        muted(text)


def _show_preview(found: dict[str, Any]) -> None:
    with card():
        heading("What the model will see")
        counts = {
            key: shown_number(number(found, key)) for key in ("num_examples", "num_tokens", "num_supervised", "longest", "max_length")
        }
        facts(
            [
                ("Training examples", counts["num_examples"]),
                ("Tokens", f"{counts['num_tokens']}, of which {counts['num_supervised']} are supervised"),
                (
                    "Longest",
                    f"{counts['longest']} of {counts['max_length']} allowed; {shown_number(number(found, 'num_over_length'))} are over",
                ),
            ]
        )
        ui.echart(length_options(found.get("lengths"))).classes("ts-chart").props('role=img aria-label="Lengths of the examples in tokens"')
        muted("Tokens with a green ground are what it learns to write.")
        for example in items(found, "examples"):
            muted(text(example, "source") or "").classes("ts-small")
            spans_view(items(example, "spans"))


def _show_estimate(found: dict[str, Any]) -> None:
    with card():
        heading("What it will take")
        seconds = {key: number(found, "estimate", "seconds", key) for key in ("low", "expected", "high")}
        facts(
            [
                ("Steps", shown_number(number(found, "estimate", "num_steps"))),
                ("Time", f"{duration(seconds['expected'])} ({duration(seconds['low'])} to {duration(seconds['high'])})"),
                ("Peak memory", f"{_gigabytes(found, 'peak_bytes')} of {_gigabytes(found, 'room_bytes')}"),
                ("Parameters", f"{_count(found, 'num_trainable')} of {_count(found, 'num_parameters')} train"),
            ]
        )


def _count(found: dict[str, Any], key: str) -> str:
    return shown_number(number(found, "cost", key))


def _gigabytes(found: dict[str, Any], key: str) -> str:
    size = number(found, "estimate", key)
    return shown_number(None if size is None else size / 1e9, "{:.2f} GB")


def duration(seconds: float | None) -> str:
    """`3 min`, `1.5 h`."""
    if seconds is None:
        return shown_number(None)
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _models(runs: list[RunSummary]) -> dict[str, str]:
    """Named models, those on this machine first, then finished runs."""
    named = sorted(list_models(), key=lambda model: model.disk_bytes is None)
    labels = {one.name: f"{one.name} ({one.num_parameters / 1e6:,.0f} M{'' if one.disk_bytes else ', to be fetched'})" for one in named}
    finished = {shown_path(run.path): f"run {run.name} ({run.model})" for run in runs if run.status == "finished"}
    return labels | finished
