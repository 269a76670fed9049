"""Is an answer a redirection? By what the training answers say, by the words of a refusal, or by a pattern of the user's.

>>> Recogniser.learn(data.train, pattern=None).reason("Let's keep the discussion relevant to our shop.")
"as in training: 'Let’s keep the discussion relevant to our shop.'"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunesmith.data.checks.refusals import is_refusal
from tunesmith.errors import ConfigError, DataError
from tunesmith.evaluate.scorers.redirections import Redirection, learn_redirections, nearest_redirection
from tunesmith.types import Example

TIMEOUT_SECONDS = 1.0
"""For a pattern and one answer."""
LONGEST_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Recogniser:
    """The three ways to tell."""

    redirections: tuple[Redirection, ...]
    """Learnt from the training answers."""
    num_refusals: int
    """Training answers that decline by their words and are none of these."""
    pattern: Any = None
    """A compiled regular expression (the `regex` library), or None."""

    @classmethod
    def learn(cls, train: Sequence[Example], pattern: str | None) -> Recogniser:
        """From the training examples.

        Raises:
            ConfigError: the pattern is no regular expression.
        """
        examples = list(train)
        redirections = learn_redirections(examples)
        refusals = sum(is_refusal(one.reference) and not nearest_redirection(one.reference, redirections) for one in examples)
        return cls(redirections=redirections, num_refusals=refusals, pattern=_compiled(pattern))

    @property
    def is_taught(self) -> bool:
        """Whether the training data hold anything that declines."""
        return bool(self.redirections or self.num_refusals)

    def reason(self, answer: str) -> str | None:
        """Why `answer` counts as a redirection; None where it does not.

        Raises:
            DataError: the pattern takes too long on it.
        """
        if learnt := nearest_redirection(answer, self.redirections):
            return f"as in training: {learnt.text[:LONGEST_SHOWN]!r}"
        if is_refusal(answer):
            return "declines by its words"
        found = self._found(answer)
        return None if found is None else f"matches the pattern: {found[:LONGEST_SHOWN]!r}"

    def _found(self, answer: str) -> str | None:
        if self.pattern is None:
            return None
        try:
            match = self.pattern.search(answer, timeout=TIMEOUT_SECONDS)
        except TimeoutError:
            raise DataError(
                f"--pattern {self.pattern.pattern}",
                f"it takes over {TIMEOUT_SECONDS:g} s on an answer",
                expected="a pattern that does not try every way to cut a text",
                remedy="avoid repetitions inside repetitions, or make them possessive (`++`)",
            ) from None
        return None if match is None else str(match[0])


def _compiled(pattern: str | None) -> Any:
    import regex

    if pattern is None:
        return None
    try:
        return regex.compile(pattern)
    except regex.error as error:
        place = f"--pattern {pattern}"
        raise ConfigError(
            place, f"no regular expression ({error})", expected="Python's syntax, as the `regex` library reads it", remedy="correct it"
        ) from None
