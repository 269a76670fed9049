"""Rows are proposed to be dropped only where that is nearly sure: good answers of real instruction data are left alone."""

from __future__ import annotations

import pytest

from tests.evaluate.fakes import example
from tunesmith.analyze.catalogue import ERROR_GROUPS
from tunesmith.analyze.groups import GroupContext
from tunesmith.analyze.knowledge import Knowledge
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig
from tunesmith.evaluate.flips import RightRule

CONTEXT = GroupContext(
    config=AnalyzeConfig(),
    redirections=(),
    spelling=Spelling(vocabulary=frozenset(), is_english=True),
    right_rule=RightRule(metric="token_f1", threshold=0.5),
    knowledge=Knowledge(languages=frozenset({"en"})),
)
FRENCH = "Pouvez-vous me dire où est le restaurant le plus proche ?"


def faults_of(prompt: str, answer: str) -> set[str]:
    """Names of the groups whose failures this training example is said to teach."""
    row = example(prompt, answer)
    return {group.name for group in ERROR_GROUPS if group.fault and group.fault(row, CONTEXT)}


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (
            "Edit the sentence for grammar.\n\nWe was going to the store, when she forgot her wallet.",
            "We were going to the store when she forgot.",
        ),
        ("Capitalize each word in the sentence.\n\nthe book is on the table", "The Book Is On The Table"),
        (
            "Does Lamini AI provide features for generating text that adheres to specific narrative perspectives?",
            "Yes, Lamini AI provides features for generating text that adheres to specific narrative perspectives.",
        ),
        ("Translate the following sentence into French.\n\nWhere is the nearest restaurant?", FRENCH),
        ("Comment dit-on cela quand on cherche un restaurant dans une ville étrangère ?", FRENCH),
        ("Name 3 programming languages that are used to develop applications", "1. Java\n2. Python\n3. C++"),
        (
            "Write a calculator.",
            "```\n" + "".join(f'elif operator == "{sign}":\n    return num1 {sign} num2\n' for sign in "+-*/%") + "```",
        ),
        ("What is this song?\n\nFa la la la la, la la la la", "It is a carol. It goes fa la la la la, la la la la, and is sung in winter."),
    ],
)
def test_good_rows_are_left_alone(prompt: str, answer: str) -> None:
    assert faults_of(prompt, answer) == set()


@pytest.mark.parametrize(
    ("prompt", "answer", "group"),
    [
        ("How do I reset it, please?", " how do I reset it, please? ", "copies_prompt"),
        ("Where is the nearest restaurant in this town, and when does it open?", FRENCH, "wrong_language"),
        ("How do I start the grinder?", "Press it now and wait a bit. " * 8, "repetitive"),
        ("How do I start the grinder?", "Hold the round button until the lamp is green, and then press the", "cut"),
        ("How do I start the grinder?", " \n", "empty"),
    ],
)
def test_rows_that_teach_a_failure_are_found(prompt: str, answer: str, group: str) -> None:
    assert faults_of(prompt, answer) == {group}
