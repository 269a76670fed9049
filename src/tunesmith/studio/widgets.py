"""What several pages show. All texts are text: nothing here interprets markup."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from tunesmith.studio.readable import find, text
from tunesmith.studio.reading import RunSummary, Score

NONE = "–"
"""In the place of a value that there is none of."""


def tag(name: str, content: str = "") -> TextElement:
    """An element of HTML with text in it."""
    return TextElement(tag=name, text=content)


def heading(content: str, *, level: int = 2) -> TextElement:
    """`h2`, or another level."""
    return tag(f"h{level}", content)


def alert(content: str) -> ui.label:
    """What went wrong."""
    return ui.label(content).classes("ts-alert").props("role=alert")


def note(content: str) -> ui.label:
    """What is good to know."""
    return ui.label(content).classes("ts-note")


def muted(content: str) -> ui.label:
    """An aside."""
    return ui.label(content).classes("ts-muted")


def code(content: str) -> TextElement:
    """A command or a file, in a box, to be selected and copied."""
    return tag("pre", content).classes("ts-code").props("tabindex=0")


def card() -> ui.element:
    """A box to put things in: `with card(): ...`."""
    return ui.element("section").classes("ts-card")


def facts(pairs: Iterable[tuple[str, str]]) -> ui.element:
    """Names and values, below each other."""
    with ui.element("dl").classes("ts-facts") as made:
        for name, value in pairs:
            tag("dt", name)
            tag("dd", value)
    return made


def many_facts(pairs: Iterable[tuple[str, str]]) -> ui.element:
    """Names and values in as many columns as there is room for."""
    with ui.element("dl").classes("ts-facts ts-columns") as made:
        for name, value in pairs:
            with ui.element("div"):
                tag("dt", name)
                tag("dd", value)
    return made


def spans_view(spans: Iterable[object]) -> ui.element:
    """An example as the model sees it: `[{"text", "supervised"}]`, the supervised ones coloured."""
    with ui.element("pre").classes("ts-code").props("tabindex=0") as made:
        for span in spans:
            tag("span", text(span, "text") or "").classes("ts-supervised" if find(span, "supervised") is True else "ts-given")
    return made


def status_badge(status: str) -> TextElement:
    """The status of a run, coloured and in words."""
    return tag("span", status).classes("ts-status").props(f"data-status={status}")


def run_address(name: str) -> str:
    """The page of a run."""
    return f"/runs/{quote(name, safe='')}"


def shown_path(path: Path | str) -> str:
    """Below the directory where the studio was started as it would be typed there."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else str(path)


def shown_command(command: str | Sequence[str]) -> str:
    """A command with its paths as `shown_path` has them; of words, as one would type them."""
    line = command if isinstance(command, str) else shlex.join(command)
    return line.replace(f"{Path.cwd()}/", "")


def shown_moment(created: str) -> str:
    """`2026-01-31T14:25:01+0000` -> `2026-01-31 14:25`."""
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return created[:40]


def shown_number(value: float | None, form: str = "{:,.0f}") -> str:
    """A number, or a dash."""
    return NONE if value is None else form.format(value)


def shown_score(score: Score) -> str:
    """`ROUGE-L 0.38 (+0.17 [+0.14, +0.21])`."""
    places = score.decimals
    low, high = score.interval
    return f"{score.title} {score.tuned:.{places}f} ({score.difference:+.{places}f} [{low:+.{places}f}, {high:+.{places}f}])"


def shown_steps(run: RunSummary) -> str:
    """`40 of 320`, or the number alone when all are done."""
    if run.planned_steps is None or run.num_steps == run.planned_steps:
        return f"{run.num_steps:,}"
    return f"{run.num_steps:,} of {run.planned_steps:,}"


def data_table(
    columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], *, key: str, link: str | None = None, per_page: int = 0
) -> ui.table:
    """A table with headings that sort by key and mouse; at phone width every row is a card.

    Args:
        columns: Quasar's, `{"name", "label", "field", "sortable", "align"}`; `field` is what sorts; what shows is a row's `NAME_text`
            where there is one, as a badge where there is a `NAME_status`.
        rows: texts and numbers; `key` names the column that tells them apart.
        link: the column whose cell leads to the row's `address`.
        per_page: rows in a page; 0 shows all.
    """
    table = ui.table(columns=[dict(one) for one in columns], rows=[dict(row) for row in rows], row_key=key, pagination=per_page or None)
    table.classes("ts-cards w-full").props("flat wrap-cells dense")
    table.add_slot("header-cell", _HEADER)
    table.add_slot("body-cell", _CELL)
    if link:
        table.add_slot(f"body-cell-{link}", _LINK)
    return table


_HEADER = """
<q-th :props="props" :aria-sort="props.col.sortable ? 'none' : undefined">
  <button v-if="props.col.sortable" type="button" class="ts-sort">{{ props.col.label }}</button>
  <span v-else>{{ props.col.label }}</span>
</q-th>
"""
_CELL = """
<q-td :props="props" :data-label="props.col.label" :data-empty="props.value === '' || props.value == null ? '' : undefined"
  ><span :data-status="props.row[props.col.name + '_status']" :class="props.row[props.col.name + '_status'] ? 'ts-status' : ''"
  >{{ props.row[props.col.name + '_text'] ?? props.value }}</span></q-td>
"""
_LINK = """
<q-td :props="props" :data-label="props.col.label" data-lead><a class="ts-run-name" :href="props.row.address">{{ props.value }}</a></q-td>
"""
