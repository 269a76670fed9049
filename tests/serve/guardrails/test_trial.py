"""Rates on a set where one knows what is wrong."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from tests.samples import messages
from tests.serve.guardrails.test_scope import TRAIN
from tunesmith.evaluate.probing.recognise import Recogniser
from tunesmith.serve.guardrails.material import general, of_examples
from tunesmith.serve.guardrails.rules import Guardrails
from tunesmith.serve.guardrails.settings import load_settings
from tunesmith.serve.guardrails.trial import Material, TrialAnswer, TrialPrompt, try_rules


def prompts(texts: list[str], *, is_on_topic: bool) -> list[TrialPrompt]:
    return [TrialPrompt(source=f"x:{i}", messages=messages(("u", text)), is_on_topic=is_on_topic) for i, text in enumerate(texts)]


def test_rates_of_both_errors_are_counted_exactly() -> None:
    rails = Guardrails.from_config(load_settings(None, ["scope={by: none, answer: Nope, deny_words: [war]}"]))
    on = ["garden war"] * 3 + ["garden"] * 17
    off = ["war"] * 6 + ["chess"] * 4
    material = Material(prompts=[*prompts(on, is_on_topic=True), *prompts(off, is_on_topic=False)], answers=[])
    (found,) = try_rules(rails, material, confidence=0.9).rules
    assert (found.false_alarms.count, found.false_alarms.total) == (3, 20)
    assert found.misses is not None
    assert (found.misses.count, found.misses.total) == (4, 10)
    expected = binomtest(3, 20).proportion_ci(0.9, method="exact")
    assert found.false_alarms.interval == pytest.approx((expected.low, expected.high))
    assert [one.text for one in found.alarms] == ["garden war"] * 3
    assert [one.text for one in found.missed] == ["chess"] * 4


def test_rules_are_tried_each_by_itself() -> None:
    """A prompt that one rule answers is looked at by the others all the same."""
    rails = Guardrails.from_config(load_settings(None, ["profanity=true", "pii=true"]))
    asked = prompts(["shit, ann@firm.org", "ann@firm.org", "Hello"], is_on_topic=True)
    answers = [TrialAnswer(source="a:1", messages=(), text=text) for text in ("shit", "Yes.", "bob@firm.org", "No.")]
    report = try_rules(rails, Material(prompts=asked, answers=answers), confidence=0.95)
    counts = {(one.rule, one.side): (one.false_alarms.count, one.false_alarms.total) for one in report.rules}
    assert counts == {
        ("pii", "prompt"): (2, 3),
        ("profanity", "prompt"): (1, 3),
        ("pii", "answer"): (1, 4),
        ("profanity", "answer"): (1, 4),
    }
    assert all(one.misses is None for one in report.rules)


def test_other_thresholds_trade_one_error_for_the_other() -> None:
    rails = Guardrails.from_config(load_settings(None, ["scope.by=words"]), train=TRAIN)
    held = of_examples(TRAIN, Recogniser.learn(TRAIN, None), place="here")
    assert sum(not one.is_on_topic for one in held.prompts) == 4
    report = try_rules(rails, Material(prompts=[*held.prompts, *general(TRAIN)], answers=[]), confidence=0.95)
    alarms = [one.false_alarms.count for one in report.thresholds]
    misses = [one.misses.count for one in report.thresholds]
    assert alarms == sorted(alarms)
    assert misses == sorted(misses, reverse=True)
    (own,) = report.rules
    same = next(one for one in report.thresholds if one.unusual == 0.1)
    assert (own.false_alarms.count, own.misses and own.misses.count) == (same.false_alarms.count, same.misses.count)
    assert report.to_json()["rules"][0]["misses"]["total"] == report.num_off_topic
