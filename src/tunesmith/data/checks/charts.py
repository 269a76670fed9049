"""The page's charts as SVG elements: no files, no scripts, the page's fonts and colours in light and dark.

matplotlib draws with marker colours that are then replaced by the page's CSS variables. Texts of users (names of classes) are drawn as
text; matplotlib escapes them, and reads dollar signs as nothing but dollar signs here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, FAINT, BLUE, ORANGE = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "--ink", MUTED: "--muted", FAINT: "--line", BLUE: "--blue", ORANGE: "--orange"}
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
}
_WIDTH = 5.8
"""Inches of 72 points; the browser scales the drawing to its column."""
MOST_BARS = 20
LONGEST_NAME = 28


def length_chart(figures: Mapping[str, Any], unit: str, *, name: str, limit: int | None = None) -> str:
    """Bars of how many have which length, and a line of how many are at most that long; `figures` as the check `lengths` gives them."""
    width, counts = figures["bin_width"], figures["bins"]
    starts = [place * width for place in range(len(counts))]
    total = sum(counts)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.bar(starts, counts, width=width * 0.92, align="edge", color=BLUE, alpha=0.75)
        axes.set_xlabel(f"{unit} (the last bar: and more)" if figures["max"] > width * len(counts) else unit)
        axes.set_ylabel("examples")
        axes.grid(visible=False, axis="x")
        covered = axes.twinx()
        ends = [start + width for start in starts]
        covered.plot([0, *ends], [0, *(100 * part / total for part in accumulate(counts))], color=ORANGE, linewidth=1.8)
        covered.set_ylim(0, 103)
        covered.set_ylabel("% at most so long")
        covered.grid(visible=False)
        if limit is not None and limit <= ends[-1]:
            axes.axvline(limit, color=MUTED, linewidth=1.2, linestyle="--")

    return _svg(draw, name=name, height=2.9)


def bar_chart(counts: Sequence[tuple[str, float]], label: str, *, name: str) -> str:
    """One bar for each name, in the order given, the first on top; more than twenty are drawn as a curve without names."""
    if len(counts) > MOST_BARS:
        return _curve([count for _, count in counts], label, name=name)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        rows = range(len(counts))
        axes.barh(rows, [count for _, count in counts], color=BLUE, alpha=0.75, height=0.7)
        axes.set_yticks(rows, [_short(text) for text, _ in counts])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.spines.left.set_visible(False)
        axes.set_xlabel(label)

    return _svg(draw, name=name, height=0.9 + 0.27 * len(counts))


def _curve(values: Sequence[float], label: str, *, name: str) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.bar(range(1, len(values) + 1), values, color=BLUE, alpha=0.75, width=1.0)
        axes.set_xlabel("from the most frequent to the rarest")
        axes.set_ylabel(label)
        axes.grid(visible=False, axis="x")

    return _svg(draw, name=name, height=2.6)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def _svg(draw: Callable[[Figure], None], *, name: str, height: float) -> str:
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
