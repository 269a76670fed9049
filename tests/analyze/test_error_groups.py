from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.evaluate.fakes import answer, example, record
from tunesmith.analyze.catalogue import ERROR_GROUPS, explain_failures
from tunesmith.analyze.copies import copied_share
from tunesmith.analyze.groups import SEVERITIES, GroupContext
from tunesmith.analyze.knowledge import Knowledge, Recalled
from tunesmith.analyze.repetition import compression_ratio, find_loop, repeated_share
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig
from tunesmith.evaluate.flips import RightRule
from tunesmith.evaluate.scorers.redirections import Redirection
from tunesmith.types import FinishReason

PROMPT = "How do I reset the blue coffee machine in the office kitchen?"
REFERENCE = "Hold the round button on the left of the machine for five seconds, until its lamp turns green."
DECLINE = "I can only help with coffee machines, sorry."
CONTEXT = GroupContext(
    config=AnalyzeConfig(),
    redirections=(Redirection(text=DECLINE, num_prompts=9),),
    spelling=Spelling.learn([example("Coffee?", "Yes, coffee.")]),
    right_rule=RightRule(metric="token_f1", threshold=0.5),
    knowledge=Knowledge(words=frozenset({"coffee"}), numbers=frozenset({"7"}), addresses=frozenset({"acme.com/help"})),
)


def failures(
    completion: str, *, prompt: str = PROMPT, reference: str = REFERENCE, finish_reason: FinishReason = "end_of_turn"
) -> Mapping[str, str]:
    said = answer(completion, reference, finish_reason=finish_reason)
    return explain_failures(record(prompt=prompt, reference=reference, tuned=said), said, CONTEXT)


LOOP = "Press the button. " * 13
ADJECTIVES = "red, big, old, new, tall, wide, flat, soft, hard, warm, cold, dark, pale, thin, thick, loud"
RAMBLE = f"To reset the machine you hold the round button, but there are many more matters to think of first: {ADJECTIVES}, each one."


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (REFERENCE, set()),
        (REFERENCE.upper().replace(",", ""), set()),
        ("Hold the round button on the left for five seconds until the lamp of the machine is green.", set()),
        ("", {"empty"}),
        (" \n\t", {"empty"}),
        ("Hold it.", {"too_short"}),
        (RAMBLE, {"too_long"}),
        (LOOP, {"repetitive", "too_long"}),
        (PROMPT, {"copies_prompt"}),
        ("Hold the round buton on the left of the machine for five seconds, until its lamp turns green.", {"misspelt"}),
        (DECLINE, {"needless_redirection"}),
        ("Sharks have several rows of teeth, which they replace through their whole life in warm oceans.", {"off_topic"}),
        ("Open Lamp_Authenticator on the left of the machine, then hold the round button until it is green.", set()),
        ("Open the flap at the back of the coffee machine, and pour clean water into the left tank slowly.", {"unlike_reference"}),
    ],
)
def test_each_answer_falls_into_its_groups(completion: str, expected: set[str]) -> None:
    assert set(failures(completion)) == expected


def test_to_decline_in_other_words_is_right() -> None:
    assert failures("Sorry, I can't help with that.", reference=DECLINE) == {}


def test_cut_is_not_the_same_as_never_ending() -> None:
    half = "Hold the round button on the left of the machine for five"
    assert failures(half, finish_reason="max_new_tokens") == {"cut": "stopped by max_new_tokens after 13 tokens, in mid-answer"}
    assert "the model's context" in failures(half, finish_reason="context_full")["cut"]
    complete = failures(REFERENCE, finish_reason="max_new_tokens")
    assert complete == {"no_end": "its last sentence is complete, yet it went on until max_new_tokens stopped it after 19 tokens"}
    assert set(failures(LOOP + "Press", finish_reason="max_new_tokens")) == {"no_end", "repetitive", "too_long"}
    assert set(failures(RAMBLE.rstrip("."), finish_reason="context_full")) == {"no_end", "too_long"}
    assert failures(half) == {}, "it ended by itself"


