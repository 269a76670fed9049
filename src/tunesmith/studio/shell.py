"""What all pages have: what they are given, and the frame around them.

    def install(studio: Studio) -> None:
        @studio.page("/runs/{name}", title="Run", section="Runs")
        async def run_page(name: str) -> None:
            ...

Dark mode follows the system until it is switched; a cookie keeps the choice, so that a page comes in the right colours at once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nicegui import ui

from tunesmith.config import StudioConfig
from tunesmith.errors import TunesmithError
from tunesmith.studio.processes import Starter
from tunesmith.studio.readable import Unreadable
from tunesmith.studio.reading import Library
from tunesmith.studio.widgets import alert, heading

Page = TypeVar("Page", bound=Callable[..., Any])

SECTIONS = (
    ("Runs", "/"),
    ("Data", "/data"),
    ("Evaluation", "/evaluation"),
    ("Compare", "/compare"),
    ("Rate", "/rate"),
    ("Playground", "/playground"),
    ("New run", "/new"),
)
"""What the header leads to, in the order of use; those without a page are left out."""

MOST_SECONDS = 60.0
"""For a page to be made; a machine that is busy with training may need some. NiceGUI shows an error after three."""
THEME_COOKIE = "tunesmith-theme"
THEMES = {"auto": None, "light": False, "dark": True}
ICONS = {"auto": "brightness_auto", "light": "light_mode", "dark": "dark_mode"}


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What every page is given."""

    config: StudioConfig
    library: Library
    starter: Starter
    paths: list[str] = field(default_factory=list)
    """Of the installed pages."""

    def page(self, path: str, *, title: str, section: str | None = None, first_heading: str | None = "") -> Callable[[Page], Page]:
        """Make a function the page at `path`, within the frame; its parameters are those of the path and the query.

        Args:
            path: as FastAPI writes it, `/runs/{name}`.
            title: of the browser's tab, and the page's `h1`.
            section: the entry of the header that is marked.
            first_heading: the `h1` where it is not the title; None leaves it to the page (`widgets.heading(text, level=1)`).
        """
        self.paths.append(path)

        def decorate(build: Page) -> Page:
            @functools.wraps(build)
            async def built(**parameters: Any) -> None:
                ui.page_title(f"{title} - tunesmith studio")
                main = _frame(self.paths, section)
                with main:
                    if first_heading is not None:
                        heading(first_heading or title, level=1)
                    await _build(build, parameters)

            ui.page(path, response_timeout=MOST_SECONDS)(built)
            return build

        return decorate


async def _build(build: Callable[..., Any], parameters: dict[str, Any]) -> None:
    """The page itself, or why there is none."""
    try:
        made = build(**parameters)
        if inspect.isawaitable(made):
            await made
    except (TunesmithError, Unreadable) as error:
        alert(str(error))


def not_found(what: str) -> None:
    """Answer 404 with a sentence."""
    ui.context.client.status_code = 404
    alert(what)
    ui.link("All runs", "/")


def _frame(paths: list[str], section: str | None) -> ui.element:
    chosen = _theme()
    dark = ui.dark_mode(THEMES[chosen])
    ui.colors(
        primary="#1a5fa8",
        secondary="#5f656d",
        positive="#1f6b3a",
        negative="#a3262a",
        warning="#a8500a",
        dark="#1b1e23",
        dark_page="#14161a",
    )
    sections = [(title, path) for title, path in SECTIONS if path in paths]
    with ui.header().classes("ts-header").props("role=banner"):
        ui.link("tunesmith studio", "/").classes("ts-brand")
        with ui.element("nav").classes("ts-nav").props('aria-label="Pages"'):
            _links(sections, section)
        _theme_button(dark, chosen)
        menu_button = ui.button(icon="menu").props('flat round dense aria-label="Menu"').classes("ts-only-narrow")
        with menu_button, ui.menu().props("no-focus"), ui.element("nav").classes("ts-menu").props('aria-label="Pages"'):
            _links(sections, section)
    main = ui.element("div").classes("ts-main").props("tabindex=-1")
    ui.skip_link("Skip to the content", target=main)
    return main


def _links(sections: list[tuple[str, str]], current: str | None) -> None:
    for title, path in sections:
        link = ui.link(title, path)
        if title == current:
            link.props("aria-current=page")


def _theme() -> str:
    chosen = ui.context.client.request.cookies.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


def _theme_button(dark: ui.dark_mode, chosen: str) -> None:
    """Goes round: as the system, light, dark."""
    state = {"theme": chosen}
    order = list(THEMES)

    def switch() -> None:
        theme = state["theme"] = order[(order.index(state["theme"]) + 1) % len(order)]
        dark.value = THEMES[theme]
        label(theme)
        ui.run_javascript(f"document.cookie = '{THEME_COOKIE}={theme}; path=/; max-age=31536000; samesite=strict'")

    def label(theme: str) -> None:
        spoken = "Colours: as the system" if theme == "auto" else f"Colours: {theme}"
        button.props(f'icon={ICONS[theme]} aria-label="{spoken}" title="{spoken}"')

    button = ui.button(on_click=switch).props("flat round dense")
    label(chosen)
