"""What the training data have to do with an error group: do they lack such examples, contradict each other, or show the same fault?

evidence = gather_evidence(group.name, failures, train_examples, context, space)
evidence.num_lacking, len(evidence.faulty), len(evidence.contradicting)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tunesmith.analyze.catalogue import ERROR_GROUPS
from tunesmith.analyze.content import shortened
from tunesmith.analyze.groups import GroupContext
from tunesmith.analyze.nearest import MOST_COMPARED, Near, Space
from tunesmith.data.checks.contradictions import SERIOUS, disagreement, read
from tunesmith.data.comparing.neighbours import examples_at
from tunesmith.data.comparing.usual import Usual
from tunesmith.evaluate.records import EvaluationRecord
from tunesmith.types import Example

NEIGHBOURS = 3
"""Training examples shown for each failure."""
NEAR_SIMILARITY = 0.6
"""Cosine of embeddings from which a training prompt is near a failed one, where there are too few to say what is usual."""
SAME_QUESTION = 0.85
"""Cosine from which two prompts ask the same, so that different answers contradict each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRow:
    """A training example, and what it has to do with a failure."""

    id: str
    source: str
    prompt: str
    answer: str
    why: str
    position: int
    """In the training split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbourhood:
    """A failed example and the training examples nearest to its prompt."""

    id: str
    nearest: tuple[TrainingRow, ...]
    similarity: float
    """Of the nearest; 0 where there is none."""
    is_lacking: bool
    """Nothing near was trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Of one error group."""

    neighbourhoods: tuple[Neighbourhood, ...]
    contradicting: tuple[TrainingRow, ...]
    """Asked as a failed example is, answered otherwise than its reference."""
    faulty: tuple[TrainingRow, ...]
    """Training answers that are themselves in the group."""
    num_examined: int
    """Training examples looked at for faults."""
    usual_similarity: float | None = None
    """Of training prompts with the nearest other one, the median; None where what is near was fixed."""

    @property
    def num_lacking(self) -> int:
        return sum(one.is_lacking for one in self.neighbourhoods)

    @property
    def median_similarity(self) -> float:
        """Of the failures with their nearest training examples; 0 without any."""
        return float(np.median([one.similarity for one in self.neighbourhoods])) if self.neighbourhoods else 0.0


class Investigator:
    """Gathers evidence for one group after another; failures are compared with the training examples once for all groups."""

    def __init__(self, train: Sequence[Example], context: GroupContext, space: Space) -> None:
        self._train, self._context = train, context
        self._least = (context.config.near_similarity or NEAR_SIMILARITY) * space.factor
        self._usual: Usual | None = None
        self._same = SAME_QUESTION * (1.0 if space.embed is not None else space.factor + 0.25)
        self._space = space
        self._near: dict[str, tuple[Near, ...]] = {}

    def compare(self, failed: Sequence[EvaluationRecord]) -> None:
        """Look up the nearest training examples of all failures, in one go, and what is near in these data unless that is fixed."""
        prompts = ["\n".join(message.content for message in record.messages) for record in failed]
        found, usual = self._space.compare(prompts, self._train, count=NEIGHBOURS)
        self._near.update({record.id: near for record, near in zip(failed, found, strict=True)})
        if usual and self._context.config.near_similarity is None:
            self._usual, self._least = usual, usual.least

    def evidence(self, group: str, failed: Sequence[EvaluationRecord]) -> Evidence:
        """Of the failures of one group."""
        faulty, examined = self._faulty(group)
        contradicting = {row.position: row for record in failed for row in self._contradicting(record)}
        return Evidence(
            neighbourhoods=tuple(map(self._neighbourhood, failed)),
            contradicting=tuple(contradicting[position] for position in sorted(contradicting)),
            faulty=faulty,
            num_examined=examined,
            usual_similarity=self._usual.middle if self._usual else None,
        )

    def _neighbourhood(self, record: EvaluationRecord) -> Neighbourhood:
        near = self._near[record.id]
        similarity = near[0].similarity if near else 0.0
        rows = tuple(_row(self._train[one.position], one.position, f"similarity {one.similarity:.2f}") for one in near)
        return Neighbourhood(id=record.id, nearest=rows, similarity=round(similarity, 4), is_lacking=similarity < self._least)

    def _contradicting(self, record: EvaluationRecord) -> list[TrainingRow]:
        """Nearly the same prompt, and an answer that cannot be right beside the reference."""
        rows, said = [], read(record.reference)
        for one in self._near[record.id]:
            example = self._train[one.position]
            kind = disagreement(read(example.reference), said) if one.similarity >= self._same else None
            if kind in SERIOUS:
                why = f"contradicts the reference of {record.source} by {kind}: {shortened(record.reference)!r}"
                rows.append(_row(example, one.position, why))
        return rows

    def _faulty(self, group: str) -> tuple[tuple[TrainingRow, ...], int]:
        fault = next((one.fault for one in ERROR_GROUPS if one.name == group), None)
        if fault is None or not len(self._train):
            return (), 0
        positions = np.unique(np.linspace(0, len(self._train) - 1, min(len(self._train), MOST_COMPARED)).astype(np.int64))
        looked = zip(positions.tolist(), examples_at(self._train, positions), strict=True)
        found = ((place, one, fault(one, self._context)) for place, one in looked if one.messages)
        return tuple(_row(one, place, why) for place, one, why in found if why), len(positions)


def _row(example: Example, position: int, why: str) -> TrainingRow:
    return TrainingRow(id=example.id, source=example.source, prompt=example.prompt, answer=example.reference, why=why, position=position)
