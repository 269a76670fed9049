"""What stands before and after generation: the contract between whoever generates (server, playground) and the rules.

    verdict = guard.check_prompt(messages)
    if verdict.answer is not None:       # say this instead, nothing is generated
    generate from verdict.messages       # perhaps masked
    judged = guard.check_answer(text, verdict.messages)
    if judged.is_retry:                  # generate again, `guard.retries` times at most; after that it is an error
    say judged.text

What fired is told by rule, kind and number, never by the text that it was about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from tunesmith.types import Message

Side = Literal["prompt", "answer"]
Action = Literal["redirect", "block", "mask", "refuse", "cut", "retry"]
"""`redirect` and `block` say a stock answer, `refuse` is an error, `retry` generates anew, the others change the text."""
Finish = Literal["content_filter", "length", "stop"]
"""How OpenAI's API tells that an answer is not the model's own, or not all of it; `stop`: it ends before a stop string."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """A rule did something."""

    rule: str
    side: Side
    action: Action
    detail: str
    """Kinds and numbers ("2 e-mail addresses"); never any of the text."""

    def __str__(self) -> str:
        return f"{self.rule} {self.side} {self.action}: {self.detail}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptVerdict:
    """What becomes of a prompt: it goes on (perhaps changed), it is answered by `answer`, or it is refused."""

    messages: tuple[Message, ...]
    """What the model is to see."""
    answer: str | None = None
    """To be said in place of the model's answer."""
    refusal: str | None = None
    """What is wrong with the prompt, for an error."""
    fired: tuple[Firing, ...] = ()

    @property
    def goes_on(self) -> bool:
        """The model is asked."""
        return self.answer is None and self.refusal is None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerVerdict:
    """What becomes of an answer: `text` is said, unless it is to be generated anew."""

    text: str
    finish: Finish | None = None
    """None: as the model's own."""
    problem: str | None = None
    """Why it must not be said and is to be generated anew."""
    fired: tuple[Firing, ...] = ()

    @property
    def is_retry(self) -> bool:
        """It must not be said."""
        return self.problem is not None


def stopped(verdict: AnswerVerdict, stop: Sequence[str]) -> AnswerVerdict:
    """The same of what is before the first stop string; stock answers, and what is not said, have none."""
    places = [place for one in stop if (place := verdict.text.find(one)) >= 0]
    if not places or verdict.finish == "content_filter" or verdict.is_retry:
        return verdict
    return replace(verdict, text=verdict.text[: min(places)], finish="stop")


class Guard(Protocol):
    """All rules for one model; safe to call from several threads."""

    @property
    def streams_live(self) -> bool:
        """No rule looks at answers, so they can be sent while they are made; else they are held until they are whole."""
        ...

    @property
    def needs_whole_words(self) -> bool:
        """Some rule cannot tell by half a word or number what it would be: one that an answer's length cut off is not said."""
        ...

    @property
    def checks_prompts(self) -> bool:
        """Some rule looks at prompts."""
        ...

    @property
    def retries(self) -> int:
        """How often an answer may be generated anew."""
        ...

    @property
    def retry_temperature(self) -> float:
        """Least temperature of those, as the same greedy answer would come again."""
        ...

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        """Before generation."""
        ...

    def check_answer(self, text: str, messages: Sequence[Message], *, stop: Sequence[str] = ()) -> AnswerVerdict:
        """After it. What is behind a stop string is looked at, too, as it may tell what is before it, but is no part of an answer's form.

        `text` of the verdict may end before a stop string, or not (`stopped`).
        """
        ...
