"""Do the data checks find what they should, and nothing else? Recall and precision on faults planted at known rows.

    python bench/data_checks.py [--data faq.jsonl] [--seeds 5] [--per-kind 20] [--only CHECK ...] [--out data_checks.json]

Clean examples get `--per-kind` faults of every kind (planting.py) at rows that the seed chooses; all checks run over the whole.
Recall: planted rows that the check flags. Precision: of the rows it flags, but for those it flags in the set as it is, the planted
ones. Rows with another kind's fault count against a check, too. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planting import LIMIT_WORDS, plant
from tunesmith.config import PrepareConfig
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.checks import CheckContext, run_checks
from tunesmith.data.checks.lengths import TOKENS_PER_WORD
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import to_examples
from tunesmith.data.reading.readers import read_rows
from tunesmith.types import Example

FUZZY = frozenset({"languages", "near-duplicates", "contradictions", "leakage", "machine-phrasing", "refusals"})
"""Kinds without a sharp edge: what counts as one is a matter of degree."""
SIDE_EFFECTS: Mapping[str, frozenset[str]] = {
    "empty-answer": frozenset({"control-characters"}),  # a zero-width space is one
    "mojibake": frozenset({"control-characters", "languages"}),
    "repeated-prompt": frozenset({"truncated-answer"}),  # a question may have no end
    "near-duplicates": frozenset({"truncated-answer"}),  # an edit takes the full stop away
    "leakage": frozenset({"truncated-answer", "near-duplicates"}),
}
"""Kind of fault to checks that are right to find it as well."""

ALSO = {"different-answers": "contradictions"}
"""Finding to the check that it counts for."""


@dataclass
class Score:
    """Of one check, summed over the seeds."""

    planted: int = 0
    found: int = 0
    wrong: int = 0
    before: int = 0

    @property
    def recall(self) -> float:
        return self.found / self.planted

    @property
    def precision(self) -> float:
        return self.found / (self.found + self.wrong) if self.found + self.wrong else 1.0


def flagged(examples: Sequence[Example], names: Sequence[str], held: frozenset[int] = frozenset()) -> dict[str, frozenset[int]]:
    """What each check flags."""
    found: dict[str, frozenset[int]] = {}
    context = CheckContext(max_tokens=round(TOKENS_PER_WORD * LIMIT_WORDS), test_positions=held)
    for one in run_checks(examples, names, context=context):
        name = ALSO.get(one.check, one.check)
        if name in names:
            found[name] = found.get(name, frozenset()) | frozenset(one.flagged)
    return found


def measure(examples: Sequence[Example], seeds: Sequence[int], per_kind: int, only: Sequence[str] | None = None) -> dict[str, Score]:
    """Plant faults of every kind, look and count, for each seed; of the checks `only` these are run."""
    names = list(only or plant(examples, seed=0, per_kind=1).rows)
    before = flagged(examples, names)
    scores = {name: Score(before=len(before.get(name, ()))) for name in names}
    for seed in seeds:
        planted = plant(examples, seed=seed, per_kind=per_kind, unfit=before)
        after = flagged(planted.examples, names, planted.held)
        for name, score in scores.items():
            rows, found = planted.rows[name], after.get(name, frozenset())
            allowed = frozenset().union(*(planted.rows[kind] for kind, effects in SIDE_EFFECTS.items() if name in effects))
            score.planted += len(rows)
            score.found += len(rows & found)
            score.wrong += len(found - rows - before.get(name, frozenset()) - allowed)
    return scores


def load(file: str | Path) -> tuple[Example, ...]:
    """Examples as `prepare` reads them."""
    config = PrepareConfig(on_invalid="drop")
    rows = read_rows(file)
    return to_examples(rows, recognise(rows, config), config).examples


def table(scores: Mapping[str, Score]) -> str:
    """In Markdown."""
    lines = ["| check | planted | recall | precision | flagged in the set as it is |", "|---|---:|---:|---:|---:|"]
    for name, one in scores.items():
        label = f"{name} (fuzzy)" if name in FUZZY else name
        lines.append(f"| {label} | {one.planted} | {one.recall:.3f} | {one.precision:.3f} | {one.before} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=None, help="a file that `tunesmith prepare` reads; default: the built-in data set")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--per-kind", type=int, default=20)
    parser.add_argument("--only", nargs="+", metavar="CHECK", help="run these checks alone; faults of every kind are planted all the same")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    file = options.data or builtin_data_file()
    scores = measure(load(file), range(options.seeds), options.per_kind, options.only)
    print(table(scores))
    if options.out:
        figures = {name: {**vars(one), "recall": one.recall, "precision": one.precision} for name, one in scores.items()}
        options.out.write_text(
            json.dumps({"data": Path(file).name, "seeds": options.seeds, "checks": figures}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
