"""The training rows nearest to an evaluated prompt, with their sources: was it taught, and what?

Compared by words (cosine of TF-IDF vectors), as an analysis does without a sentence model: a model has no place in the studio's process.
The vectors of a data set are made once, after the page has come, and kept.
"""

from __future__ import annotations

import math
import re
from asyncio import to_thread
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import numpy as np
from nicegui import ui
from numpy.typing import NDArray

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
    """The prompts of a training split as vectors of their words, kept by word: looking up a prompt touches its own words alone.

    Weights are (1 + ln count) * (1 + ln((1 + rows) / (1 + rows with the word))), vectors of length one: what scikit-learn's
    `TfidfVectorizer(sublinear_tf=True)` makes. To load that takes two seconds, in which no page would come.
    """

    rows: Rows
    places: NDArray[np.int64]
    """(compared,) their places in the split."""
    ids: Mapping[str, int]
    """Of the words."""
    rarity: NDArray[np.float64]
    """(words,) the second factor."""
    ends: NDArray[np.int64]
    """(words,) where the entries of each word end; those of the first begin at 0."""
    holders: NDArray[np.int64]
    """(entries,) the compared row that has the word."""
    weights: NDArray[np.float64]
    """(entries,) what it weighs there."""

    def nearest(self, prompt: str, count: int = COUNT) -> list[NearRow]:
        """The nearest first, equally near ones in their order; only those that share a word."""
        similarities = self._similarities(prompt)
        best = np.argsort(-similarities, kind="stable")[:count]
        best = best[similarities[best] > 0]
        places = self.places[best].tolist()
        near = zip(places, similarities[best].tolist(), self.rows.at(places), strict=True)
        return [NearRow(place, similarity, row) for place, similarity, row in near]

    def _similarities(self, prompt: str) -> NDArray[np.float64]:
        """(compared,) cosines."""
        counts = Counter(self.ids[word] for word in _words(prompt) if word in self.ids)
        asked = {word: (1 + math.log(count)) * float(self.rarity[word]) for word, count in counts.items()}
        length = math.hypot(*asked.values())
        found = np.zeros(len(self.places))
        for word, weight in asked.items():
            entries = slice(int(self.ends[word - 1]) if word else 0, int(self.ends[word]))
            found[self.holders[entries]] += weight / length * self.weights[entries]
        return found


def open_space(file: Path) -> WordSpace:
    """The vectors of a `train.jsonl`.

    Raises:
        Unreadable: it is absent or no file of examples.
    """
    rows = open_rows(file)
    places = np.unique(np.linspace(0, max(0, len(rows) - 1), min(len(rows), MOST_COMPARED)).astype(np.int64))
    ids: dict[str, int] = {}
    texts = [[ids.setdefault(word, len(ids)) for word in _words(row.asked)] for row in rows.at(places.tolist())]
    said = np.fromiter(chain.from_iterable(texts), np.int64)  # (words said,)
    saying = np.repeat(np.arange(len(texts)), [len(text_) for text_ in texts])
    entries, counts = np.unique(said * max(1, len(texts)) + saying, return_counts=True)  # by word, then by row
    words, holders = np.divmod(entries, max(1, len(texts)))
    num_holders = np.bincount(words, minlength=len(ids))
    rarity = 1 + np.log((1 + len(texts)) / (1 + num_holders))
    weights = (1 + np.log(counts)) * rarity[words]
    lengths = np.sqrt(np.bincount(holders, weights**2, minlength=len(texts)))
    return WordSpace(
        rows=rows, places=places, ids=ids, rarity=rarity, ends=np.cumsum(num_holders), holders=holders, weights=weights / lengths[holders]
    )


def _words(content: str) -> list[str]:
    return re.findall(r"\w+", content[:MOST_CHARACTERS].lower())


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
