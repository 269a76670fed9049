"""Passages near a question: training answers and documents, by BM25, or by embeddings.

>>> shelf = Shelf.of(passages_of(data.train), "bm25")
>>> shelf.nearest(["How do I reset my password?"], 3)
[(Passage(text='Question: How can I change my password?\\nAnswer: Open Settings …', source='faq.csv:12'), …)]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tunesmith.data.comparing.nearest import nearest_rows
from tunesmith.data.reading.sources import open_sources
from tunesmith.embeddings import Vectors, embed
from tunesmith.evaluate.words import words
from tunesmith.types import Example

Retriever = Literal["bm25", "embeddings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """Something to read before answering."""

    text: str
    source: str
    """Where it stands, as in `Example.source`."""


def passages_of(examples: Sequence[Example]) -> list[Passage]:
    """The training examples as questions with their answers; raw text as it is."""
    return [Passage(text=_as_text(example), source=example.source) for example in examples]


def _as_text(example: Example) -> str:
    return example.text if example.text is not None else f"Question: {example.prompt}\nAnswer: {example.reference}"


def read_documents(paths: Sequence[str | Path]) -> list[Passage]:
    """Sections of documents, as `tunesmith prepare --kind documents` reads them.

    Raises:
        DataError: there is nothing to read.
    """
    rows = [row for source in open_sources(paths, kind="documents") for row in source.read()]
    return [Passage(text=_titled(row.values), source=row.source) for row in rows]


def _titled(values: Any) -> str:
    title, text = values.get("title"), str(values["text"])
    return f"{title}\n{text}" if title else text


class Shelf:
    """Passages, and a way to find those near a question."""

    def __init__(self, passages: Sequence[Passage], index: Any, vectors: Vectors | None) -> None:
        """Use `of`."""
        self.passages, self._index, self._vectors = tuple(passages), index, vectors

    @classmethod
    def of(cls, passages: Sequence[Passage], retriever: Retriever) -> Shelf:
        """Index passages.

        Raises:
            AssetError: embeddings are wanted, and the sentence model cannot be had.
        """
        texts = [passage.text for passage in passages]
        if retriever == "embeddings":
            return cls(passages, None, embed(texts))
        import bm25s

        index = bm25s.BM25()  # Lucene's form of BM25, k1 1.5, b 0.75
        index.index([words(text) for text in texts], show_progress=False)
        return cls(passages, index, None)

    def part(self, places: Sequence[int]) -> Shelf:
        """The passages at these places alone; what was embedded is not embedded again."""
        passages = [self.passages[place] for place in places]
        return Shelf.of(passages, "bm25") if self._vectors is None else Shelf(passages, None, self._vectors[list(places)])

    def nearest(self, questions: Sequence[str], count: int) -> list[tuple[Passage, ...]]:
        """For each question up to `count` passages, the nearest first; by BM25 only such as share a word with it."""
        count = min(count, len(self.passages))
        if self._vectors is not None:
            order = nearest_rows(embed(questions), self._vectors, count).places
            return [tuple(self.passages[place] for place in row) for row in order.tolist()]
        found, scores = self._index.retrieve([words(text) for text in questions], k=count, show_progress=False)
        return [
            tuple(self.passages[place] for place, score in zip(row, of_row, strict=True) if score > 0)
            for row, of_row in zip(found.tolist(), scores.tolist(), strict=True)
        ]
