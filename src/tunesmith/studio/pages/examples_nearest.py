"""The training rows nearest to an evaluated prompt, with their sources: was it taught, and what?

Compared by words (cosine of TF-IDF vectors), as an analysis does without a sentence model: a model has no place in the studio's process.
The vectors of a data set are made once, after the page has come, and kept.
"""

from __future__ import annotations

from asyncio import to_thread
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import numpy as np
from nicegui import ui

from tunesmith.errors import TunesmithError
from tunesmith.studio.pages.data_reading import Row, Rows, open_rows
from tunesmith.studio.pages.evaluation_reading import Example
from tunesmith.studio.readable import Unreadable, items, read_object, text
from tunesmith.studio.reading import Library, RunSummary
from tunesmith.studio.shell import Studio
from tunesmith.studio.widgets import alert, card, heading, muted, tag

COUNT = 5
MOST_COMPARED = 20_000
"""Training rows; of more, evenly spaced ones are compared."""
MOST_CHARACTERS = 2_000


class NearRow(NamedTuple):
    """A training row and how near its prompt is."""

    place: int
    """In the training split."""
    similarity: float
    """Cosine, 0 to 1."""
    row: Row


@dataclass(frozen=True, kw_only=True)
class WordSpace:
    """The prompts of a training split as vectors of their words."""

    rows: Rows
    places: Any
    """(compared,) their places in the split."""
    vectorizer: Any
    """None where no prompt has a word."""
    vectors: Any
    """(compared, words), rows of length one."""

    def nearest(self, prompt: str, count: int = COUNT) -> list[NearRow]:
        """The nearest first; only those that share a word."""
        from tunesmith.data.comparing.nearest import nearest_rows

        if self.vectorizer is None:
            return []
        found = nearest_rows(self.vectorizer.transform([prompt[:MOST_CHARACTERS]]), self.vectors, count)
        near = [(int(self.places[place]), float(one)) for place, one in zip(found.places[0], found.similarities[0], strict=True) if one > 0]
        rows = self.rows.at([place for place, _ in near])
        return [NearRow(place, similarity, row) for (place, similarity), row in zip(near, rows, strict=True)]


def open_space(file: Path) -> WordSpace:
    """The vectors of a `train.jsonl`.

    Raises:
        Unreadable: it is absent or no file of examples.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = open_rows(file)
    places = np.unique(np.linspace(0, max(0, len(rows) - 1), min(len(rows), MOST_COMPARED)).astype(np.int64))
    texts = [row.asked[:MOST_CHARACTERS] for row in rows.at(places.tolist())]
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\w+", sublinear_tf=True)  # noqa: S106 - a pattern of words
    try:
        vectors = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a word
        return WordSpace(rows=rows, places=places, vectorizer=None, vectors=None)
    return WordSpace(rows=rows, places=places, vectorizer=vectorizer, vectors=vectors)


def row_address(data: str, split: str, place: int) -> str:
    """The page of one row of a data set."""
    return f"/data/row?{urlencode({'set': data, 'split': split, 'row': place + 1})}"


def nearest_card(studio: Studio, run: RunSummary, example: Example) -> None:
    """A box that is filled once the page has come."""
    with card():
        heading("Nearest training rows")
        muted("By the words of the prompt.").classes("ts-small")
        place = ui.element("div").classes("ts-stack")
        with place:
            muted("Comparing with the training rows").props("role=status")

    async def fill() -> None:
        try:
            near, name, note = await to_thread(_look, studio.library, run, example)
        except (Unreadable, TunesmithError) as reason:
            place.clear()
            with place:
                alert(f"The training rows cannot be read: {reason}")
            return
        place.clear()
        with place:
            if note:
                muted(note)
            if not near:
                muted("No training row shares a word with it.")
            for one in near:
                _near_row(one, name)

    ui.timer(0.05, fill, once=True)


def _near_row(one: NearRow, data: str | None) -> None:
    with ui.element("div").classes("ts-near"):
        with ui.element("div").classes("ts-row ts-spread"):
            if data is None:
                tag("strong", one.row.source)
            else:
                ui.link(one.row.source, row_address(data, "train", one.place)).classes("ts-run-name")
            muted(f"similarity {one.similarity:.2f}").classes("ts-small")
        ui.label(one.row.asked).classes("ts-text ts-strong ts-clip")
        ui.label(one.row.answer).classes("ts-text ts-clip")


def _look(library: Library, run: RunSummary, example: Example) -> tuple[list[NearRow], str | None, str]:
    """The rows, the data set's name in the studio, and what is to be known of them."""
    known = next((one for one in library.data_sets() if str(one.path) == run.data or str(one.path.resolve()) == run.data), None)
    space = library.document(Path(run.data) / "train.jsonl", "words", open_space)
    messages = items(example.record, "messages")
    asked = "\n".join(text(message, "content") or "" for message in messages) if messages else example.text("prompt")
    trained_on = text(read_object(run.path / "run.json"), "data", "fingerprint")
    changed = known is not None and known.fingerprint != trained_on
    note = "The data set has changed since this run was trained on it." if changed else ""
    return space.nearest(asked), known.name if known else None, note