def test_redirections_missed_and_met() -> None:
    sharks = "Why do sharks have so many teeth?"
    missed = failures("Sharks have many teeth because they lose some, " * 4, prompt=sharks, reference=DECLINE)
    assert set(missed) == {"missed_redirection", "repetitive"}  # not too long: the length of a redirection is no measure
    assert "missed_redirection" in failures("Sharks have many teeth because they lose some.", prompt=sharks, reference=DECLINE)
    assert failures(DECLINE, prompt=sharks, reference=DECLINE) == {}
    assert failures("Sorry, I can help only with coffee machines!", prompt=sharks, reference=DECLINE) == {}
    assert failures("I can help with coffee machines only.", prompt=sharks, reference=DECLINE) == {}


def test_explanations_give_the_figures() -> None:
    assert failures(RAMBLE)["too_long"] == "37 words where the reference has 18, 2.1 times as many (limit 2)"
    assert failures("Hold it.")["too_short"] == "2 words where the reference has 18 (limit 9)"
    assert failures(PROMPT)["copies_prompt"] == "100% of its 4-grams stand in the prompt (limit 80%)"
    assert "again and again" in failures(LOOP)["repetitive"]
    assert failures("Hold the round buton on the left of the machine for five seconds, until its lamp turns green.") == {
        "misspelt": "'buton' for 'button'"
    }
    assert failures(DECLINE)["needless_redirection"] == f"redirects where it should answer: {DECLINE!r}"


def test_what_the_reference_does_too_is_no_failure() -> None:
    poem = "row row row row row the boat " * 6
    assert "repetitive" not in failures(poem + "home", reference=poem)
    quote = "reset the blue coffee machine in the office kitchen"
    assert failures("How do I reset the blue coffee machine", reference=quote) == {}


def test_short_answers_are_not_called_off_topic() -> None:
    assert "off_topic" not in failures("Yes, certainly.", reference="Correct.")
    assert set(failures("top up", prompt="My card is gone", reference="card lost")) == {"unlike_reference"}


def test_other_scripts() -> None:
    said = "长按左侧的圆形按钮五秒钟直到灯变绿"
    assert failures(said, prompt="怎么重置咖啡机？", reference="长按左侧圆形按钮五秒，直到灯变成绿色。") == {}
    assert "too_long" in failures(said * 3, prompt="怎么重置咖啡机？", reference="长按左侧圆形按钮五秒，直到灯变成绿色。")
    assert "off_topic" in failures(
        "Кошки спят шестнадцать часов подряд", prompt="Как сбросить машину?", reference="Нажмите круглую кнопку слева."
    )


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("no no no no no", ["no"]),
        ("no no no no", None),
        ("a b a b a b a b a b", ["a", "b"]),
        ("one two three one two three one two three", ["one", "two", "three"]),
        ("one two three one two three", None),
        ("first we go and then we stop", None),
        ("", None),
    ],
)
def test_loops(text: str, loop: list[str] | None) -> None:
    assert find_loop(text.split()) == loop


def test_repeated_and_copied_shares_by_hand() -> None:
    assert repeated_share(list("abcdabcd")) == pytest.approx(1 / 5)  # abcd bcda cdab dabc abcd
    assert repeated_share(["a"] * 4) == 0
    assert copied_share("what is a red cat", "what is a red dog") == pytest.approx(1 / 2)
    assert copied_share("Hello there!", "hello there") == 1
    assert copied_share("hello", "hello there") == 0
    assert copied_share("", "") == 0


def test_names_are_unique_and_every_group_has_a_remedy() -> None:
    names = [group.name for group in ERROR_GROUPS]
    assert len(set(names)) == len(names) == 21
    assert {group.severity for group in ERROR_GROUPS} == set(SEVERITIES)
    assert all(group.remedy.endswith(".") and group.title for group in ERROR_GROUPS)


