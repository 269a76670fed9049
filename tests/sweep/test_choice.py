"""Losses are compared per byte of what each model was scored on, and what does not compare is said."""

from __future__ import annotations

import dataclasses

import pytest

from tunesmith.sweep.choice import choose_best, scored_examples, supervised_text
from tunesmith.sweep.report import TrialResult
from tunesmith.types import Example, Message


def example(name: str, *turns: str, source: str = "", **more: object) -> Example:
    roles = ("user", "assistant") * len(turns)
    messages = tuple(Message(role=role, content=turn) for role, turn in zip(roles, turns, strict=False))
    values = {"id": name, "source": source or f"faq:{name}", "group": name, "messages": messages, **more}
    return Example(**values)  # type: ignore[arg-type]


def result(name: str, loss: float | None, per_byte: float | None = None, **more: object) -> TrialResult:
    known = TrialResult(name=name, model="m", num_examples=1, varied={}, status="done", objective="sft", validation_loss=loss)
    return dataclasses.replace(known, validation_nats_per_byte=per_byte, **more)


def test_what_was_too_long_counts_neither_in_loss_nor_bytes() -> None:
    split = [example("a", "q", "four"), example("b", "q", "é"), example("c", "q", "a long answer")]
    assert scored_examples(split, []) == (4 + 2 + 13, ())
    assert scored_examples(split, ["faq:c"]) == (6, ("c",))


def test_of_several_examples_with_one_source_the_longest_were_too_long() -> None:
    split = [example(name, "q", "x" * length, source="tasks:1") for name, length in (("a", 5), ("b", 50), ("c", 20))]
    assert scored_examples(split, ["tasks:1", "tasks:1"]) == (5, ("b", "c"))


def test_every_answer_that_is_learnt_counts() -> None:
    assert supervised_text(example("a", "hi", "one", "and", "two")) == "onetwo"
    assert supervised_text(example("a", "hi", "one", "and", "two", rejected="three")) == "two"
    assert supervised_text(Example(id="t", source="t", group="t", text="as it stands")) == "as it stands"
    assert scored_examples([example("a", "hi", "yes", label=True), example("b", "hi", "no!", label=False)], []) == (3, ())


def test_a_tokenizer_of_fewer_tokens_has_no_advantage() -> None:
    """Of one text, long tokens have more nats each."""
    assert choose_best([result("long-tokens", 2.0, 0.4), result("short-tokens", 1.5, 0.5)]).best == "long-tokens"


def test_other_objectives_are_compared_by_their_own_loss() -> None:
    dpo = [result(name, loss, objective="dpo") for name, loss in (("a", 0.6), ("b", 0.5))]
    assert choose_best(dpo) == ("b", ())
    mixed = choose_best([*dpo, result("c", 1.5, 0.4)])
    assert mixed.best is None
    assert mixed.notes == ("no best: losses of different objectives (dpo, sft) do not compare",)


def test_different_examples_are_said() -> None:
    one = [result("001-a", 2.0, 0.4), result("002-b", 1.5, 0.5, validation_left_out=("x", "y")), result("003-a", 2.0, 0.3)]
    best, notes = choose_best(one)
    assert best == "003-a"
    assert notes == (
        "validation losses are not of the same examples, left out as too long: 001-a 0, 002-b 2; a larger max-length would keep them",
    )
    assert choose_best([one[0], one[2]]).notes == ()
    (note,) = choose_best([result("001-a", 2.0, 0.4), result("002-b", 1.5, 0.5, test_left_out=3)]).notes
    assert "not of the same test examples, left out as too long: 001-a 0, 002-b 3" in note


@pytest.mark.parametrize(("trials", "notes"), [([], 0), ([result("a", None)], 1)])
def test_without_losses_there_is_no_best(trials: list[TrialResult], notes: int) -> None:
    best, said = choose_best(trials)
    assert best is None
    assert len(said) == notes
