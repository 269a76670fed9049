"""Where a run comes from and what changed: the rounds that led to it, in a box of its page.

Tracing reads the data sets of the runs, which takes seconds where they are large: it is done in a thread when the box is opened, and kept.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Sequence

from nicegui import ui

from tunesmith.errors import TunesmithError
from tunesmith.evaluate.rounds import Round, lineage_lines, trace_rounds
from tunesmith.studio.readable import Unreadable
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import card, heading, muted, run_address, tag

MOST_ROUNDS = 12
"""Runs before this one that are looked at."""


def lineage_card(studio: Studio, run: RunSummary) -> None:
    """A box with a button that traces."""
    with card():
        heading("Lineage")
        if run.parent:
            with ui.element("div").classes("ts-row"):
                muted("Trained from")
                ui.link(run.parent, run_address(run.parent))
        place = ui.element("div")

        async def trace() -> None:
            place.clear()
            with place:
                muted("Reading the data sets of the runs before it")
            lines = await to_thread(_lines, studio, run)
            place.clear()
            with place:
                tag("pre", "\n".join(lines)).classes("ts-log").props("tabindex=0")

        with place:
            ui.button("Trace the rounds that led here", on_click=trace).props("outline dense no-caps padding='xs md'")


def _lines(studio: Studio, run: RunSummary) -> list[str]:
    """The rounds from the first to this run, or why they cannot be told."""
    before = [one for one in studio.library.runs() if one.status != "unreadable" and one.created <= run.created][: MOST_ROUNDS + 1]
    try:
        return lineage_lines(chain(trace_rounds([one.directory for one in reversed(before)]), run.name))
    except (TunesmithError, Unreadable) as error:
        return [str(error)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # records of another making
        return [f"a run before it cannot be read: {type(error).__name__}: {error}"]


def chain(rounds: Sequence[Round], name: str) -> list[Round]:
    """The rounds that led to `name`, the first of them first."""
    by_name = {one.run: one for one in rounds}
    led: list[Round] = []
    at: str | None = name
    while at in by_name and by_name[at] not in led:
        led.append(by_name[at])
        at = by_name[at].previous
    return led[::-1]
