"""One pass, in one process or several, says the same; what needs the whole set; what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.samples import qa
from tunesmith.config import PrepareConfig
from tunesmith.data.builtin import builtin_data_file
from tunesmith.data.checks import CHECKS, CheckContext, Finding, default_checks, run, run_checks
from tunesmith.data.checks.finding import excerpt, percent
from tunesmith.data.checks.registry import prepare_checks
from tunesmith.data.converting.columns import recognise
from tunesmith.data.converting.examples import build_example, to_examples
from tunesmith.data.reading.readers import read_rows
from tunesmith.errors import ConfigError
from tunesmith.types import Example, Message

CONTEXT = CheckContext(max_tokens=40)


@pytest.fixture(scope="module")
def examples() -> tuple[Example, ...]:
    rows = read_rows(builtin_data_file())
    clean = list(to_examples(rows, recognise(rows, PrepareConfig()), PrepareConfig()).examples)
    clean[7] = replace(clean[7], messages=(*clean[7].messages[:-1], Message(role="assistant", content="Write to ann@firm.org, or")))
    clean[200] = replace(clean[200], messages=(*clean[200].messages[:-1], Message(role="assistant", content="TODO")))
    return tuple(clean)


def find(examples: tuple[Example, ...], *names: str, context: CheckContext = CONTEXT) -> dict[str, Finding]:
    return {one.check: one for one in run_checks(examples, names, context=context)}


def test_the_built_in_set_is_in_order() -> None:
    rows = read_rows(builtin_data_file())
    clean = to_examples(rows, recognise(rows, PrepareConfig()), PrepareConfig()).examples
    assert {one.severity for one in run_checks(clean, context=CheckContext())} == {"note"}


def test_slices_make_no_difference(examples: tuple[Example, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in default_checks() if CHECKS[name].scope == "each"]
    whole = run_checks(examples, names, context=CONTEXT)
    monkeypatch.setattr(run, "SLICE", 60)
    assert run_checks(examples, names, processes=2, context=CONTEXT) == whole


def test_slices_make_no_difference_to_what_is_near(examples: tuple[Example, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["near-duplicates", "contradictions"]
    whole = run_checks(examples, names, context=CONTEXT)
    monkeypatch.setattr(run, "SLICE", 60)
    assert run_checks(examples, names, processes=2, context=CONTEXT) == whole


def test_prepare_leaves_topics_to_check() -> None:
    assert set(default_checks()) - set(prepare_checks()) == {"topics"}


def test_worst_first_with_places_and_options(examples: tuple[Example, ...]) -> None:
    found = run_checks(examples, ["lengths", "pii", "placeholder-answer", "truncated-answer", "over-length"], context=CONTEXT)
    assert [one.severity for one in found] == sorted((one.severity for one in found), key=["problem", "warning", "note"].index)
    by_name = {one.check: one for one in found}
    assert by_name["pii"].flagged == (7,)
    assert by_name["pii"].option == "--fix pii"
    assert by_name["pii"].sentence == "1 example (0.2 %) holds personal data or secrets: 1 with an e-mail address"
    assert by_name["pii"].specimens[0].source == examples[7].source
    assert "ann@firm.org" in by_name["pii"].specimens[0].excerpt
    assert by_name["placeholder-answer"].flagged == (200,)
    assert 7 in by_name["truncated-answer"].flagged
    json.dumps([one.to_json() for one in found])


def test_what_will_be_done_is_said(examples: tuple[Example, ...]) -> None:
    context = CheckContext(drops=frozenset({"placeholder-answer"}), fixes=frozenset({"pii"}))
    found = find(examples, "pii", "placeholder-answer", "truncated-answer", context=context)
    assert [found[name].action for name in ("pii", "placeholder-answer", "truncated-answer")] == ["fixed where possible", "dropped", "kept"]


def test_an_unknown_check_is_refused() -> None:
    with pytest.raises(ConfigError, match="'spelling'"):
        run_checks((), ["spelling"], context=CONTEXT)


def test_nothing_to_look_at_is_no_fault() -> None:
    assert run_checks((), [name for name, entry in CHECKS.items() if entry.scope == "each" and entry.by_default], context=CONTEXT) == []


def classified(counts: dict[str, int]) -> tuple[Example, ...]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return tuple(qa(f"Text number {number}", label, source=f"a.csv:{number}") for number, label in enumerate(labels))


def test_classes_are_counted_and_the_rare_ones_named() -> None:
    (found,) = run_checks(classified({"spam": 60, "ham": 38, "eggs": 2}), ["class-balance"], context=CONTEXT)
    assert found.figures["classes"] == {"spam": 60, "ham": 38, "eggs": 2}
    assert found.severity == "warning"
    assert found.specimens[0].excerpt.endswith("-> eggs")
    assert found.sentence == "3 classes: from 60 of 'spam' down to 2 of 'eggs'; 1 has fewer than 5 examples"


def test_answers_of_their_own_are_no_classes() -> None:
    assert run_checks(classified({f"answer {number}": 1 for number in range(50)}), ["class-balance"], context=CONTEXT) == []


def test_redirections_are_recognised_by_standing_everywhere() -> None:
    stock = "That is nothing we talk about here."
    others = tuple(qa(f"Question {n}?", f"Answer number {n} is a sentence of its own.", source=f"b.csv:{n}") for n in range(40))
    asked = tuple(qa(f"Off topic {n}?", stock, source=f"c.csv:{n}") for n in range(5))
    found = find((*others, *asked), "refusals")["refusals"]
    assert found.flagged == (40, 41, 42, 43, 44)
    assert found.figures["redirections"] == {stock.lower(): 5}


def test_shared_openings_are_said_and_stock_answers_are_not() -> None:
    opened = tuple(qa(f"Q{n}?", f"Sure, I can certainly tell you all about number {n}.", source=f"a.csv:{n}") for n in range(12))
    stock = tuple(qa(f"R{n}?", "This is the very same long answer every single time.", source=f"b.csv:{n}") for n in range(12))
    found = find((*opened, *stock), "same-opening")["same-opening"]
    assert found.flagged == tuple(range(12))
    assert found.severity == "warning"


def test_over_length_counts_tokens_where_it_can() -> None:
    one = (qa("Hi?", "x" * 50),)
    assert run_checks(one, ["over-length"], context=CheckContext(max_tokens=40)) == []
    (found,) = run_checks(one, ["over-length"], context=CheckContext(max_tokens=40, count_tokens=len))
    assert (found.figures["longest"], found.flagged) == (53, (0,))


def test_outliers_are_far_from_the_others() -> None:
    usual = tuple(qa("Why?", "x" * (90 + n % 20), source=f"a.csv:{n}") for n in range(100))
    (found,) = run_checks((*usual, qa("Why?", "x" * 5000)), ["length-outliers"], context=CONTEXT)
    assert found.flagged == (100,)


def test_lengths_add_up() -> None:
    (found,) = run_checks(tuple(qa("one two", "one two three") for _ in range(4)), ["lengths"], context=CONTEXT)
    answer = found.figures["parts"]["answer"]
    assert (answer["median"], answer["max"], answer["sum"], sum(answer["bins"])) == (3, 3, 12, 4)
    assert found.figures["whole"]["sum"] == 20


def test_truncation_is_told_from_the_other_answers() -> None:
    def of(last: str, *, stop: str) -> tuple[Example, ...]:
        others = [f"The number {n} stands for a part of the engine{stop}" for n in range(40)]
        return tuple(qa("Why?", answer, source=f"a.csv:{n}") for n, answer in enumerate([*others, last]))

    assert find(of("It reads the file and the", stop="."), "truncated-answer")["truncated-answer"].flagged == (40,)
    assert find(of("It reads the file and writ", stop="."), "truncated-answer")["truncated-answer"].flagged == (40,)
    assert find(of("It reads the file and writ", stop=""), "truncated-answer") == {}
    assert find(of("See https://example.org/docs for all of it", stop="."), "truncated-answer")
    assert find(of("All of it stands at https://example.org/docs", stop="."), "truncated-answer") == {}
    assert find(of("```python\nprint(1)", stop=""), "truncated-answer")["truncated-answer"].flagged == (40,)


def test_ends_without_a_full_stop_are_told_by_their_words() -> None:
    said = "The engine reads the table of every order, and a clerk then sends the parcel."
    others = [qa("Why?", said, source=f"a.csv:{n}") for n in range(60)]
    ends = ("and a clerk then sends the parcel", "reads the table of every order", "the table of every ord", "then sends a par")
    last = [qa("Why?", f"{number} is the number of it: {end}") for number, end in enumerate(ends)]
    (found,) = run_checks((*others, *last), ["truncated-answer"], context=CONTEXT)
    assert found.flagged == (61, 62, 63)
    assert found.figures["signs"] == {"within a word": 2, "after a word that goes on in the other answers": 1}


def test_an_end_that_several_answers_share_is_their_own() -> None:
    said = "The engine reads the table of every order, and a clerk then sends the parcel."
    others = [qa("Why?", said, source=f"a.csv:{n}") for n in range(60)]
    formula = [qa("Who?", f"{name} am a bot, ask me about anything related to Acme reads") for name in ("I", "Here I", "So I")]
    assert find((*others, *formula), "truncated-answer") == {}
    assert find((*others, formula[0]), "truncated-answer")["truncated-answer"].flagged == (60,)


def test_excerpts_are_one_line_with_the_fault_in_it() -> None:
    shown = excerpt("a" * 300 + "\nFAULT\u200b" + "b" * 300, 301, 307)
    assert "⏎ FAULT[U+200B]" in shown
    assert shown.startswith("…")
    assert len(shown) < 200
    assert percent(0.0002) == "under 0.1 %"


def test_ids_of_any_form_can_be_sampled() -> None:
    made = build_example("a.csv:1", messages=(Message(role="user", content="Hi"), Message(role="assistant", content="Hello")))
    assert run_checks((made, qa("Hi?", "Hello.")), ["repeated-phrases"], context=CONTEXT) == []


def test_what_no_fix_helps_is_offered_to_be_dropped() -> None:
    unfilled, wrapped = qa("Who are you?", "I am {{name}}."), qa("### Question:\nWho?\n\n### Answer:", "Me.")
    assert find((unfilled,), "template-residue")["template-residue"].option == "--drop template-residue"
    assert find((unfilled, wrapped), "template-residue")["template-residue"].option == "--fix template-residue"
