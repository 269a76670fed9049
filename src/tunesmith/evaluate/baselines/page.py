"""The baselines as one HTML page: the decision, the table, quality against time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tunesmith.evaluate.baselines.report import BaselineReport
from tunesmith.pages import BLUE, MUTED, environment, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render_page(report: BaselineReport) -> str:
    """One file without scripts; texts of users are escaped."""
    from markupsafe import Markup

    chart = Markup(_chart(report))  # noqa: S704 - drawn by us, names escaped by matplotlib
    return environment("tunesmith.evaluate.baselines").get_template("baseline.html").render(report=report, chart=chart)


def _chart(report: BaselineReport) -> str:
    """Each way's mean with its interval."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names = [result.name for result in report.results][::-1]
        for row, result in enumerate(reversed(report.results)):
            score = result.scores[report.metric.name]
            colour = BLUE if result.name in report.decision.contenders else MUTED
            low, high = (score.value if end is None else end for end in (score.low, score.high))
            axes.errorbar([score.value], [row], xerr=[[score.value - low], [high - score.value]], fmt="o", color=colour, capsize=4)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel(f"{report.metric.title}, {'higher' if report.metric.higher_is_better else 'lower'} is better")
        axes.grid(visible=False, axis="y")

    return svg(draw, name="ways", height=1.0 + 0.4 * len(report.results))
