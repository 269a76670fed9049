"""A confusion matrix as a drawing: rows are what is right, columns what was said, darker is more often; legible up to a hundred labels.

Drawn without a library: a square for each cell that is not empty, its label and count as the tooltip, the page's colours.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import escape

from tunesmith.evaluate.confusion import NONE_OF_THEM, Confusion

SIZE = 440
"""Of the drawing, in units of its own; the page scales it."""


def heatmap(confusion: Confusion, table: Sequence[Sequence[int]], *, title: str) -> str:
    """One `<svg>` of `confusion.base` or `confusion.tuned`; right answers blue on the diagonal, mistakes orange.

    A cell's strength is its share of its row: how often this label is answered so.
    """
    columns = (*confusion.labels, NONE_OF_THEM)
    cell = SIZE / len(columns)
    squares = "".join(
        _square(row, column, cell, count / sum(counts), f"{label}, said {columns[column]}: {count} of {sum(counts)}")
        for row, (label, counts) in enumerate(zip(confusion.labels, table, strict=True))
        for column, count in enumerate(counts)
        if count
    )
    height = cell * len(confusion.labels)
    frame = f'<rect width="{SIZE}" height="{height:.2f}" fill="none" stroke="var(--line)"/>'
    line = f'<path d="M{SIZE - cell:.2f} 0V{height:.2f}" stroke="var(--line)"/>'
    label = escape(title)
    return f'<svg viewBox="-1 -1 {SIZE + 2} {height + 2:.2f}" role="img" aria-label="{label}">{frame}{line}{squares}</svg>'


def _square(row: int, column: int, cell: float, share: float, text: str) -> str:
    colour = "var(--blue)" if row == column else "var(--orange)"
    place = f'x="{column * cell:.2f}" y="{row * cell:.2f}" width="{cell:.2f}" height="{cell:.2f}"'
    return f'<rect {place} fill="{colour}" fill-opacity="{0.15 + 0.85 * share:.2f}"><title>{escape(text)}</title></rect>'
