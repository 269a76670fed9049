"""Questions off the subject are answered by the redirection that the model was trained on.

Two ways to tell. By nearness: a prompt further from every training prompt than nine in ten of these are from each other is off the
subject, and so is one nearer to a training prompt that is redirected than to any that is answered. By words: what matches a `deny` is
off the subject, what matches an `allow` is on it, whatever it is near to; `deny` is asked first.

>>> off_topic(Nearness(answered=0.2, redirected=0.1), threshold=0.5)
'far from the training prompts (0.20 < 0.50)'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from tunesmith.config import Settings
from tunesmith.errors import ConfigError
from tunesmith.evaluate.scorers.redirections import learn_redirections
from tunesmith.serve.guarding import Firing, PromptVerdict
from tunesmith.serve.guardrails.nearness import AUTO, Nearness, Trained
from tunesmith.serve.guardrails.patterns import Patterns, TooSlow
from tunesmith.types import Example, Message

NAME = "scope"
FEW_WORDS = 8
"""A shorter message may only make sense after the one before."""


class ScopeSettings(Settings):
    """What the model is for."""

    by: str = AUTO
    """`auto` (a sentence model if there is one, else words), `words`, a sentence model's name or folder, or `none`: word rules alone."""
    unusual: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training prompts' own nearest neighbours that are further away than what is let through."""
    min_similarity: float | None = Field(default=None, ge=-1, le=1)
    """A cosine in place of the one that `unusual` gives."""
    data: str | None = None
    """A prepared data set to be near to; None: the one that the run was trained on."""
    answer: str | None = None
    """What is said to questions off the subject; None: the most frequent redirection of the training data."""
    allow_words: tuple[str, ...] = ()
    """Words and phrases, in any case."""
    allow_patterns: tuple[str, ...] = ()
    """Regular expressions, searched for as they are (`(?i)` for any case)."""
    deny_words: tuple[str, ...] = ()
    deny_patterns: tuple[str, ...] = ()

    @property
    def by_nearness(self) -> bool:
        """The training prompts are asked."""
        return self.by != "none"


def off_topic(nearness: Nearness, threshold: float) -> str | None:
    """Why a prompt is off the subject; None: it is not."""
    if nearness.answered < threshold:
        return f"far from the training prompts ({nearness.answered:.2f} < {threshold:.2f})"
    if nearness.redirected > nearness.answered:
        return f"nearest to a training prompt that is redirected ({nearness.redirected:.2f} > {nearness.answered:.2f})"
    return None


def judged_text(messages: Sequence[Message]) -> str:
    """The user's last message; after another one a short one is read together with it."""
    said = [message.content for message in messages if message.role == "user"]
    if not said:
        return messages[-1].content
    return " ".join(said[-2:]) if len(said[-1].split()) < FEW_WORDS else said[-1]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How near is near, and what is said."""

    trained: Trained | None
    """None: word rules alone."""
    threshold: float
    answer: str


def learn_scope(settings: ScopeSettings, train: Sequence[Example] | None) -> Scope:
    """What the settings and the training examples say together.

    Raises:
        ConfigError: there are no training examples, too few to calibrate, or none that redirects, and the settings do not help.
        AssetError: the sentence model is named and cannot be had.
    """
    answer = settings.answer or _learnt_answer(train)
    if not settings.by_nearness:
        return Scope(trained=None, threshold=-1.0, answer=answer)
    if train is None:
        found, remedy = (
            "there are no training prompts to be near to",
            "set scope.data, name in `models` the runs it is for, or set scope.by to none",
        )
        raise ConfigError("scope", found, expected="a run, or a prepared data set", remedy=remedy)
    trained = Trained.learn(train, model=settings.by)
    threshold = trained.threshold(settings.unusual) if settings.min_similarity is None else settings.min_similarity
    if threshold is None:
        found = "there are too few training prompts to say how near is usual"
        raise ConfigError("scope", found, expected="50 or more that are answered", remedy="set scope.min_similarity")
    return Scope(trained=trained, threshold=threshold, answer=answer)


def _learnt_answer(train: Sequence[Example] | None) -> str:
    learnt = learn_redirections(list(train or ()))
    if not learnt:
        found = "the training data hold no redirection that could be said"
        raise ConfigError("scope", found, expected="a sentence", remedy="set scope.answer to what is said to questions off the subject")
    return learnt[0].text


class ScopeRule:
    """See the module."""

    name = NAME
    checks_prompts, checks_answers = True, False

    def __init__(self, settings: ScopeSettings, scope: Scope) -> None:
        """See the class.

        Raises:
            ConfigError: an expression is none, or takes too long.
        """
        self.scope = scope
        self._allow = Patterns.of(words=settings.allow_words, expressions=settings.allow_patterns, place="scope.allow_patterns")
        self._deny = Patterns.of(words=settings.deny_words, expressions=settings.deny_patterns, place="scope.deny_patterns")

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        """Answer in place of the model what is off the subject."""
        reason = self.reason(judged_text(messages))
        if reason is None:
            return PromptVerdict(messages=tuple(messages))
        fired = Firing(rule=NAME, side="prompt", action="redirect", detail=reason)
        return PromptVerdict(messages=tuple(messages), answer=self.scope.answer, fired=(fired,))

    def reason(self, text: str) -> str | None:
        """Why `text` is off the subject; None: it is not."""
        by_words = self.by_words(text)
        if by_words is not None:
            return by_words or None
        if self.scope.trained is None:
            return None
        return off_topic(self.scope.trained.nearest([text])[0], self.scope.threshold)

    def by_words(self, text: str) -> str | None:
        """Why the word rules have it off the subject; empty: they have it on it; None: they say nothing."""
        try:
            if self._deny.found(text):
                return "a deny rule matches"
            if self._allow.found(text):
                return ""
        except TooSlow:
            return "a word rule did not come to an end in time"
        return None
