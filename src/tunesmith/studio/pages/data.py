"""Prepared data sets: what there is, what the checks found, the rows with search and filters, edits that become a new version.

`/data` lists the sets, `/data?set=NAME` is one of them; `data_row.py` has the page of one row.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from nicegui import ui

from tunesmith.studio.pages import data_row
from tunesmith.studio.pages.data_findings import FlaggedRows, read_flagged
from tunesmith.studio.pages.data_reading import SPLITS, Row, Rows, open_rows, word_lengths
from tunesmith.studio.pages.data_row import Place, row_view
from tunesmith.studio.pages.data_version import ChangesCard, Drafts
from tunesmith.studio.pages.pager import Pager
from tunesmith.studio.readable import Unreadable, items, read_object, text
from tunesmith.studio.reading import DataSummary
from tunesmith.studio.reports import is_inside
from tunesmith.studio.shell import Studio, not_found
from tunesmith.studio.theme import length_options
from tunesmith.studio.widgets import alert, card, code, data_table, heading, muted, shown_path, tag

PER_PAGE = 15
MOST_AT_ONCE_BYTES = 16 * 1024 * 1024
"""Of a data set that is searched before its page is sent: a third of a second's work."""
MOST_SETS = 50
"""Data sets in a page of the list."""
ANY = "any"
CHOICE = "outlined dense options-dense stack-label"

SET_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "name", "label": "Data set", "field": "name", "sortable": True, "align": "left"},
    {"name": "train", "label": "Train", "field": "train", "sortable": True, "align": "right"},
    {"name": "validation", "label": "Validation", "field": "validation", "sortable": True, "align": "right"},
    {"name": "test", "label": "Test", "field": "test", "sortable": True, "align": "right"},
    {"name": "template", "label": "Template", "field": "template", "sortable": True, "align": "left"},
    {"name": "runs", "label": "Runs", "field": "runs", "sortable": True, "align": "right"},
    {"name": "reason", "label": "Remark", "field": "reason", "align": "left"},
)
FINDING_COLUMNS: tuple[Mapping[str, Any], ...] = (
    {"name": "check", "label": "Check", "field": "check", "align": "left"},
    {"name": "severity", "label": "Severity", "field": "severity", "align": "left"},
    {"name": "sentence", "label": "Finding", "field": "sentence", "align": "left"},
    {"name": "action", "label": "What was done", "field": "action", "align": "left"},
)


def install(studio: Studio) -> None:
    """The pages at `/data` and `/data/row`."""
    drafts = Drafts(studio)
    data_row.install(studio, drafts)

    @studio.page("/data", title="Data", section="Data", first_heading=None)
    async def data_page(set: str = "", split: str = "", words: str = "", finding: str = "", page: int = 1) -> None:
        if not set:
            heading("Data", level=1)
            await _sets(studio)
            return
        data = await to_thread(studio.library.data_set, set)
        if data is None:
            heading("No such data set", level=1)
            not_found("There is no prepared data set of this name.")
            return
        heading(data.name, level=1)
        if data.reason is not None:
            alert(f"It cannot be read: {data.reason}")
            return
        ui.page_title(f"{data.name} - tunesmith studio")
        await DataPage(studio, data, drafts, Asked(split=split, words=words, finding=finding)).build(page)


async def _sets(studio: Studio) -> None:
    sets = await to_thread(studio.library.data_sets)
    runs = await to_thread(studio.library.runs)
    if not sets:
        muted(f"There are no prepared data sets in {shown_path(studio.library.data_dir)}. Make one:")
        code("tunesmith prepare faq.csv --out prepared/faq")
        return
    trained = [run.data for run in runs]
    rows = [
        {
            "name": one.name,
            "address": set_address(one.name),
            **dict(zip(SPLITS, one.num_examples, strict=True)),
            "template": one.template,
            "runs": trained.count(str(one.path.resolve())),
            "reason": f"cannot be read: {one.reason}" if one.reason else "",
        }
        for one in sets
    ]
    data_table(SET_COLUMNS, rows, key="name", link="name", per_page=MOST_SETS if len(rows) > MOST_SETS else 0)


