"""The pages of the studio; each module has `install(studio)`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tunesmith.studio.shell import Studio

MODULES = ("runs", "run", "new_run", "rate", "playground", "data", "evaluation", "examples", "compare")
"""In the order in which they are installed."""


def install_pages(studio: Studio) -> None:
    """Register every page."""
    for name in MODULES:
        import_module(f"tunesmith.studio.pages.{name}").install(studio)
