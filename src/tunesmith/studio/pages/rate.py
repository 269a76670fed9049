"""Rating: people judge the held-out answers of one run or two by keyboard, without knowing whose they are.

What is judged, how and by whom stands in the address; the rater's name is kept in a cookie besides, so that it is asked for once.
"""

from __future__ import annotations

import base64
import binascii
from asyncio import to_thread
from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.evaluate.rating.sheet import Mode
from tunesmith.studio.pages.rate_sitting import Sitting
from tunesmith.studio.readable import shown
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import alert, card, code, heading, muted

MODES: Mapping[Mode, str] = {"pairs": "Choose the better of two answers", "rubric": "Score each answer from 1 to 5"}
NO_OTHER = ""
RATER_COOKIE = "tunesmith-rater"
LONGEST_NAME = 80
CHOICE, ENTRY = "outlined dense options-dense stack-label", "outlined dense stack-label"


def install(studio: Studio) -> None:
    """The page at `/rate`; `?run=NAME&other=NAME&mode=pairs&rater=NAME` begins at once."""

    @studio.page("/rate", title="Rate", section="Rate")
    async def rate_page(run: str = "", other: str = "", mode: str = "pairs", rater: str = "") -> None:
        evaluated = await to_thread(_evaluated, studio)
        if not evaluated:
            muted(f"There are no evaluated runs in {studio.library.runs_dir}. Evaluate one:")
            code("tunesmith evaluate runs/NAME")
            return
        unknown = [name for name in (run, other) if name and name not in evaluated]
        if unknown:
            alert(f"There is no evaluated run called {shown(unknown[0], most=100)!r}.")
        name = cleaned_name(rater)
        if name and run in evaluated and not unknown and mode in get_args(Mode):
            runs = [evaluated[one].directory for one in dict.fromkeys([run, other]) if one]
            back = "/rate?" + urlencode({"run": run, "other": other, "mode": mode})
            await Sitting(studio, runs, "rubric" if mode == "rubric" else "pairs", name, back=back).build()
        else:
            _Form(evaluated).build(run, other, mode)


def _evaluated(studio: Studio) -> dict[str, RunSummary]:
    """Runs with answers to judge, the newest first."""
    return {run.name: run for run in studio.library.runs() if run.status == "finished" and run.directory.evaluation_records_file.is_file()}


class _Form:
    """Which runs, how, and who."""

    def __init__(self, evaluated: Mapping[str, RunSummary]) -> None:
        self.evaluated = evaluated

    def build(self, run: str, other: str, mode: str) -> None:
        labels = {name: f"{name} ({one.model})" for name, one in self.evaluated.items()}
        with card().style("max-width: 42rem"):
            heading("What to rate")
            with ui.element("div").classes("ts-column"):
                self.run = ui.select(labels, value=run if run in labels else next(iter(labels)), label="Run").props(CHOICE)
                others = {NO_OTHER: "none: its base model alone", **labels}
                self.other = ui.select(others, value=other if other in labels else NO_OTHER, label="Another run").props(CHOICE)
                chosen = mode if mode in MODES else "pairs"
                self.mode = ui.select(dict(MODES), value=chosen, label="How").props(CHOICE)
                self.name = ui.input("Your name", value=_remembered_name()).props(ENTRY).props(f"maxlength={LONGEST_NAME}")
                self.name.on("keydown.enter", self._begin)
                self.problem = alert("")
                self.problem.visible = False
                muted(
                    "The answers come without the names of the models, in an order drawn for each pair. What you say is appended to the "
                    "first run's files, as by `tunesmith rate`; what you judged before is not asked again."
                ).classes("ts-small")
            ui.button("Begin", icon="how_to_vote", on_click=self._begin)

    def _begin(self) -> None:
        name = cleaned_name(self.name.value or "")
        if not name:
            self.problem.text, self.problem.visible = "Enter your name, so that raters can be told apart.", True
            return
        _remember_name(name)
        other = self.other.value if self.other.value != self.run.value else NO_OTHER
        query: dict[str, Any] = {"run": self.run.value, "other": other, "mode": self.mode.value, "rater": name}
        ui.navigate.to("/rate?" + urlencode(query))


def cleaned_name(name: str) -> str:
    """As votes keep it: on one line, not too long."""
    return " ".join(shown(name, most=LONGEST_NAME).split())


def _remember_name(name: str) -> None:
    """In Base64, so that nothing of it can be a part of the script."""
    encoded = base64.urlsafe_b64encode(name.encode()).decode()
    ui.run_javascript(f"document.cookie = '{RATER_COOKIE}={encoded}; path=/; max-age=31536000; samesite=strict'")


def _remembered_name() -> str:
    """What the cookie holds, if it is ours."""
    kept = ui.context.client.request.cookies.get(RATER_COOKIE, "").strip('"')
    try:
        return cleaned_name(base64.urlsafe_b64decode(kept.encode()).decode())
    except (binascii.Error, UnicodeError):
        return ""
