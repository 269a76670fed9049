"""How many of a benchmark's documents stand in the data a run was trained on.

A document counts when a run of 13 of its words (question and right answer together) stands in a training example, as GPT-3's
benchmarks were cleaned (Brown et al. 2020, appendix C), or when it is an example's prompt but for case, spacing and punctuation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from tunesmith.data.comparing.neighbours import asked, whole
from tunesmith.data.comparing.overlap import GramIndex
from tunesmith.data.comparing.shingles import Hashes, normalise, text_hashes
from tunesmith.evaluate.benchmarks.records import DocumentRecord
from tunesmith.evaluate.benchmarks.scores import Place, Score
from tunesmith.types import Example

EXAMPLES_AT_ONCE = 4_096


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """One benchmark in one run's training data."""

    run: str
    num_documents: int
    """That were looked for."""
    num_overlapping: int
    without: Mapping[str, Score]
    """By model: the deciding metric over the other documents, where some overlap and some are left."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Overlap:
        return cls(**{**values, "without": {model: Score.from_json(score) for model, score in values["without"].items()}})


class _Search:
    """One benchmark's documents, past which the examples stream."""

    def __init__(self, records: Mapping[Place, DocumentRecord], num_words: int) -> None:
        self._places = list(records)
        self._index = GramIndex.of(((one.task, f"{one.question}\n{one.right}") for one in records.values()), num_words)
        self._seen = np.zeros(len(self._index.grams), bool)
        self._questions = text_hashes([normalise(one.question) for one in records.values()])
        self._equal = self._questions == text_hashes([""])[0]
        self._is_empty = self._equal.copy()

    def go_by(self, texts: Sequence[str], prompts: Hashes) -> None:
        self._seen |= self._index.scan(texts).seen
        self._equal |= np.isin(self._questions, prompts)

    @property
    def found(self) -> set[Place]:
        known = (self._index.known(self._seen) > 0) | (self._equal & ~self._is_empty)
        return {place for place, is_known in zip(self._places, known.tolist(), strict=True) if is_known}


def find_overlap(
    documents: Mapping[str, Mapping[Place, DocumentRecord]], examples: Sequence[Example], num_words: int
) -> dict[str, set[Place]]:
    """By benchmark, the documents that stand in the examples.

    Args:
        documents: by benchmark.
    """
    searches = {name: _Search(records, num_words) for name, records in documents.items()}
    remaining = iter(examples)
    while batch := list(islice(remaining, EXAMPLES_AT_ONCE)):
        texts, prompts = [whole(one) for one in batch], text_hashes([normalise(asked(one)) for one in batch])
        for search in searches.values():
            search.go_by(texts, prompts)
    return {name: search.found for name, search in searches.items()}
