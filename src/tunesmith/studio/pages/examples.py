"""Evaluated examples: a list with search, filter and pages, and one example with everything that is known of it.

`ExampleList` stands on the page of an evaluation and on that of an error group; `/evaluation/RUN/example?id=…` is the example's own page.
"""

from __future__ import annotations

import dataclasses
from asyncio import to_thread
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

from nicegui import ui

from tunesmith.evaluate.differences import Span, mark_shared
from tunesmith.studio.pages.evaluation_reading import FLIPS, LABELS, Evaluated, Example, Wanted, read_evaluated
from tunesmith.studio.pages.examples_nearest import nearest_card
from tunesmith.studio.pages.pager import Pager
from tunesmith.studio.readable import find, items, text
from tunesmith.studio.reading import Library, RunSummary
from tunesmith.studio.shell import Studio, not_found
from tunesmith.studio.widgets import card, data_table, heading, muted, run_address, tag

PER_PAGE = 10
MOST_WORDS = 800
"""Of an answer or a reference that is compared word by word: the time grows with the product of both."""
ANY = "any"
CHOICE = "outlined dense options-dense stack-label"


def install(studio: Studio) -> None:
    """The page at `/evaluation/RUN/example?id=ID`."""

    @studio.page("/evaluation/{name}/example", title="Example", section="Evaluation", first_heading=None)
    async def example_page(name: str, id: str = "") -> None:
        run = await to_thread(studio.library.run, name)
        evaluated = await to_thread(read_evaluated, studio.library, run) if run and run.verdict is not None else None
        place = evaluated.find(id) if evaluated else None
        if run is None or evaluated is None or place is None:
            heading("No such example", level=1)
            not_found("There is no evaluated example of this id in a run of this name.")
            return
        await ExamplePage(studio, run, evaluated, place).build()


def evaluation_address(name: str) -> str:
    """The page of a run's evaluation."""
    return f"/evaluation/{quote(name, safe='')}"


def example_address(run: str, id_: str) -> str:
    """The page of one example."""
    return f"{evaluation_address(run)}/example?{urlencode({'id': id_})}"


class ExampleList:
    """Search, filters, and a page of examples with the answers side by side."""

    def __init__(self, library: Library, run: RunSummary, wanted: Wanted, *, page: int, address: str, group_fixed: bool = False) -> None:
        """`address`: of the page, kept up to date with what is asked for; `group_fixed`: the page is that of one group."""
        self.library, self.run, self.wanted = library, run, wanted
        self.address, self.group_fixed = address, group_fixed
        self.first_page = page

    async def build(self, evaluated: Evaluated) -> None:
        self.evaluated = evaluated
        with ui.element("div").classes("ts-row").props("role=search"):
            found = ui.input("Search in the examples", value=self.wanted.words, on_change=lambda event: self._want(words=event.value or ""))
            found.props("outlined dense clearable type=search debounce=300 stack-label").classes("ts-search")
            self._flip_choice()
            self._group_choice()
        self.pager = Pager(PER_PAGE, noun="examples", changed=self._show)
        self.pager.page = self.first_page
        self.place = ui.element("div").classes("ts-stack")
        self.pager.build_below()
        await self._find()

    def _flip_choice(self) -> None:
        choices = {ANY: "all"} | FLIPS
        chosen = self.wanted.flip if self.wanted.flip in FLIPS else ANY
        change = ui.select(choices, value=chosen, label="Base to tuned", on_change=lambda event: self._want(flip=_given(event.value)))
        change.props(CHOICE).classes("ts-choice")

    def _group_choice(self) -> None:
        groups = {group.name: group.title for group in self.evaluated.groups()}
        if not groups:
            return
        if not self.group_fixed:
            chosen = self.wanted.group if self.wanted.group in groups else ANY
            made = ui.select(
                {ANY: "any"} | groups, value=chosen, label="Error group", on_change=lambda event: self._want(group=_given(event.value))
            )
            made.props(CHOICE).classes("ts-choice")
        labels = {label: f"the {label} model" for label in LABELS}
        of = ui.select(
            labels, value=self.wanted.of if self.wanted.of in labels else "tuned", label="Fails", on_change=lambda e: self._want(of=e.value)
        )
        of.props(CHOICE).classes("ts-choice")

    async def _want(self, **changes: str) -> None:
        wanted = dataclasses.replace(self.wanted, **changes)
        if wanted != self.wanted:
            self.wanted, self.pager.page = wanted, 1
            await self._find()
            self._keep_address()

    async def _find(self) -> None:
        self.places = await to_thread(self.evaluated.matching, self.wanted)
        self.pager.set_total(len(self.places))
        await self._draw()

    async def _show(self) -> None:
        await self._draw()
        self._keep_address()

    def _keep_address(self) -> None:
        wanted = dataclasses.replace(self.wanted, group="") if self.group_fixed else self.wanted
        more = {"group": self.wanted.group, "of": self.wanted.of} if self.group_fixed else {}
        page = self.pager.page if self.pager.page > 1 else 0
        ui.navigate.history.replace(self.address + wanted.address(**more, page=page))

    async def _draw(self) -> None:
        chosen = [self.evaluated.example(place) for place in self.pager.slice(self.places)]
        marked = await to_thread(lambda: [_marked(example) for example in chosen])
        self.place.clear()
        with self.place:
            if not chosen:
                muted("No example is like that.")
            for example, spans in zip(chosen, marked, strict=True):
                with card():
                    self._card(example, spans)

    def _card(self, example: Example, spans: Sequence[Marked]) -> None:
        with ui.element("div").classes("ts-row ts-spread"):
            ui.link(example.text("source") or example.id, example_address(self.run.name, example.id)).classes("ts-run-name")
            with ui.element("div").classes("ts-row"):
                chips(example, self.evaluated)
        ui.label(example.text("prompt")).classes("ts-text ts-strong ts-clip")
        side_by_side(example, spans)