def set_address(name: str, **more: str | int) -> str:
    """The page of a data set."""
    return f"/data?{urlencode({'set': name, **{key: value for key, value in more.items() if value}})}"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which rows to show."""

    split: str = ""
    words: str = ""
    finding: str = ""


class DataPage:
    """One data set."""

    def __init__(self, studio: Studio, data: DataSummary, drafts: Drafts, asked: Asked) -> None:
        self.studio, self.data, self.drafts, self.asked = studio, data, drafts, asked
        self.rows: dict[str, Rows] = {}

    async def build(self, page: int) -> None:
        self.draft = await to_thread(self.drafts.of, self.data)
        self.rows = await to_thread(self._open)
        self.report = await to_thread(self._read_report)
        self._head()
        self.changes = ChangesCard(self.studio, self.data, self.draft, changed=self._draw)
        self._findings()
        lengths = ui.element("div").classes("ts-grid ts-charts ts-later")
        tag("a").props("name=rows").classes("ts-anchor")
        heading("Rows")
        await self._list(page)
        self._lengths(lengths)

    def _open(self) -> dict[str, Rows]:
        library = self.studio.library
        return {split: library.document(self.data.path / f"{split}.jsonl", "rows", open_rows) for split in SPLITS}

    def _read_report(self) -> Mapping[str, Any]:
        try:
            return self.studio.library.document(self.data.path / "report.json", "report", read_object)
        except Unreadable:
            return {}

    def _head(self) -> None:
        counts = ", ".join(f"{len(rows):,} {split}" for split, rows in self.rows.items())
        with ui.element("div").classes("ts-row"):
            muted(f"{counts}; template {self.data.template or '?'}")
            ui.link("All data sets", "/data")
            if "/new" in self.studio.paths:
                ui.link("Train on it", f"/new?{urlencode({'data': self.data.name})}")
            if is_inside(self.data.path / "report.html", self.data.path):
                ui.link("Report of the checks", f"/reports/data/{quote(self.data.name)}", new_tab=True)
        muted(shown_path(self.data.path)).classes("ts-small ts-text")

    def _findings(self) -> None:
        found = [one for one in items(self.report, "findings") if text(one, "check")]
        heading("What the checks found")
        if not found:
            muted("Nothing, or they were not run when it was prepared:")
            code(f"tunesmith check {shown_path(self.data.path)}")
            return
        rows = [
            {
                "check": text(one, "check"),
                "key": number,
                "address": f"{set_address(self.data.name, finding=text(one, 'check') or '')}#rows",
                "severity": text(one, "severity") or "",
                "sentence": text(one, "sentence") or "",
                "action": f"{text(one, 'action') or ''}; {text(one, 'option')}" if text(one, "option") else text(one, "action") or "",
            }
            for number, one in enumerate(found)
        ]
        data_table(FINDING_COLUMNS, rows, key="key", link="check")

    def _lengths(self, place: ui.element) -> None:
        """Drawn once the page has come."""

        async def draw() -> None:
            lengths = await to_thread(lambda: self.studio.library.document(self.data.path / "train.jsonl", "lengths", _lengths_of))
            with place:
                for part, found in lengths.items():
                    with card():
                        heading(f"Words of the {part}s")
                        options = length_options(found)
                        options["xAxis"]["name"] = "words, up to"
                        ui.echart(options).classes("ts-chart").props(f'role=img aria-label="Lengths in words, {part}"')

        ui.timer(0.05, draw, once=True)

    async def _list(self, page: int) -> None:
        checks = {name: name for one in items(self.report, "findings") if (name := text(one, "check"))}
        with ui.element("div").classes("ts-row").props("role=search"):
            made = ui.input("Search in the rows", value=self.asked.words, on_change=lambda event: self._ask(words=event.value or ""))
            made.props("outlined dense clearable type=search debounce=300 stack-label").classes("ts-search")
            splits = {ANY: "all"} | {split: split for split in SPLITS}
            chosen = self.asked.split if self.asked.split in SPLITS else ANY
            ui.select(splits, value=chosen, label="Split", on_change=lambda event: self._ask(split=_given(event.value))).props(
                CHOICE
            ).classes("ts-choice")
            if self.asked.finding and self.asked.finding not in checks:
                checks[self.asked.finding] = self.asked.finding
            if checks:
                ui.select(
                    {ANY: "any"} | checks,
                    value=self.asked.finding or ANY,
                    label="Finding",
                    on_change=lambda event: self._ask(finding=_given(event.value)),
                ).props(CHOICE).classes("ts-choice")
        self.said = muted("").classes("ts-small").props("role=status")
        self.pager = Pager(PER_PAGE, noun="rows", changed=self._turned)
        self.pager.page = page
        self.place = ui.element("div").classes("ts-stack")
        self.pager.build_below()
        num_bytes = sum(rows.num_bytes for rows in self.rows.values())
        if self.asked.finding or (self.asked.words and num_bytes > MOST_AT_ONCE_BYTES):  # it may take seconds: the page comes first
            ui.timer(0.05, self._find, once=True)
        else:
            await self._find()

    async def _ask(self, **changes: str) -> None:
        asked = replace(self.asked, **changes)
        if asked != self.asked:
            self.asked, self.pager.page = asked, 1
            await self._find()
            self._keep_address()

    async def _turned(self) -> None:
        await self._draw()
        self._keep_address()

    def _keep_address(self) -> None:
        page = self.pager.page if self.pager.page > 1 else 0
        asked = self.asked
        ui.navigate.history.replace(set_address(self.data.name, split=asked.split, words=asked.words, finding=asked.finding, page=page))

    async def _find(self) -> None:
        self.said.text = f"Looking for what {self.asked.finding} flags" if self.asked.finding else ""
        try:
            self.found = await to_thread(self._matching)
            self.said.text = ""
        except Unreadable as reason:
            self.found, self.said.text = [], str(reason)
        self.pager.set_total(len(self.found))
        await self._draw()

    def _matching(self) -> list[Place]:
        flagged: FlaggedRows | None = None
        if self.asked.finding:
            name = self.asked.finding
            flagged = self.studio.library.document(
                self.data.path / "manifest.json", f"finding {name}", lambda _: read_flagged(self.data, name)
            )
        found: list[Place] = []
        for split in SPLITS:
            if self.asked.split in ("", split):
                places = self.rows[split].matching(self.asked.words)
                inside = places if flagged is None else [place for place in places if place in flagged[split]]
                found += [Place(split, place) for place in inside]
        return found

    async def _draw(self) -> None:
        chosen = list(self.pager.slice(self.found))
        rows = await to_thread(self._read, chosen)
        self.place.clear()
        with self.place:
            if not rows:
                muted("No row is like that.")
            for place, row in zip(chosen, rows, strict=True):
                row_view(self.data, self.draft, place, row, changed=self._changed)

    def _read(self, places: list[Place]) -> list[Row]:
        return [self.rows[place.split].at([place.number])[0] for place in places]

    async def _changed(self) -> None:
        self.changes.show()
        await self._draw()


def _lengths_of(file: Any) -> dict[str, dict[str, Any]]:
    return word_lengths(open_rows(file))


def _given(value: str) -> str:
    return "" if value == ANY else value
