"""Groups found by likeness: what was put in, the same in any order, hardly changed by a failure more or less, and named as before."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from statistics import fmean

import pytest

from tunesmith.analyze.found import FoundGroup, find_groups, read_groups, write_groups
from tunesmith.data.builtin import builtin_data_file

sys.path.append(str(Path(__file__).resolve().parents[2] / "bench"))

from found_groups import kept, likeness, rand_index, without_some

LEAST_RAND, LEAST_JACCARD, LEAST_NAMES = 0.5, 0.6, 0.6
"""Below what `bench/found_groups.py` measures."""
SUBJECTS = {"invoice": "refund invoice payment card", "login": "password login account reset"}
TEXTS = {f"{name}{i}": f"question {i} on {words} please" for name, words in SUBJECTS.items() for i in range(12)}


@pytest.fixture(scope="module")
def realistic() -> dict[str, str]:
    """150 questions and answers of the built-in data set."""
    rows = [json.loads(line) for line in builtin_data_file().read_text(encoding="utf-8").splitlines()]
    return {f"{number:03}": f"{row['question']}\n{row['answer']}" for number, row in random.Random(2).sample(list(enumerate(rows)), 150)}


def test_failures_left_over_are_grouped_by_what_they_are_about() -> None:
    groups = find_groups(TEXTS, None)
    assert sorted(sorted({one.rstrip("0123456789") for one in group.members}) for group in groups) == [["invoice"], ["login"]]
    assert {len(group.members) for group in groups} == {12}
    assert find_groups(dict(list(TEXTS.items())[:19]), None) == ()
    assert any("invoice" in group.title or "refund" in group.title or "payment" in group.title for group in groups)


def test_the_order_changes_nothing(realistic: dict[str, str]) -> None:
    assert find_groups(dict(reversed(realistic.items())), None) == find_groups(realistic, None)


def test_one_failure_in_twenty_less_changes_little(realistic: dict[str, str]) -> None:
    whole = find_groups(realistic, None)
    assert len(whole) >= 4
    fewer = [without_some(realistic, seed) for seed in range(4)]
    again = [find_groups(left, None, earlier=whole) for left in fewer]
    pairs = list(zip(again, fewer, strict=True))
    assert fmean(rand_index(whole, groups, left) for groups, left in pairs) >= LEAST_RAND
    assert fmean(likeness(whole, groups, left) for groups, left in pairs) >= LEAST_JACCARD
    assert fmean(kept(whole, groups) for groups in again) >= LEAST_NAMES


def test_a_group_with_mostly_the_same_members_keeps_its_name() -> None:
    first, second = find_groups(TEXTS, None)
    half = frozenset(sorted(first.members)[:7])
    few = frozenset(sorted(second.members)[:5])
    earlier = (FoundGroup(name="found:mine", title="about: mine", members=half), FoundGroup(name="found:x", title="x", members=few))
    named = {group.members: (group.name, group.title) for group in find_groups(TEXTS, None, earlier=earlier)}
    assert named[first.members] == ("found:mine", "about: mine")
    assert named[second.members] == (second.name, second.title)


def test_a_name_that_was_kept_is_given_to_no_other_group() -> None:
    first, second = find_groups(TEXTS, None)
    earlier = (FoundGroup(name=second.name, title="theirs", members=first.members),)
    named = {group.members: group.name for group in find_groups(TEXTS, None, earlier=earlier)}
    assert named[first.members] == second.name
    assert named[second.members].startswith(f"{second.name}-")


def test_groups_are_kept_for_the_next_analysis(tmp_path: Path) -> None:
    assert read_groups(tmp_path) == ()
    groups = find_groups(TEXTS, None)
    write_groups(tmp_path, groups)
    assert read_groups(tmp_path) == groups


def test_texts_without_words_are_no_groups() -> None:
    assert len(find_groups({str(i): str(i) for i in range(30)}, None)) <= 1
