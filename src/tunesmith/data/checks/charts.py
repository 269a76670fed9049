"""The charts of a data set's page: lengths, classes, languages, splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from tunesmith.pages import BLUE, INK, MUTED, ORANGE, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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

    return svg(draw, name=name, height=2.9)


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

    return svg(draw, name=name, height=0.9 + 0.27 * len(counts))


def _curve(values: Sequence[float], label: str, *, name: str) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.bar(range(1, len(values) + 1), values, color=BLUE, alpha=0.75, width=1.0)
        axes.set_xlabel("from the most frequent to the rarest")
        axes.set_ylabel(label)
        axes.grid(visible=False, axis="x")

    return svg(draw, name=name, height=2.6)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
