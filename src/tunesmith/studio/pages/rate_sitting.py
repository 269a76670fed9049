"""One rater before the answers: a question, its keys, and after the last one, on request, a summary that names the models.

Which model an answer is of never reaches the browser; a summary that is renewed between two questions would tell it by its counts.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import to_thread
from collections.abc import Mapping, Sequence

from nicegui import ui
from nicegui.events import KeyEventArguments

from tunesmith.errors import TunesmithError
from tunesmith.evaluate.ranking.lines import percent, span
from tunesmith.evaluate.ranking.rank import Ranking
from tunesmith.evaluate.rating.questions import Question, Questions
from tunesmith.evaluate.rating.ratings import SCORES
from tunesmith.evaluate.rating.session import SKIP, UNDO, Session
from tunesmith.evaluate.rating.sheet import Mode, Sheet
from tunesmith.evaluate.wording import counted
from tunesmith.runs import RunDirectory
from tunesmith.studio.filling import fill
from tunesmith.studio.pages.rate_standing import Standing, contestants, make_sheet, standing
from tunesmith.studio.readable import Unreadable, shown
from tunesmith.studio.reading import uncollected
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import alert, card, data_table, facts, heading, muted, tag

SEED = 0
"""As in `tunesmith rate`, so that order and sides are the same in both."""
LEAST_SECONDS = 0.3
"""A key that comes sooner after a question than this was meant for the one before it."""
RENEW_SECONDS = 3.0
SYNONYMS: Mapping[str, str] = {"a": "1", "b": "2", "0": "t"}
"""Of keys for pairs."""
SHORT: Mapping[int, str] = {1: "Wrong", 2: "Mostly wrong", 3: "Partly right", 4: "Right, small flaw", 5: "Right"}
"""What the buttons of the scores say; `SCORES` says it at length."""
LONGEST_ANSWER = 100_000
ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}

COLUMNS = (
    {"name": "model", "label": "Model", "field": "model", "align": "left"},
    {"name": "rating", "label": "Rating", "field": "rating", "align": "right"},
    {"name": "interval", "label": "Interval", "field": "interval", "align": "right"},
    {"name": "win_rate", "label": "Win rate", "field": "win_rate", "align": "right"},
    {"name": "won", "label": "Won", "field": "won", "align": "right"},
    {"name": "tied", "label": "Tied", "field": "tied", "align": "right"},
    {"name": "lost", "label": "Lost", "field": "lost", "align": "right"},
)


class Sitting:
    """Asks one rater until all is judged."""

    def __init__(self, studio: Studio, runs: Sequence[RunDirectory], mode: Mode, rater: str, *, back: str) -> None:
        """See the class.

        Args:
            studio: whose library reads the runs.
            runs: evaluated; the first one's files take the judgements.
            mode: of rating.
            rater: a name.
            back: the address of the form.
        """
        self.studio, self.runs, self.back = studio, runs, back
        self.sheet: Sheet = make_sheet(runs, mode=mode, rater=rater)
        self._turn = asyncio.Lock()
        self._shown_at = 0.0

    async def build(self) -> None:
        await fill(ui.element("div").classes("ts-sections"), "Reading the answers", self._read, self._begin)

    def _begin(self, questions: Questions) -> None:
        self.session = Session(questions.asked, self.sheet.save)
        self._before(questions)
        self.place = ui.element("div").classes("ts-column")
        self._actions()
        self._summary_box()
        ui.keyboard(on_key=self._key, repeating=False, ignore=["input", "select", "textarea"])
        ui.context.client.on_disconnect(self._leave)
        self._show()

    def _read(self) -> Questions:
        found = contestants(self.studio.library, self.runs)
        with uncollected():
            return self.sheet.questions(found, seed=SEED)

    def _before(self, questions: Questions) -> None:
        with ui.element("div").classes("ts-row ts-spread"):
            self.progress = muted("").props("role=status")
            with ui.element("div").classes("ts-row"):
                self.reference = ui.switch("Show the reference", on_change=self._show).props("dense")
                ui.link("Choose anew", self.back)
        words = [f"rating as {self.sheet.rater}"]
        words += [f"{questions.num_done:,} judged before"] if questions.num_done else []
        words += [f"{counted(questions.num_equal, 'pair')} of equal answers left out"] if questions.num_equal else []
        muted("; ".join(words)).classes("ts-small")

    # The question.

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        sitting, question = self.session.sitting, self.session.question
        judged = f"{sitting.num_answered:,} judged, {sitting.num_skipped:,} skipped"
        total = len(self.session.questions)
        self.progress.text = f"{self.session.number:,} of {total:,}; {judged}" if question else f"All {total:,} were asked: {judged}"
        self.actions.visible = question is not None
        self.open.visible = question is None
        self.place.clear()
        with self.place:
            if question is None:
                self._show_end()
            else:
                self._show_question(question)

    def _show_question(self, question: Question) -> None:
        with card():
            heading("Prompt")
            for message in question.record.messages:
                if len(question.record.messages) > 1:
                    muted(ROLES.get(message.role, "Message")).classes("ts-small")
                _text(message.content)
        if self.reference.value:
            with card():
                heading("Reference")
                _text(question.record.reference)
        names = ("A", "B") if len(question.answers) > 1 else ("Answer",)
        with ui.element("div").classes("ts-grid"):
            for name, answer in zip(names, question.answers, strict=True):
                with card().props(f'aria-label="{name}"').classes("ts-answer"):
                    heading(name)
                    _text(answer.completion) if answer.completion else muted("(nothing)")

    def _show_end(self) -> None:
        if not self.session.questions:
            muted("There is nothing left to judge.")
        elif self.session.sitting.num_skipped:
            muted("What was skipped is asked again after the page is loaded anew.")
            ui.button("Ask what was skipped", icon="refresh", on_click=ui.navigate.reload).props("outline")
        else:
            muted("Thank you. What was judged is in the run's files; the summary is below.")

    # The keys.

    def _actions(self) -> None:
        self.actions = ui.element("div").classes("ts-bar").props('role=group aria-label="Judgement"')
        with self.actions:
            if self.sheet.mode == "pairs":
                for key, label, hint in (("1", "A is better", "1"), ("t", "Tie", "0"), ("2", "B is better", "2")):
                    self._button(key, label, hint)
            else:
                for score, label in SHORT.items():
                    self._button(str(score), label, str(score))
            self._button(SKIP, "Skip", "S", is_quiet=True)
            self._button(UNDO, "Undo", "U", is_quiet=True)

    def _button(self, key: str, label: str, hint: str, *, is_quiet: bool = False) -> None:
        button = ui.button(on_click=lambda: self._press(key)).props("no-caps dense" + (" flat" if is_quiet else " outline"))
        with button:
            tag("kbd", hint)
            tag("span", label)

    async def _key(self, event: KeyEventArguments) -> None:
        if not event.action.keydown or event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta:
            return
        key = event.key.name.lower()
        if self.sheet.mode == "pairs":
            key = SYNONYMS.get(key, key)
        if key in (*self.sheet.keys, SKIP, UNDO):
            await self._press(key)

    async def _press(self, key: str) -> None:
        if self._turn.locked() or (key != UNDO and time.monotonic() - self._shown_at < LEAST_SECONDS):
            return
        if key == UNDO and not self.session.can_undo:
            ui.notify("Only the latest judgement can be taken back, until the next one.")
            return
        async with self._turn:
            try:
                await to_thread(self.session.press, key)
            except (TunesmithError, OSError) as error:
                ui.notify(f"It was not saved. {error}", type="negative", multi_line=True, timeout=0, close_button="Close")
            self._show()

    async def _leave(self) -> None:
        """The page is gone, or its line was cut: what was judged is written, and can be undone no more."""
        async with self._turn:
            await to_thread(self.session.write)

    # The summary.

    def _summary_box(self) -> None:
        with card():
            with ui.element("div").classes("ts-row ts-spread"):
                heading("Summary")
                self.open = ui.button("Show, with the models' names", on_click=self._toggle).props("outline dense no-caps padding='xs md'")
            about = "Of all raters, after your last question: its counts would tell whose answer you have just judged."
            muted(about).classes("ts-small")
            self.summary = ui.element("div").classes("ts-column")
            self.summary.visible = False
        if self.sheet.mode == "rubric":
            with card():
                heading("What the scores mean")
                facts((str(score), meaning) for score, meaning in sorted(SCORES.items()))
        self._latest: Standing | None = None
        self.timer = ui.timer(RENEW_SECONDS, self._renew, active=False)

    async def _toggle(self) -> None:
        if self.session.question is not None:
            return
        self.summary.visible = self.timer.active = not self.summary.visible
        self.open.text = "Hide" if self.summary.visible else "Show, with the models' names"
        if self.summary.visible:
            await self._renew()

    async def _renew(self) -> None:
        try:
            found = await to_thread(standing, self.studio.library, self.runs, self.sheet)
        except (TunesmithError, Unreadable) as error:
            self.summary.clear()
            with self.summary:
                alert(str(error))
            self._latest = None
            return
        if found is not self._latest:
            self._latest = found
            self.summary.clear()
            with self.summary:
                _show_standing(found)


def _show_standing(found: Standing) -> None:
    if found.ranking:
        data_table(COLUMNS, ranking_rows(found.ranking), key="model")
    with ui.element("div"):
        for line in found.lines:
            ui.label(shown(line)).classes("ts-text")
    if not found.lines:
        muted("Nothing was judged yet.")
    elif found.ranking:
        muted("Rating: Bradley-Terry on Elo's scale, a tie half a win; intervals by resampling the examples.").classes("ts-small")


def ranking_rows(ranking: Ranking) -> list[dict[str, str]]:
    """Best first; models that never met, even over others, one group after the other."""
    return [
        {
            "model": shown(one.model),
            "rating": f"{one.rating:.0f}",
            "interval": span(one.interval),
            "win_rate": percent(one.win_rate),
            "won": f"{one.wins:,}",
            "tied": f"{one.ties:,}",
            "lost": f"{one.losses:,}",
        }
        for group in ranking.groups
        for one in group
    ]


def _text(content: str) -> None:
    ui.label(shown(content, most=LONGEST_ANSWER)).classes("ts-text")
