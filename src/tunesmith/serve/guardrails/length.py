"""Prompts that are too long are refused, answers that are too long end after a whole sentence.

>>> cut("It is free. Nobody pays. Ever.", 26)
'It is free. Nobody pays.'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pydantic import Field, model_validator

from tunesmith.config import Settings
from tunesmith.errors import ConfigError
from tunesmith.serve.guarding import AnswerVerdict, Firing, PromptVerdict
from tunesmith.types import Message

NAME = "length"
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s|$)|[。！？]|\n")
CountTokens = Callable[[str], int]


class LengthSettings(Settings):
    """How long prompts and answers may be."""

    max_prompt_characters: int | None = Field(default=None, ge=1)
    """Of all messages, the system's and developer's too; None: any number."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """The same in tokens of the model, without its template's own."""
    max_answer_characters: int | None = Field(default=None, ge=1)
    """Longer answers are cut after the last sentence that fits, or word where none does."""

    @model_validator(mode="after")
    def _limits_something(self) -> LengthSettings:
        if self.max_prompt_characters is None and self.max_prompt_tokens is None and self.max_answer_characters is None:
            raise ValueError("one of max_prompt_characters, max_prompt_tokens and max_answer_characters")
        return self


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, up to the end of a sentence if one ends there, else of a word, else anywhere."""
    if len(text) <= limit:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text, 0, limit + 1) if match.end() <= limit]
    if ends:
        return text[: ends[-1]].rstrip()
    words = text[: limit + 1].rfind(" ")
    return text[:words].rstrip() if words > 0 else text[:limit]


class LengthRule:
    """See the module."""

    name = NAME

    def __init__(self, settings: LengthSettings, count_tokens: CountTokens | None) -> None:
        """See the class.

        Raises:
            ConfigError: tokens are to be counted, and there is no model to say what they are.
        """
        if settings.max_prompt_tokens is not None and count_tokens is None:
            raise ConfigError(
                "length.max_prompt_tokens",
                "there is no model whose tokens could be counted",
                expected="a model or run",
                remedy="name one (--run), or use max_prompt_characters",
            )
        self._settings, self._count_tokens = settings, count_tokens
        self.checks_prompts = (settings.max_prompt_characters or settings.max_prompt_tokens) is not None
        self.checks_answers = settings.max_answer_characters is not None

    def check_prompt(self, messages: Sequence[Message]) -> PromptVerdict:
        """Refuse what is too long."""
        texts = [message.content for message in messages]
        characters, most = sum(map(len, texts)), self._settings.max_prompt_characters
        if most is not None and characters > most:
            return _refused(messages, characters, most, "characters")
        most = self._settings.max_prompt_tokens
        if most is not None and self._count_tokens is not None and (tokens := sum(map(self._count_tokens, texts))) > most:
            return _refused(messages, tokens, most, "tokens")
        return PromptVerdict(messages=tuple(messages))

    def check_answer(self, text: str, messages: Sequence[Message]) -> AnswerVerdict:
        """Cut what is too long."""
        del messages
        most = self._settings.max_answer_characters or len(text)
        if len(text) <= most:
            return AnswerVerdict(text=text)
        detail = f"{len(text):,} characters, at most {most:,}"
        return AnswerVerdict(text=cut(text, most), finish="length", fired=(Firing(rule=NAME, side="answer", action="cut", detail=detail),))


def _refused(messages: Sequence[Message], size: int, most: int, unit: str) -> PromptVerdict:
    fired = Firing(rule=NAME, side="prompt", action="refuse", detail=f"{size:,} {unit}, at most {most:,}")
    refusal = f"The conversation has {size:,} {unit}; this server takes at most {most:,}."
    return PromptVerdict(messages=tuple(messages), refusal=refusal, fired=(fired,))
