"""Debian's Chromium, driven by Playwright; a test that cannot have it is skipped with the reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def missing() -> str | None:
    """What is not here, or None."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "playwright is not installed: pip install 'tunesmith[dev]'"
    return None if executable() else "there is no chromium: install it, or name one in TUNESMITH_CHROMIUM"


def executable() -> str | None:
    return os.environ.get("TUNESMITH_CHROMIUM") or shutil.which("chromium")


@contextmanager
def launch() -> Iterator[Any]:
    """A browser, closed with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
