"""Rules tried on a data set before they are switched on: how often each does something where it should not, and does not where it should.

>>> report = try_rules(rails, Material(prompts=prompts, answers=answers), confidence=0.95)
>>> report.rules[0].false_alarms.words
'9 of 145 (6 % [3, 11])'

What is on the subject should pass every rule; so each firing on it counts as a false alarm, and is shown. What is off it should be
redirected by `scope`; what other rules should find in it nobody knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.evaluate.probing.rates import Rate, rate_of
from tunesmith.serve.guarding import Firing, Side
from tunesmith.serve.guardrails.rules import Guardrails
from tunesmith.serve.guardrails.scope import NAME as SCOPE
from tunesmith.serve.guardrails.scope import ScopeRule, judged_text, off_topic
from tunesmith.types import Message

SCHEMA_VERSION = 1
OTHER_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
"""Settings of `scope.unusual` whose error rates are given beside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialPrompt:
    """A prompt, and whether it should be answered."""

    source: str
    messages: tuple[Message, ...]
    is_on_topic: bool

    @property
    def text(self) -> str:
        """The last message."""
        return self.messages[-1].content


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialAnswer:
    """An answer that nobody has complained of."""

    source: str
    messages: tuple[Message, ...]
    text: str


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the rules are tried on."""

    prompts: Sequence[TrialPrompt]
    answers: Sequence[TrialAnswer]


@dataclass(frozen=True, kw_only=True, slots=True)
class Specimen:
    """A prompt or answer that a rule fired on, or did not."""

    source: str
    text: str
    detail: str
    """What the rule said; empty where it said nothing."""


@dataclass(frozen=True, kw_only=True)
class RuleTrial:
    """One rule on one side."""

    rule: str
    side: Side
    false_alarms: Rate
    """Among prompts on the subject, or among answers."""
    misses: Rate | None
    """Among prompts off the subject; None where the rule is not about that."""
    alarms: Sequence[Specimen]
    missed: Sequence[Specimen]


@dataclass(frozen=True, kw_only=True)
class OtherThreshold:
    """What nearness alone would do with another `scope.unusual`."""

    unusual: float
    min_similarity: float
    false_alarms: Rate
    misses: Rate


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """All rules."""

    rules: Sequence[RuleTrial]
    thresholds: Sequence[OtherThreshold]
    num_on_topic: int
    num_off_topic: int
    num_answers: int
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}


def try_rules(rails: Guardrails, material: Material, *, confidence: float) -> TrialReport:
    """Ask each rule by itself about everything."""
    on = [one for one in material.prompts if one.is_on_topic]
    off = [one for one in material.prompts if not one.is_on_topic]
    trials = [_of_prompts(rule, on, off, confidence) for rule in rails.prompt_rules]
    trials += [_of_answers(rule, material.answers, confidence) for rule in rails.answer_rules if material.answers]
    scopes = [rule for rule in rails.prompt_rules if isinstance(rule, ScopeRule)]
    return TrialReport(
        rules=trials,
        thresholds=_other_thresholds(scopes[0], on, off, confidence) if scopes else (),
        num_on_topic=len(on),
        num_off_topic=len(off),
        num_answers=len(material.answers),
        notes=rails.notes,
    )


def _of_prompts(rule: Any, on: Sequence[TrialPrompt], off: Sequence[TrialPrompt], confidence: float) -> RuleTrial:
    on_fired = [rule.check_prompt(one.messages).fired for one in on]
    off_fired = [rule.check_prompt(one.messages).fired for one in off] if rule.name == SCOPE else []
    return RuleTrial(
        rule=rule.name,
        side="prompt",
        false_alarms=rate_of([bool(fired) for fired in on_fired], confidence),
        misses=rate_of([not fired for fired in off_fired], confidence) if rule.name == SCOPE else None,
        alarms=[_specimen(one, fired) for one, fired in zip(on, on_fired, strict=True) if fired],
        missed=[_specimen(one, fired) for one, fired in zip(off, off_fired, strict=False) if not fired],
    )


def _of_answers(rule: Any, answers: Sequence[TrialAnswer], confidence: float) -> RuleTrial:
    fired = [rule.check_answer(one.text, one.messages).fired for one in answers]
    return RuleTrial(
        rule=rule.name,
        side="answer",
        false_alarms=rate_of([bool(one) for one in fired], confidence),
        misses=None,
        alarms=[_specimen(one, found) for one, found in zip(answers, fired, strict=True) if found],
        missed=(),
    )


def _specimen(one: TrialPrompt | TrialAnswer, fired: Sequence[Firing]) -> Specimen:
    return Specimen(source=one.source, text=one.text, detail="; ".join(firing.detail for firing in fired))


def _other_thresholds(rule: ScopeRule, on: Sequence[TrialPrompt], off: Sequence[TrialPrompt], confidence: float) -> list[OtherThreshold]:
    """Nearness alone is compared; where word rules decide, they decide as before."""
    trained = rule.scope.trained
    if trained is None or trained.threshold(OTHER_SHARES[0]) is None:
        return []
    by_words = [[rule.by_words(judged_text(one.messages)) for one in side] for side in (on, off)]
    near = [trained.nearest([judged_text(one.messages) for one in side]) for side in (on, off)]
    found = []
    for share in OTHER_SHARES:
        threshold = trained.threshold(share)
        assert threshold is not None
        alarms, caught = (
            [bool(off_topic(nearness, threshold)) if said is None else bool(said) for nearness, said in zip(*side, strict=True)]
            for side in zip(near, by_words, strict=True)
        )
        misses = rate_of([not one for one in caught], confidence)
        found.append(OtherThreshold(unusual=share, min_similarity=threshold, false_alarms=rate_of(alarms, confidence), misses=misses))
    return found
