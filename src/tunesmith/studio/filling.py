"""Places of a page whose content may take long to read: what is read soon comes with the page, the rest once the page has come.

place = ui.element("div").classes("ts-sections")
await fill(place, "Reading the answers", read, show)
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nicegui import ui

from tunesmith.errors import TunesmithError
from tunesmith.studio.readable import Unreadable
from tunesmith.studio.widgets import alert, muted

Value = TypeVar("Value")
Show = Callable[[Value], Awaitable[None] | None]

PATIENCE_SECONDS = 0.15
"""Less than it takes a browser to be ready for what comes later."""


async def fill(place: ui.element, saying: str, read: Callable[[], Value], show: Show[Value]) -> None:
    """Replace what a place holds by what is read, or why it cannot be.

    Args:
        place: emptied.
        saying: what stands there meanwhile, `Reading the answers`.
        read: run in a thread.
        show: builds what is shown of it, in the place.
    """
    reading = asyncio.ensure_future(asyncio.to_thread(read))
    reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # seen, even if the page is gone by then
    place.clear()
    await asyncio.wait({reading}, timeout=PATIENCE_SECONDS)
    if reading.done():
        await _show(place, reading, show)
        return
    with place:
        muted(saying).props("role=status")
    ui.timer(0, lambda: _show(place, reading, show), once=True)


async def _show(place: ui.element, reading: asyncio.Future[Value], show: Show[Value]) -> None:
    try:
        found = await reading
    except (TunesmithError, Unreadable) as error:
        place.clear()
        with place:
            alert(str(error))
        return
    place.clear()
    with place:
        shown = show(found)
        if inspect.isawaitable(shown):
            await shown
