"""The playground: a run and what it was tuned from answer side by side, token by token; answers become examples.

The run stands in the address (`/playground?run=NAME`); what is said is kept nowhere but on the page, until it is saved as an example.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import to_thread
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import app, ui

from tunesmith.config import GenerateConfig, build
from tunesmith.errors import TunesmithError
from tunesmith.studio.pages.playground_answers import Answer, ask
from tunesmith.studio.pages.playground_models import ModelKeeper, Pair
from tunesmith.studio.pages.playground_rules import ChosenRules, Side
from tunesmith.studio.pages.playground_saving import SaveDialog
from tunesmith.studio.pages.playground_settings import PlaygroundSettings
from tunesmith.studio.readable import Unreadable, shown
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import alert, card, code, heading, muted, shown_path
from tunesmith.types import Message

SIDES: tuple[Side, Side] = ("base", "tuned")
RENEW_SECONDS = 0.08
"""Least time between two looks of a text that grows."""
LONGEST_PROMPT = 100_000
LONGEST_SHOWN = 200_000
SEND_ON_ENTER = "(event) => { if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); emit(); } }"

log = logging.getLogger(__name__)


def install(studio: Studio) -> None:
    """The page at `/playground`; `?run=NAME` chooses."""
    keeper = ModelKeeper()
    app.on_shutdown(keeper.close)

    @studio.page("/playground", title="Playground", section="Playground")
    async def playground_page(run: str = "") -> None:
        runs = {one.name: one for one in await to_thread(studio.library.runs) if one.status == "finished"}
        if not runs:
            muted(f"There are no finished runs in {shown_path(studio.library.runs_dir)}.")
            code("tunesmith train prepared/NAME")
            return
        if run and run not in runs:
            alert(f"There is no finished run called {shown(run, most=100)!r}.")
        Playground(studio, keeper, runs, runs.get(run) or next(iter(runs.values()))).build()


class Playground:
    """One person's conversation with both models."""

    def __init__(self, studio: Studio, keeper: ModelKeeper, runs: Mapping[str, RunSummary], run: RunSummary) -> None:
        self.studio, self.keeper, self.runs, self.run = studio, keeper, runs, run
        self.histories: dict[Side, list[Message]] = {side: [] for side in SIDES}
        """What each model has heard and said."""
        self.answers: list[Answer] = []
        """Those that are being made."""

    def build(self) -> None:
        self.dialog = SaveDialog(self.studio.library.data_dir)
        with card():
            with ui.element("div").classes("ts-fields ts-roomy"):
                labels = {name: f"{name} ({one.model})" for name, one in self.runs.items()}
                chosen = ui.select(labels, value=self.run.name, label="Run", on_change=lambda event: _go(event.value))
                chosen.props("outlined dense options-dense stack-label")
                modes = {"conversation": "Conversation", "single": "Single prompts, each by itself"}
                self.mode = ui.select(modes, value="conversation", label="Mode", on_change=self._begin_anew)
                self.mode.props("outlined dense options-dense stack-label")
            library = self.studio.library
            self.settings = PlaygroundSettings([Path.cwd(), library.data_dir, library.runs_dir])
        self.transcript = ui.element("div").classes("ts-column").props('role=log aria-label="Conversation"')
        with ui.element("div").classes("ts-bar ts-ask"):
            self.prompt = ui.textarea("Prompt").props("outlined autogrow rows=1 input-style='max-height: 14rem'").classes("ts-grow")
            self.prompt.props(f"maxlength={LONGEST_PROMPT}").on("keydown", self._send, js_handler=SEND_ON_ENTER)
            self.send_button = ui.button("Send", icon="send", on_click=self._send)
            self.stop_button = ui.button("Stop", icon="stop", on_click=self._stop).props("outline")
            self.anew_button = ui.button("Begin anew", on_click=self._begin_anew).props("flat")
            self.status = muted("").classes("ts-small ts-wide").props("role=status")
        self._set_busy(False)
        ui.context.client.on_delete(self._stop)

    # One question.

    async def _send(self) -> None:
        text = (self.prompt.value or "")[:LONGEST_PROMPT]
        if self.answers or not text.strip():
            return
        try:
            config = build(GenerateConfig, self.settings.values(), place="the settings")
            rules = self.settings.rules()
            rules.settings()  # what is wrong in a file is told before anything is asked
        except (TunesmithError, ValueError) as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        self.prompt.value = ""
        self.answers = [Answer(side=side, prompt=self._prompt(side, text)) for side in SIDES]
        self._set_busy(True)
        views = self._show_turn(text)
        try:
            await self._answer(views, config, rules)
        finally:
            self._keep()
            self.answers = []
            self._set_busy(False)

    def _prompt(self, side: Side, text: str) -> tuple[Message, ...]:
        system = self.settings.system_message
        before = [Message(role="system", content=system)] if system else []
        earlier = self.histories[side] if self.mode.value == "conversation" else []
        return (*before, *earlier, Message(role="user", content=text))

    async def _answer(self, views: Mapping[Side, _AnswerView], config: GenerateConfig, rules: ChosenRules) -> None:
        try:
            async with self.keeper.use(self.run.path, say=self._say) as pair:
                guards = await self.keeper.guards(pair, rules)
                self._say("answering, guardrails on" if guards else "answering")
                await asyncio.gather(*(self._ask(pair, one, config, guards.get(one.side), views[one.side]) for one in self.answers))
        except Exception as error:  # noqa: BLE001 - whatever keeps a model from opening is told on the page
            self._fail(error, self.answers)
        for view in views.values():
            view.end()

    async def _ask(self, pair: Pair, answer: Answer, config: GenerateConfig, guard: Any, view: _AnswerView) -> None:
        try:
            await ask(self.keeper, pair, answer, config, guard, view.renew)
        except Exception as error:  # noqa: BLE001 - one column's failure leaves the other its answer
            self._fail(error, [answer])

    def _fail(self, error: Exception, answers: list[Answer]) -> None:
        from tunesmith.serve.problems import ApiError

        if not isinstance(error, TunesmithError | Unreadable | ApiError):
            log.error("the playground could not answer", exc_info=error)
        reason = str(error) or type(error).__name__
        for answer in answers:
            answer.status, answer.problem = "failed", reason

    def _keep(self) -> None:
        """A conversation goes on from what both could say; where one failed or was stopped before a word, the turn is left out."""
        if self.mode.value == "conversation" and all(one.status in ("done", "stopped") and one.text for one in self.answers):
            for one in self.answers:
                self.histories[one.side] += [one.prompt[-1], Message(role="assistant", content=one.text)]

    # What is seen.

    def _show_turn(self, text: str) -> dict[Side, _AnswerView]:
        if self.mode.value == "single":
            self.transcript.clear()
        with self.transcript:
            with ui.element("div").classes("ts-said") as said:
                muted("You").classes("ts-small")
                _text(text)
            ui.run_javascript(f"getHtmlElement({said.id}).scrollIntoView()")
            with ui.element("div").classes("ts-grid"):
                titles = {"base": f"Base: {self.run.model}", "tuned": f"Tuned: {self.run.name}"}
                return {one.side: _AnswerView(one, shown(titles[one.side], most=200), self.dialog) for one in self.answers}

    def _say(self, text: str) -> None:
        self.status.text = shown(text, most=300)

    def _set_busy(self, is_busy: bool) -> None:
        self.send_button.set_enabled(not is_busy)
        self.anew_button.set_enabled(not is_busy)
        self.mode.set_enabled(not is_busy)
        self.stop_button.visible = is_busy
        if not is_busy:
            self._say("Enter sends, Shift+Enter begins a new line.")

    def _stop(self) -> None:
        for answer in self.answers:
            answer.stop()
        if self.answers:
            self._say("stopping")

    def _begin_anew(self) -> None:
        if not self.answers:
            self.histories = {side: [] for side in SIDES}
            self.transcript.clear()