def chips(example: Example, evaluated: Evaluated, label: str = "tuned") -> None:
    """Whether it flipped, and the error groups of one model's answer."""
    titles = {group.name: group.title for group in evaluated.groups()}
    for name in list(example.groups(label))[:8]:
        tag("span", titles.get(name, name)).classes("ts-chip")
    if example.flip in FLIPS:
        tag("span", FLIPS[example.flip]).classes("ts-flip").props(f"data-flip={example.flip}")


class Marked(NamedTuple):
    """A model's answer, cut where it differs from the reference."""

    label: str
    spans: Sequence[Span]
    is_compared: bool
    """Else it is too long, and in one span."""


def _marked(example: Example) -> list[Marked]:
    reference = example.text("reference")
    return [marked(label, example.completion(label), reference) for label in LABELS]


def marked(label: str, completion: str, reference: str) -> Marked:
    """The words that also stand in the reference, marked where both are of a sensible length."""
    if max(len(completion.split()), len(reference.split())) > MOST_WORDS or not reference:
        return Marked(label, [Span(completion, False)], False)
    return Marked(label, mark_shared(completion, reference), True)


def side_by_side(example: Example, answers: Sequence[Marked], *, whole: bool = False) -> None:
    """The reference and each model's answer; what also stands in the reference is coloured."""
    clip = "ts-text" if whole else "ts-text ts-clip"
    with ui.element("div").classes("ts-answers"):
        with ui.element("div"):
            muted("reference").classes("ts-small")
            ui.label(example.text("reference")).classes(clip)
        for answer in answers:
            with ui.element("div"):
                muted(f"{answer.label}{_ending(example, answer.label)}").classes("ts-small")
                answer_view(answer).classes(clip)


def answer_view(answer: Marked) -> ui.element:
    """An answer, its shared words coloured."""
    with ui.element("div") as made:
        if not any(span.text for span in answer.spans):
            muted("(nothing)")
        for span in answer.spans:
            if span.text:
                tag("mark" if span.shared else "span", span.text)
    return made


def _ending(example: Example, label: str) -> str:
    """What is worth saying of how the answer ended."""
    reason = example.text("answers", label, "finish_reason")
    return f", stopped by {reason}" if reason and reason != "end_of_turn" else ""


def _given(value: str) -> str:
    return "" if value == ANY else value


