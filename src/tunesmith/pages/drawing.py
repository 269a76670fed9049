"""Charts as SVG elements that stand in a page: no files, no scripts, the page's fonts and colours.

matplotlib draws with marker colours that are then replaced by the page's CSS variables, so that one drawing serves light
and dark mode. Texts of users (names of classes) are drawn as text; matplotlib escapes them, and reads dollar signs as nothing else.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Drawn colour -> CSS variable of the page.
INK, MUTED, FAINT, BLUE, ORANGE, PAGE = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
_VARIABLES = {INK: "--ink", MUTED: "--muted", FAINT: "--line", BLUE: "--blue", ORANGE: "--orange", PAGE: "--page"}
_STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, in the page's font
    "text.parse_math": False,
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
}
_WIDTH = 5.8
"""Inches of 72 points; the browser scales the drawing to its column."""


def svg(draw: Callable[[Figure], None], *, name: str, height: float) -> str:
    """Run `draw` on a new figure and return one `<svg>` element with ids of its own."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "svg.hashsalt": f"tunesmith-{name}"}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _for_page(buffer.getvalue(), name)


def _for_page(text: str, name: str) -> str:
    """Only the element; sized by the page; ids unique within it; colours and fonts the page's."""
    element = text[text.index("<svg") :]
    element = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", element, flags=re.DOTALL)  # its style would apply to the whole page
    element = re.sub(r"<!--.*?-->\s*", "", element, flags=re.DOTALL)  # comments repeat the texts
    head, rest = element.split(">", 1)
    element = re.sub(r' (?:xmlns(?::\w+)?|width|height|version)="[^"]*"', "", head) + ">" + rest
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element)
    element = re.sub(r"font-family: [^;\"]*", "font-family: inherit", element)
    for colour, variable in _VARIABLES.items():
        element = element.replace(colour, f"var({variable})")
    return element.replace("<svg", '<svg aria-hidden="true"', 1)
