from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.evaluate.fakes import answer, example, record
from tunesmith.analyze.catalogue import ERROR_GROUPS, explain_failures
from tunesmith.analyze.groups import GroupContext, copied_share, find_loop, repeated_share
from tunesmith.analyze.redirections import Redirection
from tunesmith.analyze.spelling import Spelling
from tunesmith.config import AnalyzeConfig
from tunesmith.evaluate.flips import RightRule
from tunesmith.types import FinishReason

PROMPT = "How do I reset the blue coffee machine in the office kitchen?"
REFERENCE = "Hold the round button on the left of the machine for five seconds, until its lamp turns green."
DECLINE = "I can only help with coffee machines, sorry."
CONTEXT = GroupContext(
    config=AnalyzeConfig(),
    redirections=(Redirection(text=DECLINE, num_prompts=9),),
    spelling=Spelling.learn([example("Coffee?", "Yes, coffee.")]),
    right_rule=RightRule(metric="token_f1", threshold=0.5),
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
        ("Open the flap at the back of the coffee machine, and pour clean water into the left tank slowly.", {"unlike_reference"}),
    ],
)
def test_each_answer_falls_into_its_groups(completion: str, expected: set[str]) -> None:
    assert set(failures(completion)) == expected


def test_cut_answers_even_right_ones() -> None:
    assert failures(REFERENCE, finish_reason="max_new_tokens") == {"cut": "stopped by max_new_tokens after 19 tokens, not by the model"}
    assert "the model's context" in failures(REFERENCE, finish_reason="context_full")["cut"]


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
    assert len(set(names)) == len(names) == 11
    assert all(group.remedy.endswith(".") and group.title for group in ERROR_GROUPS)
