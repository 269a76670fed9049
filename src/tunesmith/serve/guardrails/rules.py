"""All rules of one model, in order, around its generation.

Prompts: length, personal data, profanity, scope; the first that answers or refuses ends it, and each sees what those before it masked.
Answers: personal data, profanity, length, and last the schema, so that nothing is changed after it was found valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from tunesmith.data.storing.prepared import load_data_of, load_prepared
from tunesmith.runs import RunDirectory, open_run
from tunesmith.serve.guarding import AnswerVerdict, Firing, PromptVerdict, stopped
from tunesmith.serve.guardrails.json_schema import JsonSchemaRule
from tunesmith.serve.guardrails.length import CountTokens, LengthRule
from tunesmith.serve.guardrails.pii import PiiRule
from tunesmith.serve.guardrails.profanity import ProfanityRule
from tunesmith.serve.guardrails.scope import ScopeRule, ScopeSettings, learn_scope
from tunesmith.serve.guardrails.settings import GuardrailConfig
from tunesmith.types import Example, Message


class PromptRule(Protocol):
    """Looks at prompts."""

    @property
    def name(self) -> str:
        """In settings, metrics and the log."""
        ...

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        """Let it pass, change it, answer or refuse it."""
        ...


class AnswerRule(Protocol):
    """Looks at answers."""

    @property
    def name(self) -> str:
        """In settings, metrics and the log."""
        ...

    def check_answer(self, text: str, messages: Sequence[Message]) -> AnswerVerdict:
        """Let it pass, change or replace it, or have it generated anew."""
        ...


class Guardrails:
    """A `Guard`; immutable, so several threads may ask it."""

    def __init__(
        self,
        *,
        prompt_rules: Sequence[PromptRule] = (),
        answer_rules: Sequence[AnswerRule] = (),
        retries: int = 0,
        retry_temperature: float = 0.0,
        notes: Sequence[str] = (),
    ) -> None:
        self.prompt_rules, self.answer_rules = tuple(prompt_rules), tuple(answer_rules)
        self.retries, self.retry_temperature = retries, retry_temperature
        self.notes = tuple(notes)
        """What a person should know of them."""

    @classmethod
    def from_config(
        cls,
        config: GuardrailConfig,
        *,
        run: RunDirectory | Path | str | None = None,
        train: Sequence[Example] | None = None,
        count_tokens: CountTokens | None = None,
    ) -> Self:
        """The rules that are on, as they act for one model.

        Args:
            config: as `load_settings` reads it.
            run: the model's; its data set says what is on the subject.
            train: training examples in place of the run's; `scope.data` has precedence over both.
            count_tokens: of a text, in the model's tokens; for `length.max_prompt_tokens`.

        Raises:
            ConfigError: a rule needs what is not there, or a pattern or schema cannot be used.
            DataError, RunError: the data set is gone or has changed.
            AssetError: a sentence model is named and cannot be had.
        """
        length = LengthRule(config.length, count_tokens) if config.length else None
        pii = PiiRule(config.pii) if config.pii else None
        profanity = ProfanityRule(config.profanity) if config.profanity else None
        scope = _scope_rule(config.scope, run, train) if config.scope else None
        schema = config.json_schema
        prompt_rules = [rule for rule in (length, pii, profanity, scope) if rule is not None and rule.checks_prompts]
        answer_rules: list[AnswerRule] = [rule for rule in (pii, profanity, length) if rule is not None and rule.checks_answers]
        return cls(
            prompt_rules=prompt_rules,
            answer_rules=[*answer_rules, *([JsonSchemaRule(schema.definition or {})] if schema else [])],
            retries=schema.retries if schema else 0,
            retry_temperature=schema.temperature if schema else 0.0,
            notes=_notes(scope),
        )

    @property
    def streams_live(self) -> bool:
        """No rule looks at answers."""
        return not self.answer_rules

    @property
    def needs_whole_words(self) -> bool:
        """Answers are masked by formats, which half an address or number does not have."""
        return any(isinstance(rule, PiiRule) for rule in self.answer_rules)

    @property
    def checks_prompts(self) -> bool:
        """Some rule looks at prompts."""
        return bool(self.prompt_rules)

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        """By every rule, until one answers or refuses."""
        verdict = PromptVerdict(messages=tuple(messages))
        fired: list[Firing] = []
        for rule in self.prompt_rules:
            verdict = rule.check_prompt(verdict.messages)
            fired += verdict.fired
            if not verdict.goes_on:
                break
        return PromptVerdict(messages=verdict.messages, answer=verdict.answer, refusal=verdict.refusal, fired=tuple(fired))

    def check_answer(self, text: str, messages: Sequence[Message], *, stop: Sequence[str] = ()) -> AnswerVerdict:
        """By every rule; after a stock answer, or one that must not be said, no further one is asked. The schema is for what is said."""
        fired: list[Firing] = []
        verdict = AnswerVerdict(text=text)
        finish = verdict.finish
        for rule in self.answer_rules:
            if isinstance(rule, JsonSchemaRule):
                verdict = stopped(verdict, stop)
                finish = verdict.finish or finish
            verdict = rule.check_answer(verdict.text, messages)
            finish = verdict.finish or finish
            fired += verdict.fired
            if finish == "content_filter" or verdict.is_retry:
                break
        return AnswerVerdict(text=verdict.text, finish=finish, problem=verdict.problem, fired=tuple(fired))


def _scope_rule(settings: ScopeSettings, run: RunDirectory | Path | str | None, train: Sequence[Example] | None) -> ScopeRule:
    if settings.data is not None:
        train = load_prepared(settings.data).train
    elif train is None and run is not None:
        train = load_data_of(run if isinstance(run, RunDirectory) else open_run(Path(run))).train
    return ScopeRule(settings, learn_scope(settings, train))


def _notes(scope: ScopeRule | None) -> list[str]:
    if scope is None or scope.scope.trained is None:
        return []
    trained = scope.scope.trained
    told = (
        f"scope: prompts under a similarity of {scope.scope.threshold:.2f} to the training prompts are redirected, by {trained.vectors.by}"
    )
    return [told, *([f"scope: {trained.vectors.note}"] if trained.vectors.note else [])]