@pytest.mark.parametrize(
    ("added", "group", "named"),
    [
        ("See https://www.Zantra.io/docs.", "invented_address", "zantra.io/docs"),
        ("Write to help@zantra.org.", "invented_address", "help@zantra.org"),
        ("It takes 4,250 seconds.", "invented_number", "4250"),
        ("That is 3.7% of all.", "invented_number", "3.7"),
        ("It was built by Maria Gonzalez.", "invented_name", "Maria Gonzalez"),
        ("See http://acme.com/help.", None, ""),  # in the training data
        ("See acme.com.", None, ""),
        ("It takes 7 seconds.", None, ""),
        ("It takes five seconds, or 5.", None, ""),  # in the reference
        ("\n1. Hold\n2. Wait", None, ""),  # marks of a list
        ("Call `reset(9999)`.", None, ""),
        ("The Coffee is for example at localhost:8000 or example.com.", None, ""),
    ],
)
def test_claims_that_nothing_supports(added: str, group: str | None, named: str) -> None:
    found = failures(f"{REFERENCE} {added}")
    assert set(found) == ({group} if group else set())
    assert group is None or found[group].startswith(named)


@pytest.mark.parametrize(
    ("reference", "completion", "is_wrong"),
    [
        ('{"queue": "a"}', '{"queue": "b"}', False),
        ('{"queue": "a"}', "queue: b", True),
        ('{"queue": "a"}', '{"queue": "b"', True),
        ('{"queue": "a"}', "{'queue': 'a'}", True),  # the same words
        ('{"queue": "a"}', '{"team": "b"}', True),
        ('{"queue": "a"}', '```json\n{"queue": "b"}\n```', True),
        ("42", "43", False),
        ("42", "It is a few.", True),
        ("- red\n- blue", "1. green\n2. grey", False),
        ("- red\n- blue", "red and blue", True),
        ("```\nrun()\n```", "```\nstop()\n```", False),
        ("```\nrun()\n```", "Call run.", True),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a is 1", True),
        ("# Title\nText", "Text", True),
        ("Plain text.", "- a\n- b", False),
    ],
)
def test_formats(reference: str, completion: str, is_wrong: bool) -> None:
    assert ("wrong_format" in failures(completion, reference=reference)) == is_wrong


def test_labels_are_a_format() -> None:
    train = [example(f"Ticket {i}", ("billing", "shipping")[i % 2]) for i in range(40)]
    known = Knowledge.learn(train, [], AnalyzeConfig())
    assert known.labels == {"billing", "shipping"}
    context = replace(CONTEXT, knowledge=known)
    for said, wrong in (("Shipping", False), ("I think it is about money", True)):
        asked = record(reference="billing", tuned=said)
        assert ("wrong_format" in explain_failures(asked, asked.tuned, context)) == wrong


def test_languages() -> None:
    german = "Halte den runden Knopf an der linken Seite der Maschine fünf Sekunden lang gedrückt, bis das Licht grün wird."
    assert failures(german)["wrong_language"] == "German where English is expected"
    assert "wrong_language" not in failures(german, reference=german.replace("fünf", "sechs"))
    assert failures("Нажмите кнопку")["wrong_language"] == "written in Cyrillic letters, the reference is not"
    assert "wrong_language" not in failures("Hold it for a bit")


def test_refusals_by_their_phrases() -> None:
    refusal = "I'm sorry, but I can't help with that."
    assert set(failures(refusal)) == {"needless_refusal"}
    assert set(failures(REFERENCE, reference=refusal)) == {"missed_refusal"}
    assert "missed_redirection" not in failures(refusal, reference=DECLINE)  # it declined
    assert failures("Sorry, I cannot assist with this request.", reference=refusal).keys() <= {"unlike_reference"}


def test_a_training_answer_that_belongs_elsewhere() -> None:
    elsewhere = "Descale the boiler with vinegar every month and rinse it with clean water three times."
    train = [example("How do I descale the boiler?", elsewhere, name="9"), example("Is it blue?", "Yes, on all of its sides.")]
    said = elsewhere.replace("vinegar", "citric acid")
    for prompt, wrong in ((PROMPT, True), ("How do I descale the boiler?", False)):
        asked = record(prompt=prompt, reference=REFERENCE, tuned=said)
        context = replace(CONTEXT, knowledge=Knowledge.learn(train, [said], AnalyzeConfig(memorised_share=0.4)))
        assert isinstance(context.knowledge.recalled[said], Recalled)
        assert ("memorised" in explain_failures(asked, asked.tuned, context)) == wrong


def test_texts_that_pack_too_well() -> None:
    assert compression_ratio("short") == 1
    assert compression_ratio(LOOP * 3) > 5
    assert "stutters" in failures(f"{REFERENCE} {'ha' * 20}")["repetitive"]
