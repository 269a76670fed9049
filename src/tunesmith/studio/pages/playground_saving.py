"""The dialog in which an answer of the playground is edited and saved as an example."""

from __future__ import annotations

import shlex
from asyncio import to_thread
from collections.abc import Sequence
from pathlib import Path

from nicegui import ui

from tunesmith.errors import TunesmithError
from tunesmith.evaluate.wording import counted
from tunesmith.studio.pages.playground_examples import DEFAULT_NAME, append_example
from tunesmith.studio.widgets import alert, heading, muted, shown_path
from tunesmith.types import Message

ENTRY = "outlined dense stack-label"


class SaveDialog:
    """One for a page, filled anew for each answer; the file's name stays."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._before: tuple[Message, ...] = ()
        with ui.dialog().props('aria-label="Save as an example"') as self.dialog, ui.element("div").classes("ts-card ts-column ts-dialog"):
            heading("Save as an example")
            self.earlier = muted("").classes("ts-small")
            self.prompt = ui.textarea("Prompt of the example").props(ENTRY).props("autogrow input-style='max-height: 12rem'")
            self.answer = ui.textarea("Answer to learn").props(ENTRY).props("autogrow input-style='max-height: 16rem'")
            self.name = ui.input("File", value=DEFAULT_NAME).props(ENTRY).props("autocomplete=off")
            muted(f"In the folder {shown_path(data_dir)}. What is in the file stays; the example is added.").classes("ts-small")
            self.problem = alert("")
            with ui.element("div").classes("ts-row"):
                ui.button("Save", icon="save", on_click=self._save)
                ui.button("Cancel", on_click=self.dialog.close).props("flat")

    def ask(self, prompt: Sequence[Message], answer: str) -> None:
        """Show a conversation and its answer, to be edited."""
        self._before = tuple(prompt[:-1])
        count = len(self._before)
        self.earlier.text = f"With the {counted(count, 'message')} before it." if count else ""
        self.earlier.visible, self.problem.visible = bool(count), False
        self.prompt.value, self.answer.value = prompt[-1].content, answer
        self.dialog.open()

    async def _save(self) -> None:
        said = Message(role="user", content=self.prompt.value or ""), Message(role="assistant", content=self.answer.value or "")
        try:
            file = await to_thread(append_example, self.data_dir, self.name.value or "", (*self._before, *said))
        except (TunesmithError, OSError) as error:
            self.problem.text, self.problem.visible = str(error), True
            return
        self.dialog.close()
        place = shown_path(file)
        ui.notify(f"Saved in {place}. To train on it: tunesmith prepare {shlex.quote(place)}", multi_line=True, timeout=8000)
