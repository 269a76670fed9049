"""Several evaluated runs: their scores and settings beside each other, and the examples where they differ.

>>> differing_settings([first, second])
{'learning_rate': ('0.0005', '0.0002'), 'lora.rank': ('16', '32')}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.studio.pages.data_reading import search_words
from tunesmith.studio.pages.evaluation import metric_row
from tunesmith.studio.pages.evaluation_reading import Evaluated, Example
from tunesmith.studio.readable import items, shown
from tunesmith.studio.reading import RunSummary
from tunesmith.studio.widgets import NONE

RIGHT = ("newly_right", "both_right")
"""Cells of base against tuned in which the tuned model is right."""
MOST_SETTINGS = 400


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the runs."""

    run: RunSummary
    config: Mapping[str, Any]
    evaluated: Evaluated

    def example(self, id_: str) -> Example | None:
        """The example of this id, None where the run has none."""
        place = self.evaluated.find(id_)
        return None if place is None else self.evaluated.example(place)

    def completion(self, id_: str) -> str:
        """The tuned model's answer to the example of this id, as it was written; empty where there is none."""
        place = self.evaluated.find(id_)
        return "" if place is None else self.evaluated.records.tuned[place]

    def is_right(self, id_: str) -> bool | None:
        """Whether the tuned model is, as the run's own evaluation counts it; None where it does not."""
        kind = self.evaluated.flips.get(id_)
        return None if kind is None else kind in RIGHT


def score_rows(compared: Sequence[Compared]) -> dict[str, list[str]]:
    """Metric to a cell for each run: `0.38 (+0.17 [+0.14, +0.21])`."""
    figures = [{row["name"]: row for one in items(each.evaluated.report, "comparisons") if (row := metric_row(one))} for each in compared]
    titles = dict.fromkeys(title for rows in figures for title in rows)
    return {title: [_cell(rows[title]) if title in rows else NONE for rows in figures] for title in titles}


def _cell(row: Mapping[str, Any]) -> str:
    return f"{row['tuned']} ({row['difference']} {row['interval']})"


def differing_settings(compared: Sequence[Compared]) -> dict[str, tuple[str, ...]]:
    """Setting to its value in each run, of those that are not alike."""
    flat = [_flat(one.config) for one in compared]
    names = list(dict.fromkeys(name for one in flat for name in one))[:MOST_SETTINGS]
    values = {name: tuple(one.get(name, NONE) for one in flat) for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def _flat(config: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in config.items():
        inside = {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
        flat |= {shown(str(name), most=80): shown(str(one), most=200) for name, one in inside.items() if one is not None}
    return flat


def differing(compared: Sequence[Compared], kind: str, words: str) -> list[str]:
    """Ids of the examples that all runs have, by how the first differs from the others.

    Args:
        compared: the runs.
        kind: `answers`: any two tuned answers differ; `gained`: the first is wrong and another is right; `lost`: the other way round.
        words: as typed; all stand in the prompt, the reference or an answer of the first run.
    """
    first, others = compared[0], compared[1:]
    wanted = search_words(words)
    records = first.evaluated.records
    said = records.texts if wanted else []
    ids = [id_ for place, id_ in enumerate(records.ids) if all(word in said[place] for word in wanted)]
    shared = [id_ for id_ in ids if all(other.evaluated.find(id_) is not None for other in others)]
    return [id_ for id_ in shared if _differs(compared, kind, id_)]


def _differs(compared: Sequence[Compared], kind: str, id_: str) -> bool:
    if kind == "answers":
        said = [one.completion(id_) for one in compared]
        return said.count(said[0]) < len(said) and len(set(map(shown, said))) > 1  # as pages show them, which takes longer to tell
    right = [one.is_right(id_) for one in compared]
    return right[0] is (kind == "lost") and (kind == "gained") in right[1:]
