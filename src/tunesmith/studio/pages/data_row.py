"""One row of a data set: in a list with its buttons, and on a page of its own with the tokens that a model sees."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from nicegui import ui

from tunesmith.assets import list_models
from tunesmith.errors import TunesmithError
from tunesmith.studio.asking import ask
from tunesmith.studio.pages.data_reading import SPLITS, Row, open_rows
from tunesmith.studio.pages.data_review import Draft
from tunesmith.studio.readable import Unreadable, find, items, number, shown, text
from tunesmith.studio.reading import DataSummary, RunSummary
from tunesmith.studio.shell import Studio, not_found
from tunesmith.studio.theme import length_options
from tunesmith.studio.widgets import alert, card, facts, heading, muted, shown_number, spans_view, tag

if TYPE_CHECKING:
    from tunesmith.studio.pages.data_version import Drafts

MOST_EDITED = 200_000
"""Characters of a text that is edited in a page."""


class Place(NamedTuple):
    """Where a row stands."""

    split: str
    number: int
    """From 0, in its split."""


def install(studio: Studio, drafts: Drafts) -> None:
    """The page at `/data/row?set=NAME&split=train&row=N`, N from 1."""

    @studio.page("/data/row", title="Row", section="Data", first_heading=None)
    async def row_page(set: str = "", split: str = "train", row: int = 1) -> None:
        data = await to_thread(studio.library.data_set, set)
        if data is None or data.reason is not None or split not in SPLITS:
            heading("No such row", level=1)
            not_found("There is no prepared data set of this name, or it has no such split.")
            return
        rows = await to_thread(studio.library.document, data.path / f"{split}.jsonl", "rows", open_rows)
        if not 1 <= row <= len(rows):
            heading("No such row", level=1)
            not_found(f"The {split} split has {len(rows):,} rows.")
            return
        await RowPage(studio, data, drafts, Place(split, row - 1), len(rows)).build(rows.at([row - 1])[0])


def row_address(data: str, place: Place) -> str:
    """The page of one row."""
    return f"/data/row?{urlencode({'set': data, 'split': place.split, 'row': place.number + 1})}"


Changed = Callable[[], Awaitable[None]]


def row_view(data: DataSummary, draft: Draft, place: Place, row: Row, *, changed: Changed, whole: bool = False) -> None:
    """A row in a box: where it is from, what it says, what was decided, and the buttons to decide it."""
    decision = _decision(draft, row)
    with card().props(f"data-decision={'drop' if decision == 'drop' else 'edit' if decision else 'keep'}"):
        with ui.element("div").classes("ts-row ts-spread"):
            with ui.element("div").classes("ts-row"):
                if whole:
                    tag("strong", row.source)
                else:
                    ui.link(row.source, row_address(data.name, place)).classes("ts-run-name")
                tag("span", place.split).classes("ts-chip")
                if row.label is not None:
                    tag("span", "desirable" if row.label else "undesirable").classes("ts-chip")
                if decision:
                    tag("span", "to be dropped" if decision == "drop" else "edited").classes("ts-decision")
            if draft.refusal is None:
                _buttons(draft, row, decision, changed)
        _said(row, draft, whole=whole)


def _decision(draft: Draft, row: Row) -> str:
    try:
        line = draft.decision(row)
    except Unreadable:
        return ""
    return line["decision"] if line else ""


def _said(row: Row, draft: Draft, *, whole: bool) -> None:
    clip = "ts-text" if whole else "ts-text ts-clip"
    messages = row.messages[:-1]
    for role, content in messages:
        if len(messages) > 1 or role != "user":
            muted(role).classes("ts-small")
        ui.label(content).classes(f"{clip} ts-strong")
    ui.label(row.answer).classes(clip)
    if row.rejected is not None:
        muted("rejected").classes("ts-small")
        ui.label(row.rejected).classes(clip)
    if _decision(draft, row) == "edit" and (line := draft.decision(row)):
        muted("as edited").classes("ts-small")
        if line["prompt"] and line["prompt"] != row.prompt:
            ui.label(shown(line["prompt"])).classes(f"{clip} ts-strong")
        ui.label(shown(line["answer"])).classes(f"{clip} ts-edited")


def _buttons(draft: Draft, row: Row, decision: str, changed: Changed) -> None:
    async def drop() -> None:
        await _try(lambda: draft.decide(row, "drop", prompt=row.prompt, answer=row.answer), changed)

    async def undo() -> None:
        line = draft.decision(row)
        if line:
            await _try(lambda: draft.forget(line["id"]), changed)

    with ui.element("div").classes("ts-row"):
        _button("Edit", "edit", lambda: _edit(draft, row, changed))
        if decision:
            _button("Undo", "undo", undo)
        if decision != "drop":
            _button("Drop", "delete", drop)


def _button(label: str, icon: str, pressed: Callable[[], Any]) -> None:
    ui.button(label, icon=icon, on_click=pressed).props("outline dense padding='xs sm'")


async def _try(decide: Callable[[], None], changed: Changed) -> bool:
    try:
        await to_thread(decide)
    except (TunesmithError, Unreadable, OSError) as error:
        ui.notify(str(error), type="negative", multi_line=True)
        return False
    await changed()
    return True


def editable(row: Row) -> tuple[str, str] | None:
    """Prompt and answer to the character; None where a page cannot hold them without changing them."""
    messages = [one for one in items(row.record, "messages") if isinstance(find(one, "content"), str)]
    prompt = next((one["content"] for one in reversed(messages) if one.get("role") == "user"), "")
    answer = messages[-1]["content"] if messages else row.record.get("text")
    if not isinstance(answer, str) or any(shown(one, most=MOST_EDITED) != one for one in (prompt, answer)):
        return None
    return prompt, answer


def _edit(draft: Draft, row: Row, changed: Changed) -> None:
    """A dialog with the texts."""
    texts = editable(row)
    if texts is None:
        ui.notify("It holds characters that a page would change, or is too long: edit it in its source.", type="negative")
        return
    line = draft.decision(row)
    first = (line["prompt"], line["answer"]) if line and line["decision"] == "edit" else texts
    with ui.dialog() as dialog, ui.card().classes("ts-dialog"):
        heading(f"Edit {row.source}")
        prompt = None if row.is_text else ui.textarea("Prompt", value=first[0]).props("outlined autogrow").classes("ts-wide")
        answer = ui.textarea("Text" if row.is_text else "Answer", value=first[1]).props("outlined autogrow").classes("ts-wide")

        async def save() -> None:
            said = (prompt.value or "") if prompt else "", answer.value or ""
            if await _try(lambda: draft.decide(row, "edit", prompt=said[0], answer=said[1]), changed):
                dialog.close()

        with ui.element("div").classes("ts-row"):
            ui.button("Keep this edit", on_click=save)
            ui.button("Cancel", on_click=dialog.close).props("outline")
    dialog.open()


class RowPage:
    """One row, whole, and its tokens."""

    def __init__(self, studio: Studio, data: DataSummary, drafts: Drafts, place: Place, num_rows: int) -> None:
        self.studio, self.data, self.drafts, self.place, self.num_rows = studio, data, drafts, place, num_rows

    async def build(self, row: Row) -> None:
        self.row = row
        self.draft = await to_thread(self.drafts.of, self.data)
        heading(row.source, level=1)
        with ui.element("nav").classes("ts-row").props('aria-label="Rows"'):
            ui.link(self.data.name, f"/data?{urlencode({'set': self.data.name})}")
            for name, number_ in (("Previous row", self.place.number - 1), ("Next row", self.place.number + 1)):
                if 0 <= number_ < self.num_rows:
                    ui.link(name, row_address(self.data.name, Place(self.place.split, number_)))
        self.view = ui.element("div")
        await self._show()
        if self.draft.changes:
            ui.link("Changes so far, and the new version", f"/data?{urlencode({'set': self.data.name})}")
        await self._tokens()

    async def _show(self) -> None:
        self.view.clear()
        with self.view:
            row_view(self.data, self.draft, self.place, self.row, changed=self._show, whole=True)

    async def _tokens(self) -> None:
        runs = await to_thread(self.studio.library.runs)
        choices = await to_thread(model_choices, runs, self.data)
        with card():
            heading("Tokens")
            with ui.element("div").classes("ts-row"):
                chosen = ui.select(choices, value=next(iter(choices), None), label="Model", with_input=True)
                chosen.props("outlined dense options-dense stack-label").classes("ts-search")
                button = ui.button("Show the tokens", icon="visibility", on_click=lambda: self._ask(str(chosen.value or ""))).props(
                    "outline"
                )
            self.button = button
            self.answer = ui.element("div").classes("ts-stack")

    async def _ask(self, model: str) -> None:
        if not model:
            return
        words = [
            "preview",
            str(self.data.path),
            f"--model={model}",
            f"--split={self.place.split}",
            f"--index={self.place.number + 1}",
            "--json",
        ]
        self.button.disable()
        self._answer(lambda: muted("Reading the data with the model's tokenizer").props("role=status"))
        try:
            found = await ask(words)
        except TunesmithError as error:
            reason = error.found.removeprefix("error: ")
            self._answer(lambda: alert(reason))
        else:
            self._answer(lambda: _tokens_view(found))
        finally:
            self.button.enable()

    def _answer(self, show: Callable[[], Any]) -> None:
        self.answer.clear()
        with self.answer:
            show()


def _tokens_view(found: dict[str, Any]) -> None:
    """What the model sees of the example, and how long all of the split are."""
    for example in items(found, "examples"):
        muted("Tokens with a green ground are what it learns to write.").classes("ts-small")
        spans_view(items(example, "spans"))
        if rejected := items(example, "rejected", "spans"):
            muted("rejected").classes("ts-small")
            spans_view(rejected)
        facts([("Tokens", f"{len(items(example, 'token_ids')):,}"), ("Supervised", f"{sum(map(bool, items(example, 'supervised'))):,}")])
    muted(
        f"Of the {text(found, 'split') or ''} split: {shown_number(number(found, 'num_examples'))} examples, the longest has "
        f"{shown_number(number(found, 'longest'))} tokens, {shown_number(number(found, 'num_over_length'))} are over "
        f"{shown_number(number(found, 'max_length'))}."
    )
    ui.echart(length_options(found.get("lengths"))).classes("ts-chart").props('role=img aria-label="Lengths of the examples in tokens"')


def model_choices(runs: list[RunSummary], data: DataSummary) -> dict[str, str]:
    """Finished runs, those on this data set first, then the named models that are on this machine."""
    finished = sorted((run for run in runs if run.status == "finished"), key=lambda run: run.data != str(data.path.resolve()))
    local = {one.name: one.name for one in list_models() if one.disk_bytes}
    return {str(run.path): f"run {run.name} ({run.model})" for run in finished} | local
