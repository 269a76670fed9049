"""The changes to a data set that were decided on its pages, and the new version that they become."""

from __future__ import annotations

import threading
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.errors import RunError, TunesmithError
from tunesmith.studio.asking import ask
from tunesmith.studio.pages.data_review import Draft, check_name, free_name
from tunesmith.studio.readable import Unreadable, shown
from tunesmith.studio.reading import DataSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import alert, card, code, heading, muted, note, shown_command, tag

MOST_LISTED = 50


class Drafts:
    """One draft for each data set as it is now, shared by all pages."""

    def __init__(self, studio: Studio) -> None:
        self.folder = studio.starter.logs_dir
        self._lock = threading.Lock()
        self._drafts: dict[tuple[Path, str], Draft] = {}

    def of(self, data: DataSummary) -> Draft:
        """The draft of a data set.

        Raises:
            Unreadable: its manifest cannot be read.
        """
        with self._lock:
            key = (data.path, data.fingerprint)
            if key not in self._drafts:
                self._drafts[key] = Draft(data, self.folder)
            return self._drafts[key]


class ChangesCard:
    """What was decided, the exact command, and the button that runs it; nothing where nothing was decided."""

    def __init__(self, studio: Studio, data: DataSummary, draft: Draft, *, changed: Callable[[], Awaitable[None]]) -> None:
        self.studio, self.data, self.draft, self.changed = studio, data, draft, changed
        self.name = free_name(data, studio.library.data_dir)
        self.place = ui.element("div")
        self.show()

    def show(self) -> None:
        """As it stands."""
        self.place.clear()
        with self.place:
            if self.draft.refusal is not None:
                note(f"Rows cannot be edited here. {self.draft.refusal}").classes("ts-text")
            elif self.draft.changes:
                with card():
                    self._build()

    def _build(self) -> None:
        changes = self.draft.changes
        heading(f"Changes to become a new version: {len(changes):,}")
        with tag("ul").classes("ts-list"):
            for line in changes[:MOST_LISTED]:
                with ui.element("li"), ui.element("div").classes("ts-row"):
                    tag("span", f"{line['decision']} {shown(line['source'])}: {shown(line['answer'], most=80)}")
                    undo = ui.button("Undo", on_click=lambda id_=line["id"]: self._forget(id_)).props("flat dense")
                    undo.props("padding='none xs'")
        if len(changes) > MOST_LISTED:
            muted(f"and {len(changes) - MOST_LISTED:,} more")
        made = ui.input("Name of the new version", value=self.name, on_change=lambda event: self._rename(event.value or ""))
        made.props("outlined dense stack-label").classes("ts-name")
        self.command = code("")
        self.problem = alert("")
        self.button = ui.button("Make the new version", icon="content_copy", on_click=self._make)
        muted("The sources are read anew with these changes; this data set stays as it is.").classes("ts-small")
        self._rename(self.name)

    def _rename(self, name: str) -> None:
        self.name = name.strip()
        try:
            new = check_name(self.name, self.studio.library.data_dir)
        except TunesmithError as error:
            self.problem.text, self.problem.visible = str(error), True
            self.button.disable()
            return
        self.command.text = shown_command(["tunesmith", *self.draft.command(new)])
        self.problem.visible = False
        self.button.set_enabled(not self.draft.is_making)

    async def _forget(self, id_: str) -> None:
        await to_thread(self.draft.forget, id_)
        self.show()
        await self.changed()

    async def _make(self) -> None:
        self.button.disable()
        self.problem.visible = False
        try:
            new = check_name(self.name, self.studio.library.data_dir)
            with self.draft.making(new):
                words = await to_thread(self.draft.freeze, new)
                ui.notify("Preparing the new version")
                await ask([*words, "--json"])
                await to_thread(self.draft.made, new)
        except (TunesmithError, Unreadable, OSError) as error:
            reason = error.found.removeprefix("error: ") if isinstance(error, RunError) else str(error)  # of the command: its own words
            self.problem.text, self.problem.visible = reason, True
            self.button.enable()
        else:
            ui.navigate.to(f"/data?{urlencode({'set': new.name})}")
