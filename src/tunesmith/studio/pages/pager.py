"""Pages of a long list: "1 to 10 of 153", back and on, and the page by its number."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from nicegui import ui

from tunesmith.studio.widgets import muted

Item = TypeVar("Item")


class Pager:
    """Which part of a list is shown; the controls stand above it, and `build_below` puts "Previous" and "Next" beneath it as well."""

    def __init__(self, per_page: int, *, noun: str, changed: Callable[[], Awaitable[None]]) -> None:
        self.per_page, self.noun, self.changed = per_page, noun, changed
        self.page, self.total = 1, 0
        with ui.element("div").classes("ts-row ts-spread"):
            self.counts = muted("").props("role=status")
            with ui.element("div").classes("ts-row"):
                self._buttons: list[tuple[ui.button, ui.button]] = [self._steps()]
                self.number = ui.number("Page", value=1, min=1, on_change=lambda event: self._go(event.value))
                self.number.props("outlined dense stack-label debounce=400").classes("ts-page-number")
        self._show()

    def build_below(self) -> None:
        """The steps once more."""
        with ui.element("div").classes("ts-row"):
            self._buttons.append(self._steps())
        self._show()

    def set_total(self, total: int) -> None:
        """How long the list is; the page stays, if there is such a page."""
        self.total = total
        self.page = min(max(1, self.page), self.num_pages)
        self._show()

    def slice(self, everything: Sequence[Item]) -> Sequence[Item]:
        """What is shown of it."""
        return everything[(self.page - 1) * self.per_page : self.page * self.per_page]

    @property
    def num_pages(self) -> int:
        return max(1, math.ceil(self.total / self.per_page))

    def _steps(self) -> tuple[ui.button, ui.button]:
        back = ui.button("Previous", icon="chevron_left", on_click=lambda: self._go(self.page - 1))
        on = ui.button("Next", icon="chevron_right", on_click=lambda: self._go(self.page + 1))
        for button in (back, on):
            button.props("outline dense padding='xs md'")
        return back, on

    async def _go(self, page: float | None) -> None:
        if page is None or not math.isfinite(page) or int(page) == self.page:  # the field says itself what it was set to
            return
        wanted = min(max(1, int(page)), self.num_pages)
        if wanted != self.page:
            self.page = wanted
            self._show()
            await self.changed()

    def _show(self) -> None:
        first, last = (self.page - 1) * self.per_page + 1, min(self.page * self.per_page, self.total)
        self.counts.text = f"{first:,} to {last:,} of {self.total:,} {self.noun}" if self.total else f"no {self.noun}"
        for back, on in self._buttons:
            back.enabled, on.enabled = self.page > 1, self.page < self.num_pages
            back.visible = on.visible = self.num_pages > 1
        self.number.visible = self.num_pages > 2
        self.number.value = self.page
        self.number.suffix = f"of {self.num_pages:,}"
