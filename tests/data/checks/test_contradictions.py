"""Answers that cannot both be right are found, those that go together are not."""

from __future__ import annotations

import pytest

from tunesmith.data.checks.contradictions import disagreement, read
from tunesmith.data.checks.finding import CheckContext, Finding
from tunesmith.data.checks.run import run_checks
from tunesmith.data.converting.examples import build_example
from tunesmith.types import Example, Message

QUESTION = "Is it possible to use the program on a laptop of the company that I have been working for since last summer?"


def examples(*pairs: tuple[str, str]) -> list[Example]:
    return [
        build_example(f"faq.csv:{line}", messages=(Message(role="user", content=prompt), Message(role="assistant", content=answer)))
        for line, (prompt, answer) in enumerate(pairs, 2)
    ]


def findings(*pairs: tuple[str, str]) -> dict[str, Finding]:
    found = run_checks(examples(*pairs), ["contradictions"], context=CheckContext(drops=frozenset({"contradictions"})))
    return {one.check: one for one in found}


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("Yes, for everybody.", "No, it costs 10 dollars.", "opposite"),
        ("Yes.", "No!", "opposite"),
        ("Ja, sicher.", "Nein, leider.", "opposite"),
        ("It costs 10 dollars.", "It costs 12 dollars.", "numbers"),
        ("It opens at 9:30 on weekdays.", "On weekdays it opens at 10:30.", "numbers"),
        ("The program runs on Windows.", "The program does not run on Windows.", "negation"),
        ("You can't export the table.", "You can export the table.", "negation"),
        ("A card game for two players.", "Some kind of soup with beans.", "wording"),
        ("card_arrival", "lost_card", "wording"),
        ("Open Settings and choose Reset.", "Open Settings, then choose Reset to begin anew.", None),
        ("It costs 10 dollars.", "It costs 10 dollars, or 100 a year.", None),
        ("Yes, it does.", "Yes, of course it does.", None),
        ("Reset it.", "Reset it. If that does not help, write to support, who will not keep you waiting.", None),
        ("", "Anything", None),
    ],
)
def test_how_two_answers_go_together(one: str, other: str, kind: str | None) -> None:
    assert disagreement(read(one), read(other)) == kind
    assert disagreement(read(other), read(one)) == kind


def test_a_contradiction_is_told_with_both_places() -> None:
    found = findings((QUESTION, "Yes, on any."), ("What is it?", "A program."), (QUESTION.replace("program", "Program"), "No, never."))
    contradiction = found["contradictions"]
    assert contradiction.flagged == (0, 2)
    assert contradiction.specimens[0].source == "faq.csv:2 and faq.csv:4"
    assert contradiction.figures == {"pairs": 1, "by_kind": {"opposite": 1}}
    assert contradiction.sentence.startswith("2 examples (67 %) contradict each other")
    assert (contradiction.severity, contradiction.action, contradiction.option) == ("warning", "dropped", "--drop contradictions")
    assert "different-answers" not in found


def test_answers_that_merely_differ_are_told_apart() -> None:
    found = findings(("Write a poem.", "Roses are red"), ("write a poem", "The sea lies still"))
    assert found["different-answers"].flagged == (0, 1)
    assert found["different-answers"].severity == "note"
    assert "contradictions" not in found


@pytest.mark.parametrize(
    ("before", "after"),
    [("use", "not use"), ("possible", "impossible"), ("a laptop", "2 laptops"), ("summer", "summer 2019"), ("on a", "without a")],
)
def test_prompts_that_ask_something_else_do_not_contradict(before: str, after: str) -> None:
    assert findings((QUESTION, "Yes."), (QUESTION.replace(before, after), "No.")) == {}


def test_enable_and_disable_ask_different_things() -> None:
    question = "In the new settings of the mobile program for families, how do I enable the weekly summary of all that happened?"
    assert findings((question, "No, you have to write to us."), (question.replace("enable", "disable"), "Yes, in the settings.")) == {}


def test_copies_contradict_once_and_chains_do_not_count() -> None:
    """Of answers that are the same, one is compared."""
    found = findings((QUESTION, "Yes."), (QUESTION, "yes"), (QUESTION, "No."))
    assert found["contradictions"].figures["pairs"] == 1


def test_raw_text_has_no_answers() -> None:
    texts = [build_example("a.txt:1", text="Yes it is"), build_example("a.txt:2", text="Yes it is")]
    assert run_checks(texts, ["contradictions"], context=CheckContext()) == []
