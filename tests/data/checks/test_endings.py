"""How likely it is that a text without an end was cut: by counts of its last words, and by letters where a word is unknown."""

from __future__ import annotations

import pytest

from tunesmith.data.checks.endings import Ending, Endings, chances
from tunesmith.data.checks.truncated import cut_off

SENTENCE = "You can train a model on the text of your tickets, and the model answers questions about tickets."


@pytest.fixture
def endings() -> Endings:
    return Endings([Ending(SENTENCE.split())] * 20)


def test_odds_are_bayes_rule_on_counts() -> None:
    once = Endings([Ending(["a", "b.", "a", "c", "a", "b."])])  # 6 words, 2 ends
    share = 3 / 8
    for ends, count, trust in ((2, 2, 3.0), (2, 2, 1.5)):
        share = (ends + trust * share) / (count + trust)
    assert once.odds(("a", "b")).odds == pytest.approx((1 - share) / share * (3 / 8) / (5 / 8))


def test_words_that_end_sentences_and_words_that_do_not(endings: Endings) -> None:
    assert endings.odds(["questions", "about", "tickets"]).odds < 0.1
    assert endings.odds(["your", "tickets"]).odds < endings.odds(["of", "your", "tickets"]).odds  # the longer context goes on
    assert endings.odds(["answers", "questions"]).odds > 3
    assert not endings.odds(["answers", "questions"]).is_inside


def test_fragments_are_told_from_rare_words(endings: Endings) -> None:
    fragment, rare = endings.odds(["quest"]), endings.odds(["weights"])
    assert fragment.is_inside
    assert fragment.odds > 10 * rare.odds


def test_the_last_word_of_a_doubtful_text_says_nothing() -> None:
    half = Endings([Ending(["one", "two"], is_whole=False)])
    assert half.odds(["two"]) == half.odds(["wto"])  # equally unknown
    assert not half.is_standing(["one", "two"])
    assert Endings([Ending(["one", "two"])]).is_standing(["one", "two"])


def test_counts_are_the_same_when_only_asked_words_are_counted(endings: Endings) -> None:
    asked = Endings([Ending(SENTENCE.split())] * 20, last_words=["tickets"])
    assert asked.odds(["about", "tickets"]) == endings.odds(["about", "tickets"])


def test_the_share_of_cut_ones_is_estimated_with_their_chances() -> None:
    mostly_cut, mostly_whole = chances([3.0] + [50.0] * 20), chances([3.0] + [0.02] * 20)
    assert mostly_cut[0] > 0.95
    assert mostly_whole[0] < 0.25
    assert chances([3.0])[0] > 0.5
    assert chances([]) == []


def test_open_inline_code_at_the_very_end() -> None:
    cut = cut_off("The loop works offline, from `")
    assert cut is not None
    assert cut.sign == "in open inline code"
    assert cut_off("The loop works offline, from `a` to `b`") is None
