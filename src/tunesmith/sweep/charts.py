"""Learning curves of a sweep's page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tunesmith.pages import BLUE, MUTED, ORANGE, svg
from tunesmith.sweep.learning import LearningCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def curve_chart(curve: LearningCurve, *, name: str) -> str:
    """The metric over the number of training examples, on a logarithmic axis, with the fit drawn on to twice the data."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        sizes = [point.num_examples for point in curve.points]
        axes.axhline(curve.base, color=MUTED, linewidth=1.2, linestyle=":", label="untrained")
        for point in curve.points:
            axes.plot([point.num_examples] * len(point.values), point.values, "o", color=BLUE, alpha=0.35, markersize=4)
        axes.plot(sizes, [point.value for point in curve.points], "o", color=BLUE, markersize=6, label="measured")
        if curve.fit:
            places = np.geomspace(sizes[0], 2 * sizes[-1], 100)
            axes.plot(places, [curve.fit.at(place) for place in places], **_line(curve.fit.is_trusted))
            value, low, high = curve.fit.doubled
            errors = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.errorbar([2 * sizes[-1]], [value], yerr=errors, fmt="D", color=ORANGE, capsize=4, label="twice the data, by the fit")
        ticks = [*sizes, 2 * sizes[-1]] if curve.fit else sizes
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
        axes.minorticks_off()
        axes.set_xlabel("training examples")
        axes.set_ylabel(curve.metric_title)
        axes.legend()

    return svg(draw, name=name, height=3.4)


def _line(is_trusted: bool) -> dict[str, Any]:
    """Of a fit; one that misses its points does not look like the others."""
    if is_trusted:
        return {"color": BLUE, "linewidth": 1.4, "label": "fit"}
    return {"color": MUTED, "linewidth": 1.2, "linestyle": "--", "label": "fit, not to be trusted"}