class ExamplePage:
    """Everything of one example, down to the training rows nearest to it."""

    def __init__(self, studio: Studio, run: RunSummary, evaluated: Evaluated, place: int) -> None:
        self.studio, self.run, self.evaluated, self.place = studio, run, evaluated, place
        self.example = evaluated.example(place)

    async def build(self) -> None:
        example = self.example
        heading(example.text("source") or example.id, level=1)
        self._steps()
        answers = await to_thread(_marked, example)
        with card():
            heading("Prompt")
            self._prompt()
        with card():
            heading("Answers")
            muted("Coloured words also stand in the reference, in the same order.").classes("ts-small")
            side_by_side(example, answers, whole=True)
            if not all(answer.is_compared for answer in answers):
                muted("Not compared word by word: there is no reference, or a text is too long.").classes("ts-small")
        with ui.element("div").classes("ts-grid"):
            self._scores()
            self._failures()
        nearest_card(self.studio, self.run, self.example)

    def _steps(self) -> None:
        """To the run, its evaluation, and the examples before and after."""
        with ui.element("nav").classes("ts-row").props('aria-label="Examples"'):
            ui.link(f"Evaluation of {self.run.name}", evaluation_address(self.run.name))
            ui.link("Run", run_address(self.run.name))
            for name, place in (("Previous example", self.place - 1), ("Next example", self.place + 1)):
                if 0 <= place < self.evaluated.num_examples:
                    ui.link(name, example_address(self.run.name, self.evaluated.example(place).id))

    def _prompt(self) -> None:
        messages = items(self.example.record, "messages")
        if len(messages) < 2:
            ui.label(self.example.text("prompt")).classes("ts-text")
            return
        for message in messages:
            muted(text(message, "role") or "").classes("ts-small")
            ui.label(text(message, "content") or "").classes("ts-text")

    def _scores(self) -> None:
        example = self.example
        titles = {text(one, "metric", "name"): text(one, "metric", "title") for one in items(self.evaluated.report, "comparisons")}
        scores = {label: example.scores(label) for label in LABELS}
        rows = [{"name": titles.get(name) or name, **_figures(scores, name)} for name in dict.fromkeys([*scores["base"], *scores["tuned"]])]
        losses = {label: {"": loss} for label in LABELS if (loss := example.loss(label)) is not None}
        if losses:
            rows.insert(0, {"name": "loss", **_figures(losses, "")})
        with card():
            heading("Scores")
            data_table(_SCORES, rows, key="name")
            for label in LABELS:
                explained = find(example.record, "answers", label, "explanations")
                for name in explained if isinstance(explained, dict) else ():
                    muted(f"{label}, {titles.get(name) or name}: {text(explained, name)}").classes("ts-small ts-text")

    def _failures(self) -> None:
        titles = {group.name: group.title for group in self.evaluated.groups()}
        with card():
            heading("Error groups")
            if self.evaluated.failures is None:
                muted("Not analysed.")
            for label in LABELS if self.evaluated.failures else ():
                with ui.element("div"):
                    muted(f"{label}: {'in no error group' if not self.example.groups(label) else ''}").classes("ts-small")
                    for name, why in self.example.groups(label).items():
                        with ui.element("div").classes("ts-text"):
                            ui.link(titles.get(name, name), group_address(self.run.name, name, label))
                            tag("span", f": {why}")
            if change := text(self.example.failures, "change"):
                ui.label(change).classes("ts-note ts-text")


def group_address(run: str, group: str, of: str = "tuned") -> str:
    """The page of an error group."""
    return f"{evaluation_address(run)}/group?{urlencode({'group': group, 'of': of})}"


_SCORES = (
    {"name": "name", "label": "Score", "field": "name", "align": "left"},
    {"name": "base", "label": "Base", "field": "base", "align": "right"},
    {"name": "tuned", "label": "Tuned", "field": "tuned", "align": "right"},
)


def _figures(scores: dict[str, dict[str, float]], name: str) -> dict[str, str]:
    return {label: f"{scores[label][name]:.3f}" for label in LABELS if name in scores.get(label, {})}
