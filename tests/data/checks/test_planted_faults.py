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


@pytest.fixture(scope="module")
def scores() -> Mapping[str, Score]:
    return measure(load(builtin_data_file()), seeds=[11], per_kind=20)


def test_mechanical_faults_are_found(scores: Mapping[str, Score]) -> None:
    mechanical = scores.keys() - FUZZY
    assert len(mechanical) == 10
    assert {name for name in mechanical if scores[name].recall < LEAST or scores[name].precision < LEAST} == set()


def test_the_others_are_mostly_found(scores: Mapping[str, Score]) -> None:
    assert {name for name in FUZZY if scores[name].recall < 0.8 or scores[name].precision < 0.8} == set()


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
    mechanical = found.keys() - FUZZY - {"truncated-answer"}
    assert {name for name in mechanical if found[name].recall < LEAST or found[name].precision < LEAST} == set()


def test_cut_answers_among_whole_ones_without_a_full_stop(shared_data: Path) -> None:
    found = measure(load(shared_data / "sft/lamini_docs.jsonl"), range(5), per_kind=40, only=["truncated-answer"])["truncated-answer"]
    assert found.recall >= LEAST
    assert found.precision >= LEAST
    assert found.before <= 3


def test_the_templated_set_is_noticed_and_repaired_to_equal_the_clean_one(shared_data: Path) -> None:
    clean, templated = (load(shared_data / "sft" / name) for name in ("lamini_docs.jsonl", "lamini_docs_templated.jsonl"))
    (finding,) = run_checks(templated, ["template-residue"], context=CheckContext())
    assert finding.count == len(templated)
    repaired = {(residue.fix(one.prompt), residue.fix(one.reference)) for one in templated}
    differing = {prompt for prompt, answer in {(one.prompt, one.reference) for one in clean} - repaired}
    # Its templated copy was published with one space there.
    wider = "Does the documentation provide  information about any external dependencies or libraries used by the code?"
    assert differing == {wider}
    assert len(repaired - {(one.prompt, one.reference) for one in clean}) == 1


@pytest.mark.parametrize(
    "template",
    [
        "### Question:\n{}\n\n### Answer:",
        "### Instruction:\n{}\n\n### Response:\n",
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{}\n\n### Response:",
    ],
)
def test_white_space_of_the_row_itself_stays(template: str) -> None:
    for prompt in ("Two  spaces?", " one before", "one after ", "two\n\nlines", "\ttabbed\t", "\n a line of its own \n", "a\u00a0b"):
        assert residue.fix(template.format(prompt)) == prompt
