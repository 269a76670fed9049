"""Findings as a page for people: one HTML file, no network, no scripts, readable on a phone, in dark mode and on paper.

    text = render_page(json.loads(Path("prepared/faq/report.json").read_text()), title="prepared/faq")
    write_text(Path("prepared/faq/report.html"), text)

Everything that stands in the data goes through jinja2's autoescape; only the charts, drawn here from numbers and names, are markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.checks.charts import bar_chart, length_chart
from tunesmith.data.checks.finding import SEVERITIES, Severity, counted, percent
from tunesmith.data.checks.registry import CHECKS
from tunesmith.pages import environment

LONGEST_SUMMARY_LINE = 600
SPLITS = ("train", "validation", "test")
LANGUAGES_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """One drawing and the sentence under it."""

    drawing: str
    caption: str


def render_page(report: Mapping[str, Any], *, title: str) -> str:
    """The whole page.

    Args:
        report: what `report.json` holds, or the document of `tunesmith check --json`: `findings` (each as `Finding.to_json` gives it);
            where there are any, also `summary` and `notes` (lines), `counts` (with the sizes of the splits).
        title: what was looked at.
    """
    findings: Sequence[Mapping[str, Any]] = report["findings"]
    by_severity = {severity: [one for one in findings if one["severity"] == severity] for severity in SEVERITIES}
    page: str = _template().render(
        title=title,
        claim=_claim(by_severity),
        summary=[line[:LONGEST_SUMMARY_LINE] for line in report.get("summary", ()) if not line.startswith("note: ")],
        notes=report.get("notes", ()),
        by_severity=by_severity,
        charts=_charts(report),
        topics=next((one["figures"]["topics"] for one in findings if one["check"] == "topics"), ()),
        abouts={name: entry.about for name, entry in CHECKS.items()},
    )
    return page


def _claim(by_severity: Mapping[Severity, Sequence[Any]]) -> str:
    """The page in a few words."""
    said = [counted(len(found), severity) for severity, found in by_severity.items() if found and severity != "note"]
    return " and ".join(said) if said else "Nothing is wrong that a check can see"


def _charts(report: Mapping[str, Any]) -> list[Chart]:
    figures = {one["check"]: one["figures"] for one in report["findings"]}
    charts = _length_charts(figures.get("lengths"), figures.get("over-length", {}).get("limit"))
    for one in report["findings"]:
        if one["check"] == "class-balance":
            caption = f"How often each class is the answer; as hard to guess as {one['figures']['effective_classes']:g} even classes."
            charts.append(
                Chart(drawing=bar_chart(list(one["figures"]["classes"].items()), "examples", name=f"classes{len(charts)}"), caption=caption)
            )
    shares = figures.get("languages", {}).get("shares", {})
    if shares:
        ranked = [(code, 100 * share) for code, share in shares.items()][:LANGUAGES_SHOWN]
        caption = "Languages of the answers, where they can be told."
        charts.append(Chart(drawing=bar_chart(ranked, "% of the answers", name="languages"), caption=caption))
    sizes = [(name, report.get("counts", {}).get(name, 0)) for name in SPLITS]
    if any(size for _, size in sizes):
        charts.append(Chart(drawing=bar_chart(sizes, "examples", name="splits"), caption="Examples of each split."))
    return charts


def _length_charts(figures: Mapping[str, Any] | None, limit: int | None) -> list[Chart]:
    if figures is None:
        return []
    unit = figures["unit"]
    parts = {**figures["parts"], **({"prompt and answer": figures["whole"]} if len(figures["parts"]) > 1 else {})}
    charts = []
    for number, (part, numbers) in enumerate(parts.items()):
        drawing = length_chart(numbers, unit, name=f"length{number}", limit=limit if number == len(parts) - 1 else None)
        spread = f"median {numbers['median']:,.0f}, 95 % within {numbers['p95']:,.0f}, longest {numbers['max']:,} {unit}"
        charts.append(Chart(drawing=drawing, caption=f"{part.capitalize()}: {spread}. The line: how many are at most so long."))
    return charts


def _template() -> Any:
    from markupsafe import Markup

    pages = environment("tunesmith.data.checks")
    pages.filters |= {"percent": percent, "drawn": Markup, "typeset": _typeset}  # `drawn` is for charts alone
    pages.globals |= {"counted": counted}
    return pages.get_template("check.html")


def _typeset(text: str) -> str:
    """No line break between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", "\u00a0%", text)