class _AnswerView:
    """One answer on the page."""

    def __init__(self, answer: Answer, title: str, dialog: SaveDialog) -> None:
        self.answer, self.dialog = answer, dialog
        self._shown_at = 0.0
        with card().props(f"data-side={answer.side}").classes("ts-answer"):
            heading(title)
            self.spinner = ui.spinner("dots", size="1.6em")
            self.text = _text("")
            self.note = muted("").classes("ts-small")
            self.save = ui.button("Save as an example", icon="bookmark_add", on_click=self._save)
            self.save.props("flat dense no-caps padding='xs sm'")
        self.save.visible = self.note.visible = False

    def renew(self) -> None:
        """There is more of it; shown when the eye can follow."""
        now = asyncio.get_running_loop().time()
        if now - self._shown_at >= RENEW_SECONDS:
            self._shown_at = now
            self.text.text = shown(self.answer.text, most=LONGEST_SHOWN)

    def end(self) -> None:
        """All has come."""
        self.spinner.visible = False
        self.text.text = shown(self.answer.text, most=LONGEST_SHOWN)
        self.note.text, self.note.visible = shown(self.answer.note()), bool(self.answer.note())
        if self.answer.status == "failed":
            self.note.classes(replace="ts-alert").props("role=alert")
        else:
            self.save.visible = True

    def _save(self) -> None:
        self.dialog.ask(self.answer.prompt, self.answer.text)


def _text(content: str) -> ui.label:
    return ui.label(shown(content, most=LONGEST_SHOWN)).classes("ts-text")


def _go(name: str) -> None:
    ui.navigate.to("/playground?" + urlencode({"run": name}))
