"""Examples that runs answer differently, their answers side by side."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Sequence

from nicegui import ui

from tunesmith.studio.pages.compare_reading import Compared, differing
from tunesmith.studio.pages.examples import CHOICE, Marked, answer_view, example_address, marked
from tunesmith.studio.pages.pager import Pager
from tunesmith.studio.widgets import card, muted, tag

PER_PAGE = 10


class DifferingExamples:
    """Search, a choice of how they differ, and pages."""

    def __init__(self, compared: Sequence[Compared]) -> None:
        self.compared = compared
        self.kind, self.words = "answers", ""

    async def build(self) -> None:
        first = self.compared[0].run.name
        kinds = {"answers": "the answers differ", "gained": f"{first} wrong, another right", "lost": f"{first} right, another wrong"}
        with ui.element("div").classes("ts-row").props("role=search"):
            made = ui.input("Search in the examples", on_change=lambda event: self._ask(words=event.value or ""))
            made.props("outlined dense clearable type=search debounce=300 stack-label").classes("ts-search")
            chosen = ui.select(kinds, value=self.kind, label="How they differ", on_change=lambda event: self._ask(kind=event.value))
            chosen.props(CHOICE).classes("ts-choice")
        self.pager = Pager(PER_PAGE, noun="examples", changed=self._draw)
        self.place = ui.element("div").classes("ts-stack")
        self.pager.build_below()
        await self._find()

    async def _ask(self, *, kind: str | None = None, words: str | None = None) -> None:
        asked = (self.kind if kind is None else kind, self.words if words is None else words)
        if asked != (self.kind, self.words):
            self.kind, self.words = asked
            self.pager.page = 1
            await self._find()

    async def _find(self) -> None:
        self.ids = await to_thread(differing, self.compared, self.kind, self.words)
        self.pager.set_total(len(self.ids))
        await self._draw()

    async def _draw(self) -> None:
        chosen = list(self.pager.slice(self.ids))
        answers = await to_thread(lambda: [self._marked(id_) for id_ in chosen])
        self.place.clear()
        with self.place:
            if not chosen:
                muted("No example is like that.")
            for id_, spans in zip(chosen, answers, strict=True):
                with card():
                    self._card(id_, spans)

    def _marked(self, id_: str) -> list[Marked]:
        found = [(one, one.example(id_)) for one in self.compared]
        return [marked(one.run.name, example.completion("tuned"), example.text("reference")) for one, example in found if example]

    def _card(self, id_: str, answers: Sequence[Marked]) -> None:
        example = self.compared[0].example(id_)
        if example is None:
            return
        tag("strong", example.text("source") or id_).classes("ts-text")
        ui.label(example.text("prompt")).classes("ts-text ts-strong ts-clip")
        with ui.element("div").classes("ts-answers"):
            with ui.element("div"):
                muted("reference").classes("ts-small")
                ui.label(example.text("reference")).classes("ts-text ts-clip")
            for one, answer in zip(self.compared, answers, strict=True):
                with ui.element("div"):
                    right = one.is_right(id_)
                    with ui.element("div").classes("ts-row ts-small"):
                        ui.link(one.run.name, example_address(one.run.name, id_))
                        if right is not None:
                            said = tag("span", "right" if right else "wrong").classes("ts-flip")
                            said.props(f"data-flip={'newly_right' if right else 'newly_wrong'}")
                    answer_view(answer).classes("ts-text ts-clip")
