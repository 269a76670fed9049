"""The charts of an evaluation's page, drawn for 420 CSS pixels, the width of a phone; shapes differ as well as colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tunesmith.evaluate.comparison import Comparison, Verdict
from tunesmith.pages import BLUE, INK, MUTED, ORANGE, PAGE, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VERDICT_LOOK: Mapping[Verdict, tuple[str, str, str]] = {  # marker, colour, fill
    "better": ("o", BLUE, BLUE),
    "worse": ("v", ORANGE, ORANGE),
    "cannot tell": ("o", MUTED, PAGE),
}


def forest_chart(comparisons: Sequence[Comparison]) -> str | None:
    """Paired differences with their intervals on one axis, better to the right; None where none has a spread.

    To share the axis, each is divided by the standard deviation of its paired differences (Cohen's d).
    """
    drawn = [comparison for comparison in comparisons if comparison.effect_size is not None and comparison.interval]
    if not drawn:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=MUTED, linewidth=1)
        for row, comparison in enumerate(reversed(drawn)):
            _draw_difference(axes, row, comparison)
        axes.set_yticks(range(len(drawn)), [comparison.metric.title for comparison in reversed(drawn)])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(drawn) - 0.4)
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.spines.left.set_visible(False)
        axes.set_xlabel("standard deviations of the difference, better →", loc="right")

    return svg(draw, name="forest", height=0.8 + 0.46 * len(drawn))


def _draw_difference(axes: Axes, row: int, comparison: Comparison) -> None:
    assert comparison.interval
    assert comparison.deviation
    sign = 1 if comparison.metric.higher_is_better else -1
    ends = sorted(sign * end / comparison.deviation for end in comparison.interval)
    marker, colour, fill = _VERDICT_LOOK[comparison.verdict]
    axes.plot(ends, [row, row], color=colour, linewidth=2.2)
    axes.plot([comparison.gain / comparison.deviation], [row], marker, markersize=8, markeredgecolor=colour, markerfacecolor=fill, mew=1.8)


def loss_chart(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    """Training loss (each step faint, smoothed strong) and validation loss over steps; None without any."""
    steps = [(line["step"], line["loss"]) for line in metrics if line["kind"] == "step"]
    validations = [(line["step"], line["loss"]) for line in metrics if line["kind"] == "validation"]
    if not steps and not validations:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if steps:
            places, losses = zip(*steps, strict=True)
            axes.plot(places, losses, color=BLUE, linewidth=0.8, alpha=0.35)
            axes.plot(places, smoothed(losses), color=BLUE, linewidth=2, label="training, smoothed")
        if validations:
            axes.plot(*zip(*validations, strict=True), "D--", color=ORANGE, linewidth=1.4, markersize=5, label="validation")
            best = min(validations, key=lambda point: point[1])
            axes.plot(*best, "D", color=ORANGE, markersize=10, fillstyle="none", mew=1.4, label=f"best, step {best[0]}", linestyle="none")
        axes.set_xlabel("step")
        axes.set_ylabel("loss of the preferences" if any("reward_accuracy" in line for line in metrics) else "nats per token")
        axes.legend(loc="upper right")

    return svg(draw, name="loss", height=3.2)


def learning_rate_chart(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    """Learning rate over steps; None without any."""
    rates = [(line["step"], line["learning_rate"]) for line in metrics if line["kind"] == "step" and "learning_rate" in line]
    if not rates:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(*zip(*rates, strict=True), color=INK, linewidth=1.6)
        axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=False)
        axes.set_xlabel("step")
        axes.set_ylabel("learning rate")

    return svg(draw, name="rate", height=3.2)


def smoothed(values: Sequence[float], *, share: float = 0.05) -> list[float]:
    """Mean over about this share of the values around each, fewer towards the ends; unlike a running average it does not lag."""
    reach = round(share * len(values) / 2)
    return [fmean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
