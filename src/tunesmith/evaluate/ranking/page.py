"""A ranking as a page for people: one HTML file, no network, no scripts.

    write_text(Path("ranking.html"), render_ranking(ranking, title="votes.jsonl"))

Names of models are escaped by jinja2, and by matplotlib in the chart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tunesmith.evaluate.ranking import lines
from tunesmith.evaluate.ranking.rank import Ranking, Standing
from tunesmith.evaluate.ranking.win_rates import Duel
from tunesmith.pages import BLUE, INK, MUTED, environment, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_LABEL = 28
_FULL_TINT = 45
"""Per cent of colour behind a win rate of 0 or 1."""


class Cell(NamedTuple):
    """How the row's model did against the column's."""

    text: str
    detail: str
    colour: str
    """A CSS variable, blue for winning."""
    tint: int
    """Per cent of it."""


def render_ranking(ranking: Ranking, *, title: str) -> str:
    """The whole page; `title` says what was ranked."""
    from markupsafe import Markup

    charts = [rating_chart(group, name=f"group{number}") for number, group in enumerate(ranking.groups)]
    page: str = (
        environment("tunesmith.evaluate.ranking")
        .get_template("ranking.html")
        .render(
            title=title,
            claim=_claim(ranking),
            summary=lines.summary(ranking),
            head=lines.HEAD,
            tables=[[lines.table_row(place, one) for place, one in enumerate(group, start=1)] for group in ranking.groups],
            charts=[Markup(chart) for chart in charts],  # noqa: S704 (drawn from numbers and escaped names)
            matrix=win_matrix(ranking),
            models=ranking.models,
            leads=[_typeset(lines.lead_sentence(lead)) for lead in ranking.leads],
            duels=[_typeset(lines.duel_sentence(duel)) for duel in ranking.duels],
            notes=ranking.notes,
            method=list(lines.method(ranking)),
        )
    )
    return page


def _claim(ranking: Ranking) -> str:
    if len(ranking.groups) > 1:
        return f"{len(ranking.groups)} groups of models that never met"
    first = ranking.leads[0]
    return f"{first.ahead} leads" if first.is_sure else f"Cannot tell {first.ahead} from {first.behind}"


def _typeset(text: str) -> str:
    return re.sub(r"(?<!\w)-(?=\d)", "−", text).replace(" %", "\u00a0%")


def rating_chart(standings: Sequence[Standing], *, name: str) -> str:
    """Ratings with their intervals, the best on top."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(1000, color=MUTED, linewidth=1)
        for row, standing in enumerate(reversed(standings)):
            if standing.interval:
                axes.plot(standing.interval, [row, row], color=BLUE, linewidth=2.2)
            axes.plot([standing.rating], [row], "o", color=BLUE, markersize=7)
        axes.set_yticks(range(len(standings)), [_short(standing.model) for standing in reversed(standings)])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_ylim(-0.6, len(standings) - 0.4)
        axes.margins(x=0.08)
        axes.grid(visible=False, axis="y")
        axes.spines.left.set_visible(False)
        axes.set_xlabel("rating, better →", loc="right")

    return svg(draw, name=name, height=0.8 + 0.36 * len(standings))


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…"


def win_matrix(ranking: Ranking) -> list[list[Cell | None]]:
    """Row against column, models as in `ranking.models`; None where they never met."""
    cells: Mapping[tuple[str, str], Cell] = {pair: cell for duel in ranking.duels for pair, cell in _both_cells(duel)}
    return [[cells.get((row, column)) for column in ranking.models] for row in ranking.models]


def _both_cells(duel: Duel) -> list[tuple[tuple[str, str], Cell]]:
    sides = [((duel.first, duel.second), duel.wins, duel.losses), ((duel.second, duel.first), duel.losses, duel.wins)]
    return [(pair, _cell(wins, duel.ties, losses)) for pair, wins, losses in sides]


def _cell(wins: int, ties: int, losses: int) -> Cell:
    rate = (wins + ties / 2) / (wins + ties + losses)
    detail = f"{wins:,} won, {ties:,} tied, {losses:,} lost"
    return Cell(f"{100 * rate:.0f}", detail, "--blue" if rate >= 0.5 else "--orange", round(abs(2 * rate - 1) * _FULL_TINT))
