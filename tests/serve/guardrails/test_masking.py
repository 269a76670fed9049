"""Personal data and vulgar words: what is found is gone, what is not found is untouched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import messages
from tunesmith.data.checks.pii import find, mask
from tunesmith.serve.guardrails.pii import PiiRule, PiiSettings, masked
from tunesmith.serve.guardrails.profanity import MASK, ProfanityRule, ProfanitySettings, vulgar_spans, without
from tunesmith.serve.guardrails.rules import Guardrails

SECRETS = ("ann@firm.org", "+44 20 7946 0958", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "123-45-6789")
PLAIN = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="@0123456789"), max_size=80)


@given(st.lists(st.sampled_from(SECRETS), min_size=1, max_size=4), st.lists(PLAIN, min_size=5, max_size=5))
@settings(max_examples=150, deadline=None)
def test_masking_reveals_nothing_that_was_found(secrets: list[str], between: list[str]) -> None:
    text = " ".join(piece for pair in zip(between, [*secrets, ""], strict=False) for piece in pair)
    found = masked(text, None)
    assert not find(found.text)
    hidden = [text[hit.start : hit.end] for hit in find(text)]
    assert sum(found.counts.values()) == len(hidden)
    assert not any(one in found.text for one in hidden)
    assert found.text == mask(text)  # as the fix of training data has it


@given(PLAIN)
@settings(max_examples=150, deadline=None)
def test_a_text_without_personal_data_is_the_same_object(text: str) -> None:
    assert masked(text, None).text is text


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_masked_texts_are_not_vulgar_and_others_unchanged(text: str) -> None:
    spans = vulgar_spans(text)
    assert not vulgar_spans(without(text, spans))
    if not spans:
        assert without(text, spans) == text


def test_prompts_are_masked_but_for_the_systems_message() -> None:
    asked = messages(("s", "Answer for help@firm.org."), ("u", "I am ann@firm.org, +44 20 7946 0958."))
    verdict = PiiRule(PiiSettings(on="prompts")).check_prompt(asked)
    assert [one.content for one in verdict.messages] == ["Answer for help@firm.org.", "I am [EMAIL], [PHONE]."]
    (fired,) = verdict.fired
    assert (fired.rule, fired.side, fired.action, fired.detail) == ("pii", "prompt", "mask", "1 e-mail address, 1 phone number")


def test_only_the_kinds_asked_for_are_masked() -> None:
    rule = PiiRule(PiiSettings(kinds=("e-mail address",)))
    verdict = rule.check_answer("ann@firm.org or bob@firm.org, +44 20 7946 0958", messages(("u", "Who?")))
    assert verdict.text == "[EMAIL] or [EMAIL], +44 20 7946 0958"
    assert verdict.fired[0].detail == "2 e-mail addresses"
    assert rule.check_answer("Nobody.", ()).fired == ()


def test_what_fired_never_shows_what_it_was() -> None:
    rails = Guardrails(prompt_rules=[PiiRule(PiiSettings()), ProfanityRule(ProfanitySettings())])
    fired = rails.check_prompt(messages(("u", "shit, ann@firm.org"))).fired
    assert [one.rule for one in fired] == ["pii", "profanity"]
    assert not any("shit" in str(one) or "ann" in str(one) for one in fired)


@pytest.mark.parametrize("text", ["Oh SHIT.", "what the fuck", "(bullshit)"])
def test_vulgar_prompts_are_answered_by_a_stock_answer(text: str) -> None:
    verdict = ProfanityRule(ProfanitySettings(answer="No.")).check_prompt(messages(("u", text)))
    assert verdict.answer == "No."
    assert verdict.fired[0].detail == "1 vulgar word"


@pytest.mark.parametrize("text", ["Shitake mushrooms", "a cocktail", "the class passes", "Scunthorpe"])
def test_words_that_only_look_like_it_pass(text: str) -> None:
    assert ProfanityRule(ProfanitySettings()).check_prompt(messages(("u", text))).answer is None


def test_vulgar_answers_are_blocked_or_masked() -> None:
    blocked = ProfanityRule(ProfanitySettings()).check_answer("That is shit.", ())
    assert blocked.finish == "content_filter"
    assert "shit" not in blocked.text
    hidden = ProfanityRule(ProfanitySettings(answers="mask")).check_answer("That is shit, İ say.", ())
    assert (hidden.text, hidden.finish) == (f"That is {MASK}, İ say.", None)
