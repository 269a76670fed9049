"""The pictures of the studio's pages: all there, small, and those that the text shows among them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
MOST_BYTES = 3_000_000


def test_every_page_is_pictured_in_both_widths_and_colours() -> None:
    names = re.findall(r'Shot\(name="([a-z-]+)"', (DOCS / "screenshots.py").read_text(encoding="utf-8"))
    assert len(names) > 15
    expected = {f"{name}-{width}-{scheme}.webp" for name in names for width in (1440, 390) for scheme in ("light", "dark")}
    assert {file.name for file in (DOCS / "pictures").iterdir()} == expected
    assert sum(file.stat().st_size for file in (DOCS / "pictures").iterdir()) < MOST_BYTES


def test_the_text_shows_pictures_that_are_there() -> None:
    shown = re.findall(r'"(pictures/[^"]+)"', (DOCS / "studio.md").read_text(encoding="utf-8"))
    assert len(shown) > 8
    assert [name for name in shown if not (DOCS / name).is_file()] == []
