"""A user's expressions are searched for a limited time, and hostile ones are refused before they are used."""

from __future__ import annotations

import time

import pytest

from tunesmith.errors import ConfigError
from tunesmith.serve.guardrails.patterns import LONGEST, MOST, SECONDS, Patterns, TooSlow, well_formed


def of(*expressions: str, words: tuple[str, ...] = ()) -> Patterns:
    return Patterns.of(words=words, expressions=expressions, place="scope.deny_patterns")


def test_words_stand_alone_in_any_case_and_expressions_as_they_are() -> None:
    assert of(words=("refund", "gift card")).found("No REFUNDs, but a Gift\ncard.")
    assert not of(words=("refund",)).found("refunds")
    assert of(r"\border \d+").found("order 17")
    assert not of(r"\border \d+").found("Order 17")
    assert not of(words=("a.b",)).found("axb")
    assert not of().found("anything")


@pytest.mark.parametrize("hostile", [r"(a+)+$", r"(a|a)*$", r"(\w+\s?)*$", r"(x*)*y", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(0|00)*!"])
def test_hostile_expressions_are_refused(hostile: str) -> None:
    with pytest.raises(ConfigError) as caught:
        of(hostile)
    assert "scope.deny_patterns" in str(caught.value)
    assert "possessive" in str(caught.value)


@pytest.mark.parametrize(
    "harmless",
    [r"(?i)\b(war|peace)\b", r"https?://\S+", r"^who (is|was)\b.*\?$", r"\d{4}-\d{2}-\d{2}", r".*foo.*bar", r"[\w.]{1,64}@\w{1,255}"],
)
def test_harmless_expressions_are_taken(harmless: str) -> None:
    of(harmless)


@pytest.mark.parametrize(
    "broken", ["(", "[a", "a" * (LONGEST + 1), "(?P<x>a)(?P=y)", "(?:(?:(?:a{999}){999}){999}){999}", "((a{1,1000}){1,1000}){1,1000}"]
)
def test_broken_and_huge_expressions_are_refused(broken: str) -> None:
    with pytest.raises(ConfigError):
        of(broken)
    with pytest.raises(ConfigError, match=str(MOST)):
        of(*["a"] * (MOST + 1))


def test_a_search_ends_in_time() -> None:
    slow = Patterns(compiled=(well_formed(r"(b|b)*$", "x"),))
    start = time.monotonic()
    with pytest.raises(TooSlow):
        slow.found("b" * 5000 + "!")
    assert time.monotonic() - start < 20 * SECONDS
