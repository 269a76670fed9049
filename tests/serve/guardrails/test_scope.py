"""Off the subject or on it: by nearness, calibrated on the training prompts, and by words."""

from __future__ import annotations

import numpy as np
import pytest

from tests.samples import messages, qa
from tunesmith.errors import AssetError, ConfigError
from tunesmith.serve.guardrails import nearness as nearness_module
from tunesmith.serve.guardrails.nearness import Nearness, Trained
from tunesmith.serve.guardrails.scope import ScopeRule, ScopeSettings, judged_text, learn_scope, off_topic
from tunesmith.types import Example

REDIRECTION = "Let us keep to the garden, please."
VERBS = ("plant", "water", "prune", "harvest", "move", "feed", "sow", "graft")
PLANTS = ("roses", "beans", "apples", "tulips", "ferns", "leeks", "plums", "herbs", "vines", "figs")
TRAIN: list[Example] = [
    *[
        qa(f"When should I {verb} the {plant} in my garden?", f"{verb} {plant} {i} times.", f"g:{verb}-{plant}")
        for i, verb in enumerate(VERBS)
        for plant in PLANTS
    ],
    *[qa(f"Who won the {sport} championship?", REDIRECTION, f"o:{sport}") for sport in ("football", "tennis", "chess", "rugby")],
]


def rule(**settings: object) -> ScopeRule:
    chosen = ScopeSettings(**{"by": "words", **settings})  # type: ignore[arg-type]
    return ScopeRule(chosen, learn_scope(chosen, TRAIN))


def test_off_topic_questions_get_the_models_own_redirection() -> None:
    verdict = rule().check_prompt(messages(("u", "What is the boiling point of mercury?")))
    assert verdict.answer == REDIRECTION
    assert verdict.fired[0].detail.startswith("far from the training prompts (0.")


def test_on_topic_questions_pass() -> None:
    assert rule().check_prompt(messages(("u", "When should I water the figs and the vines in my garden?"))).goes_on


def test_what_is_nearest_to_a_redirected_prompt_is_off_the_subject() -> None:
    found = rule(min_similarity=-1.0).reason("Who won the cricket championship?")
    assert found is not None
    assert found.startswith("nearest to a training prompt that is redirected")


def test_unknown_words_count_against_a_prompt() -> None:
    """Those of the training prompts alone would make it look near."""
    trained = Trained.learn(TRAIN, model="words")
    near, far = trained.nearest(["When should I water the roses?", "When should I solder the quantum xylophone?"])
    assert near.answered > 0.5 > far.answered
    assert trained.nearest([TRAIN[0].prompt])[0].answered == pytest.approx(1.0)


def test_the_threshold_is_the_quantile_of_the_training_prompts_own_neighbours() -> None:
    trained = Trained.learn(TRAIN, model="words")
    assert trained.is_redirected.sum() == 4
    assert trained.threshold(0.1) == pytest.approx(np.quantile(trained.others, 0.1))
    assert rule(unusual=0.1).scope.threshold == pytest.approx(trained.threshold(0.1))
    assert rule(min_similarity=0.33).scope.threshold == 0.33


def test_few_training_prompts_need_a_threshold() -> None:
    chosen = ScopeSettings(by="words", answer="No.")
    with pytest.raises(ConfigError, match="too few training prompts"):
        learn_scope(chosen, TRAIN[:20])
    assert learn_scope(chosen.model_copy(update={"min_similarity": 0.2}), TRAIN[:20]).threshold == 0.2


def test_without_redirections_something_must_be_said() -> None:
    with pytest.raises(ConfigError, match="no redirection"):
        learn_scope(ScopeSettings(by="words"), TRAIN[:80])


def test_without_training_prompts_words_alone_decide() -> None:
    with pytest.raises(ConfigError, match="no training prompts"):
        learn_scope(ScopeSettings(answer="No."), None)
    chosen = ScopeSettings(by="none", answer="No.", deny_words=("politics",), deny_patterns=(r"(?i)\bwho won\b",))
    alone = ScopeRule(chosen, learn_scope(chosen, None))
    assert alone.reason("Politics, please.") == "a deny rule matches"
    assert alone.reason("who won?") == "a deny rule matches"
    assert alone.reason("Anything else") is None


def test_deny_beats_allow_beats_nearness() -> None:
    both = rule(allow_words=("mercury",), deny_words=("roses",))
    assert both.reason("What is the boiling point of mercury?") is None
    assert both.reason("When should I water the roses in my garden?") == "a deny rule matches"
    assert both.reason("mercury roses") == "a deny rule matches"


def test_a_short_message_is_read_with_the_one_before() -> None:
    first, answer = ("u", "When should I water the roses in my garden?"), ("a", "In the morning.")
    assert judged_text(messages(first, answer, ("u", "And in winter?"))).endswith("garden? And in winter?")
    long = "Please tell me now who won the last world war"
    assert judged_text(messages(first, answer, ("u", long))) == long


@pytest.mark.parametrize(("near", "is_off"), [((0.6, 0.1), False), ((0.4, 0.1), True), ((0.6, 0.7), True), ((0.6, -1.0), False)])
def test_both_reasons(near: tuple[float, float], is_off: bool) -> None:
    assert (off_topic(Nearness(*near), 0.5) is not None) is is_off


def test_without_the_sentence_model_words_are_compared_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise AssetError("all-minilm-l6-v2", "it is nowhere", expected="x", remedy="y")

    monkeypatch.setattr(nearness_module, "embedder", missing)
    trained = Trained.learn(TRAIN, model="auto")
    assert trained.vectors.by == "words"
    assert "it is nowhere" in (trained.vectors.note or "")
    with pytest.raises(AssetError):
        Trained.learn(TRAIN, model="some-model")


def test_neither_end_of_a_long_prompt_hides_the_other() -> None:
    trained = Trained.learn(TRAIN, model="words")
    usual = "When should I water the roses in my garden? " * 100
    odd = "Parliament elections inflation budget senate. " * 100
    near, behind, before = trained.nearest([usual, usual + odd, odd + usual])
    assert near.answered > 0.5
    assert max(behind.answered, before.answered) < 0.1


def test_texts_without_a_word_are_near_nothing() -> None:
    assert Trained.learn(TRAIN, model="words").nearest(["?!", ""])[0].answered == 0.0
