"""Faults planted at known rows are found, and little else is flagged (bench/data_checks.py prints the figures over many seeds)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "bench"))

from data_checks import FUZZY, Score, load, measure
from planting import plant
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.checks import CheckContext, residue, run_checks

LEAST = 0.95
"""Recall and precision of the mechanical checks."""
DOUBTFUL = frozenset({"truncated-answer"})
"""What is cut after a word that may end a sentence cannot be told in every case."""


@pytest.fixture(scope="module")
def scores() -> Mapping[str, Score]:
    return measure(load(builtin_data_file()), seeds=[11], per_kind=20)


def test_mechanical_faults_are_found(scores: Mapping[str, Score]) -> None:
    mechanical = scores.keys() - FUZZY - DOUBTFUL
    assert len(mechanical) == 9
    assert {name for name in mechanical if scores[name].recall < LEAST or scores[name].precision < LEAST} == set()


def test_the_others_are_mostly_found(scores: Mapping[str, Score]) -> None:
    assert {name for name in FUZZY | DOUBTFUL if scores[name].recall < 0.8 or scores[name].precision < 0.8} == set()


def test_planting_is_decided_by_the_seed() -> None:
    examples = load(builtin_data_file())
    assert plant(examples, seed=3, per_kind=2) == plant(examples, seed=3, per_kind=2)
    assert plant(examples, seed=3, per_kind=2) != plant(examples, seed=4, per_kind=2)


def test_every_kind_changes_its_rows_and_no_others() -> None:
    examples = load(builtin_data_file())
    planted = plant(examples, seed=5, per_kind=3)
    added = set().union(*planted.added.values())
    changed = {place for place, (one, other) in enumerate(zip(examples, planted.examples, strict=False)) if one != other}
    in_place = set().union(*(rows for name, rows in planted.rows.items() if name not in planted.added))
    assert changed == in_place
    assert added == set(range(len(examples), len(planted.examples)))


def test_real_questions_too(shared_data: Path) -> None:
    found = measure(load(shared_data / "sft/lamini_docs.jsonl"), seeds=[11], per_kind=20)
    mechanical = found.keys() - FUZZY - DOUBTFUL
    assert {name for name in mechanical if found[name].recall < LEAST or found[name].precision < LEAST} == set()


def test_the_templated_set_is_noticed_and_repaired_to_equal_the_clean_one(shared_data: Path) -> None:
    clean, templated = (load(shared_data / "sft" / name) for name in ("lamini_docs.jsonl", "lamini_docs_templated.jsonl"))
    (finding,) = run_checks(templated, ["template-residue"], context=CheckContext())
    assert finding.count == len(templated)

    def said(prompt: str, answer: str) -> tuple[str, str]:
        return " ".join(prompt.split()), answer  # one question has a space more in one of the files

    repaired = sorted(said(residue.fix(one.prompt), residue.fix(one.reference)) for one in templated)
    assert len(repaired) == len(clean)
    assert set(repaired) - {said(one.prompt, one.reference) for one in clean} == set()
