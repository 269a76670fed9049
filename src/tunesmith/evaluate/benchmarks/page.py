"""The benchmark report as a page, and as a section for another page: one file, no scripts, no network.

write_text(out / "report.html", render_html(report))
section = render_section(report)        # Markup, for a template that has the pages' base.css
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.evaluate.benchmarks.comparison import TaskComparison
from tunesmith.evaluate.benchmarks.report import BenchmarkReport, figure, overlap_sentence
from tunesmith.pages import BLUE, INK, MUTED, ORANGE, PAGE, environment, svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

_LOOK = {"better": ("o", BLUE, BLUE), "worse": ("v", ORANGE, ORANGE), "cannot tell": ("o", MUTED, PAGE)}


def render_html(report: BenchmarkReport) -> str:
    """The whole page."""
    page: str = _render(report, "benchmarks.html")
    return page


def render_section(report: BenchmarkReport) -> Markup:
    """A `<section>` with verdicts, chart and table."""
    from markupsafe import Markup

    return Markup(_render(report, "benchmarks_section.html"))  # noqa: S704 (everything in it went through autoescape)


def _render(report: BenchmarkReport, template: str) -> Any:
    from markupsafe import Markup

    pages = environment("tunesmith.evaluate.benchmarks")
    pages.filters |= {"after_verdict": _after_verdict, "typeset": _typeset}
    words = report.settings["overlap_words"]
    chart = _chart(report.comparisons)
    return pages.get_template(template).render(
        report=report,
        several=len({(one.model, one.against) for one in report.comparisons}) > 1,
        chart=Markup(chart) if chart else None,  # noqa: S704 (drawn from numbers)
        overlaps=[overlap_sentence(one.title, overlap, words) for one in report.benchmarks for overlap in one.overlaps],
        figure=figure,
    )


def _after_verdict(sentence: str) -> str:
    """The badge says the verdict: what follows it."""
    return re.sub(r"^(better|worse|cannot tell)(: | )", "", sentence)


def _typeset(text: str) -> str:
    """Real minus signs."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _chart(comparisons: Sequence[TaskComparison]) -> str | None:
    """Differences with their intervals on one axis; None where there are none, or several pairs of models."""
    drawn = [one for one in comparisons if one.interval]
    if not drawn or len({(one.model, one.against) for one in drawn}) > 1 or not all(one.higher_is_better for one in drawn):
        return None

    def draw(picture: Figure) -> None:
        axes = picture.subplots()
        axes.axvline(0, color=MUTED, linewidth=1)
        for row, one in enumerate(reversed(drawn)):
            marker, colour, fill = _LOOK[one.verdict]
            assert one.interval
            axes.plot(list(one.interval), [row, row], color=colour, linewidth=2.2)
            axes.plot([one.difference], [row], marker, markersize=8, markeredgecolor=colour, markerfacecolor=fill, mew=1.8)
        axes.set_yticks(range(len(drawn)), [one.title for one in reversed(drawn)])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(drawn) - 0.4)
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.spines.left.set_visible(False)
        axes.set_xlabel("difference, better →", loc="right")

    return svg(draw, name="benchmarks", height=0.9 + 0.46 * len(drawn))
