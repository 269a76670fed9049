"""A sweep as one HTML page: the curves, the table, the best."""

from __future__ import annotations

from tunesmith.pages import environment
from tunesmith.sweep.charts import curve_chart
from tunesmith.sweep.report import SweepReport


def render_page(report: SweepReport, *, title: str) -> str:
    """One file without scripts; texts of users are escaped."""
    from markupsafe import Markup

    charts = [(curve, Markup(curve_chart(curve, name=f"curve-{number}"))) for number, curve in enumerate(report.curves)]  # noqa: S704 - ours
    varied = list(dict.fromkeys(key for result in report.results for key in result.varied))
    return environment("tunesmith.sweep").get_template("sweep.html").render(report=report, title=title, charts=charts, varied=varied)
